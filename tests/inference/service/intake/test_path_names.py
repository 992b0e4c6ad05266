"""What files are called by each route, and the way back by the map alone."""

import pytest

from pathoprog.inference.service.config import RouteSettings
from pathoprog.inference.service.intake.intake_config import PatientRule
from pathoprog.inference.service.intake.path_names import PathNames
from pathoprog.inference.service.intake.pseudonym_map import PseudonymMap
from pathoprog.inference.slides.pseudonyms import pseudonym

KEY = bytes(range(32))
PATH = "/scans/Ødegård Anna/26H04711-A1.svs"


@pytest.fixture
def names(tmp_path):
    routes = [RouteSettings(name="given", patients=PatientRule(ids="given")), RouteSettings(name="hidden")]
    return PathNames(routes, KEY, PseudonymMap(tmp_path / "pseudonyms.csv"))


def test_a_hidden_file_goes_by_a_keyed_hash_and_the_map_leads_back(names, tmp_path):
    assert names.name("hidden", PATH) == pseudonym(KEY, "file", PATH) and names.path(names.name("hidden", PATH)) == ""
    (name,) = names.kept("hidden", (PATH,))
    assert name.startswith("F") and names.path(name) == PATH and names.stands_for(name) == "26H04711-A1"
    again = PathNames([], KEY, PseudonymMap(tmp_path / "pseudonyms.csv"))
    assert again.path(name) == PATH and again.hides("given"), "a route that is served no longer is hidden too"
    other = PathNames([], bytes(32), again.pseudonyms)
    assert other.name("hidden", PATH) != name, "without the key no path can be tried"


def test_a_route_whose_ids_are_given_keeps_paths_and_needs_no_map(names):
    assert names.kept("given", (PATH,)) == (PATH,) and names.path(PATH) == PATH
    assert names.pseudonyms.rows == {}


def test_one_file_has_one_name_on_all_routes_and_kinds_have_their_own(names):
    assert names.name("hidden", PATH) == names.name("another", PATH)
    assert len({names.hashed(kind, PATH) for kind in ("file", "source", "key", "body")}) == 4
