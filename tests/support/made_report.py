"""What a report is made from, of a small made-up cohort: every section has something to say."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_cohort import MadeCohort, make_cohort
from made_opened import without_rendering

from pathoprog.cohorts import validate
from pathoprog.cohorts.config import ValidateConfig
from pathoprog.report.validation.findings import Findings

MORE_OF_THE_PLAN = """\
sites: [prep_site]
added_value: [stage, age]
cuts_years: [2]
landmarks_years: [1]
absolute_risk: trial 1
treatment: {column: chemo, control: "no", randomised: false, adjust: [age]}
"""


def make_reported(folder: Path, full: bool = False, **more: Any) -> tuple[MadeCohort, Findings]:
    """Validate a made-up cohort of two external trials; figures are not rendered.

    Args:
        folder: where to write.
        full: also development, test, and every analysis that a plan can ask for.
        more: settings of `validate`.

    Returns:
        Where the files are, and what the report was made from.
    """
    sizes = {"development": 60, "test": 12} if full else {"development": 0, "test": 0}
    made = make_cohort(folder, external=(90, 60), **sizes)
    if full:
        path = made.folder / "cohort.csv"
        cohort = pd.read_csv(path, dtype=str, keep_default_na=False)
        people = sorted(set(cohort["patient_id"]))
        given = dict(zip(people, np.random.default_rng(3).choice(["yes", "no"], len(people)), strict=True))
        cohort.assign(chemo=cohort["patient_id"].map(given)).to_csv(path, index=False)
        with (made.folder / "plan.yaml").open("a") as stream:
            stream.write(MORE_OF_THE_PLAN)
    kept: list[Findings] = []
    write = validate.document_of

    def keeping(findings: Findings, figures: Path) -> Any:
        kept.append(findings)
        return write(findings, figures)

    with pytest.MonkeyPatch.context() as patch:
        without_rendering(patch)
        patch.setattr(validate, "document_of", keeping)
        validate.run(ValidateConfig(**made.settings(permutations=100, **more)))
    return made, kept[0]
