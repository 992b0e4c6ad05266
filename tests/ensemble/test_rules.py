"""The method's rules say where they are from: METHOD's section, how sure it is, and a source."""

import re

import pytest

from pathoprog.cohort_tables.endpoints import distinct_outcome
from pathoprog.ensemble.choice import choose_members
from pathoprog.ensemble.classes import risk_class
from pathoprog.ensemble.thresholds import fit_threshold
from pathoprog.tiles.grid import tile_grid


@pytest.mark.parametrize("rule", [tile_grid, choose_members, fit_threshold, risk_class, distinct_outcome])
def test_a_rule_names_its_section_its_certainty_and_its_source(rule):
    said = rule.__doc__
    assert re.search(r"METHOD, sections? [12]", said)
    assert re.search(r"\b(Known|Likely)[:,]", said) and "Project default" in said
    assert "Lancet 2020;395:350-360" in said
