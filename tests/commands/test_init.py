"""`pathoprog init`: its files run, nothing is written over, and foreign sheets are guessed as documented.

`python tests/commands/test_init.py` prints the table of docs/first_files.md anew.
"""

import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
import made_clinical
from house import ROOT
from made_clinical import BARCODES, N
from shared_data import FOLDER, shared_data

from pathoprog.cli import compose, main
from pathoprog.cohort_tables.cohort import read_cohort, read_outcomes
from pathoprog.cohort_tables.guessing.guess import ASKED, Guess
from pathoprog.commands.init import FirstFiles, write_first_files
from pathoprog.commands.init_config import InitConfig
from pathoprog.errors import InputError
from pathoprog.validation.covariates import check_covariates
from pathoprog.validation.plan import read_plan

DOCUMENT = ROOT / "docs" / "first_files.md"


def first_files(folder: Path, table: Path, **more: Any) -> FirstFiles:
    return write_first_files(InitConfig(folder=str(folder), table=str(table), **more))


def composed_experiment(path: Path) -> Any:
    """The settings that the experiment makes of `train_ensemble`'s, checked."""
    return compose("train_ensemble", [f"experiment={path}", "out=somewhere"])


def check_plan_and_experiment(folder: Path, cohort: pd.DataFrame) -> None:
    plan = read_plan(folder / "plan.yaml")
    check_covariates(cohort, plan.covariates, plan.subgroups, plan.types)
    assert (folder / "experiment.yaml").read_text(encoding="utf-8").startswith("# @package _global_\n")
    settings = composed_experiment(folder / "experiment.yaml")
    assert settings.data.cohort == str((folder / "cohort" / "cohort.csv").resolve())


@pytest.mark.parametrize("name", ["tcga_cdr", "gdc_clinical", "cbioportal_patient", "cbioportal_website", "hospital"])
def test_the_three_files_run(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    table, study = getattr(made_clinical, name)(tmp_path), tmp_path / "study"
    assert main(["init", str(study), f"table={table}"]) == 0
    said = capsys.readouterr().out
    assert f"pathoprog cohort {table} mapping={study / 'mapping.yaml'} out={study / 'cohort'}" in said
    out = study / "cohort"
    assert main(["cohort", str(table), f"mapping={study / 'mapping.yaml'}", f"out={out}", "strict=true"]) == 0
    cohort, outcomes = read_cohort(out / "cohort.csv"), read_outcomes(out / "outcomes.csv")
    assert len(outcomes) == cohort["patient_id"].nunique() >= N - 1
    check_plan_and_experiment(study, cohort)


def test_every_guess_is_shown_with_its_certainty_and_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    table = made_clinical.tcga_cdr(tmp_path)
    made = first_files(tmp_path / "one", table)
    assert main(["init", str(tmp_path / "two"), f"table={table}"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    for guess in made.first.guesses:
        assert any(line.startswith(f"{guess.key} {guess.certainty} ") for line in lines)
        assert guess.reason in lines
    texts = [(tmp_path / "two" / f"{name}.yaml").read_text() for name in ("mapping", "plan", "experiment")]
    marked = sum(text.count("# ASK: ") for text in texts)
    assert made.asked == marked and any(f"{marked} lines are marked ASK" in line for line in lines)


def test_nothing_of_a_user_s_is_written_over(tmp_path: Path):
    table = made_clinical.tcga_cdr(tmp_path)
    (tmp_path / "plan.yaml").write_text("mine\n")
    with pytest.raises(InputError, match=r"plan\.yaml is there already; .* overwrite=true"):
        first_files(tmp_path, table)
    assert (tmp_path / "plan.yaml").read_text() == "mine\n"
    assert not (tmp_path / "mapping.yaml").exists()
    first_files(tmp_path, table, overwrite=True)
    assert read_plan(tmp_path / "plan.yaml").primary.endpoint == "cancer-specific survival"


def test_slides_that_are_called_after_the_patients_become_a_template(tmp_path: Path):
    table, slides = made_clinical.tcga_cdr(tmp_path), tmp_path / "slides"
    slides.mkdir()
    for barcode in BARCODES:
        (slides / f"{barcode}.svs").touch()
    made = first_files(tmp_path / "study", table, slides=str(slides))
    path = made.first.of("slide_path")
    assert path is not None and path.certainty == "sure"
    assert path.value == {"template": f"{slides.resolve()}/{{bcr_patient_barcode}}.svs"}
    assert made.table == table


def test_slides_whose_names_begin_with_an_id_are_put_beside_its_rows(tmp_path: Path):
    table, slides = made_clinical.gdc_clinical(tmp_path), tmp_path / "slides"
    (slides / "a").mkdir(parents=True)
    for barcode in BARCODES[:-1]:
        (slides / "a" / f"{barcode}-01Z-00-DX1.5BF1-AA.svs").touch()
    (slides / f"{BARCODES[0]}-01Z-00-DX2.77C0-BB.svs").touch()
    study = tmp_path / "study"
    made = first_files(study, table, slides=str(slides))
    assert made.table == study / "sheet.csv" and len(pd.read_csv(made.table)) == N + 1
    out = study / "cohort"
    assert main(["cohort", str(made.table), f"mapping={study / 'mapping.yaml'}", f"out={out}"]) == 0
    cohort = read_cohort(out / "cohort.csv")
    assert len(cohort) == N and all(Path(path).is_file() for path in cohort["slide_path"])
    assert cohort["slide_id"][0] == f"{BARCODES[0]}-01Z-00-DX1.5BF1-AA"
    rejected = pd.read_csv(out / "rejected.csv")  # the one without a slide, in the joined sheet's last line
    assert rejected[["patient_id", "line"]].to_numpy().tolist() == [[BARCODES[-1], N + 2]]


def test_few_distinct_outcomes_are_trained_by_cox_and_many_by_the_published_loss(tmp_path: Path):
    few = first_files(tmp_path / "few", made_clinical.tcga_cdr(tmp_path))
    assert few.mapped is not None
    assert composed_experiment(tmp_path / "few" / "experiment.yaml").fit.loss == "cox"
    poor = [(f"P{k}", 300 + k, 1) for k in range(60)]
    good = [(f"G{k}", 2400 + k, 0) for k in range(60)]
    frame = pd.DataFrame(poor + good, columns=["patient_id", "days_survival", "dead"])
    frame.to_csv(tmp_path / "many.csv", index=False)
    first_files(tmp_path / "many", tmp_path / "many.csv")
    settings = composed_experiment(tmp_path / "many" / "experiment.yaml")
    assert settings.fit.loss == "cross_entropy" and settings.network.pooling == "noisy_and"
    assert read_plan(tmp_path / "many" / "plan.yaml").primary.horizon_years == 5


TRUTH: dict[str, dict[str, Any]] = {
    "tcga_cdr_coad_only": {
        "time_zero": "diagnosis",
        "patient_id": "bcr_patient_barcode",
        "age": "age_at_initial_pathologic_diagnosis",
        "sex": "gender",
        "stage": "ajcc_pathologic_tumor_stage",
        "followup": {"column": "DSS.time", "unit": "days"},
        "event": {"DSS": ["1"]},
        "exclude": {"DSS": {"missing": True}, "OS": ["1"]},
        "overall": ({"column": "OS.time", "unit": "days"}, {"OS": ["1"]}),
        "disease_free_interval": ({"column": "DFI.time", "unit": "days"}, {"DFI": ["1"]}),
        "progression_free_interval": ({"column": "PFI.time", "unit": "days"}, {"PFI": ["1"]}),
    },
    "orion_crc_patients_odd20": {
        "patient_id": "slideName",
        "slide_id": "slideName",
        "age": "Age",
        "sex": "Gender",
        "stage": "Stage",
        "grade": "Grade",
        "followup": {"column": "OSDays", "unit": "days"},
        "event": {"OSCensor": ["0"]},
        "contradictions": {"OSCensor": ["0"], "Death": ["0"]},
        "progression_free": ({"column": "PFSDays", "unit": "days"}, {"PFSCensor": ["0"]}),
    },
    "moertel_colon": {
        "time_zero": "randomisation",
        "rows": {"etype": ["2"]},
        "patient_id": "id",
        "age": "age",
        "pT": "extent",
        "nodes_positive": "nodes",
        "grade": "differ",
        "followup": {"column": "time", "unit": "days"},
        "event": {"status": ["1"]},
    },
    "lifelines_gbsg2": {
        "age": "age",
        "nodes_positive": "pnodes",
        "grade": "tgrade",
        "followup": {"column": "time", "unit": "days"},
        "event": {"cens": ["1"]},
    },
}
"""What the columns of sheets that are not ours mean, as their sources say; the rest only their owners know."""


def is_right(guess: Guess, truth: Any) -> bool:
    """Whether a guess says what the sheet's source says."""
    value = guess.value
    if guess.section == "endpoints":
        event = next(rule["when"] for rule in value["event"] if rule["is"] == "event")
        return bool((value["followup"], event) == truth)
    if guess.key in ("event", "exclude", "contradictions"):
        rule = next((rule for rule in value if rule.get("is", "event") == "event"), {})
        return bool(rule.get("when") == truth)
    column = value.get("column", value) if isinstance(value, dict) and guess.key != "followup" else value
    return bool(column == truth)


def sorted_guesses(guesses: tuple[Guess, ...], truth: dict[str, Any]) -> dict[str, list[str]]:
    """The keys of a sheet's guesses: taken and right, taken and wrong, asked and right for now, asked and to answer."""
    found: dict[str, list[str]] = {"right": [], "wrong": [], "asked, right": [], "asked": []}
    for guess in guesses:
        right = guess.key in truth and is_right(guess, truth[guess.key])
        if guess.certainty == ASKED:
            found["asked, right" if right else "asked"].append(guess.key)
        else:
            found["right" if right else "wrong"].append(guess.key)
    return found


def row_of(name: str, folder: Path) -> str:
    """The sheet's line of the document."""
    made = first_files(folder, FOLDER / "survival" / f"{name}.csv")
    found = sorted_guesses(made.first.guesses, TRUTH[name])
    cells = [", ".join(f"`{key}`" for key in keys) or "–" for keys in found.values()]
    taken = (
        "–" if made.mapped is None else f"{made.mapped.counts['patients_accepted']} of {made.mapped.counts['patients']}"
    )
    return f"| `{name}.csv` | {' | '.join(cells)} | {taken} |"


@pytest.mark.parametrize("name", sorted(TRUTH))
def test_sheets_that_are_not_ours_are_guessed_as_the_document_says(name: str, tmp_path: Path):
    shared_data(f"survival/{name}.csv")
    row = row_of(name, tmp_path)
    assert row in DOCUMENT.read_text(encoding="utf-8").splitlines(), row
    assert row.split("|")[3].strip() == "–", "nothing that was taken is wrong"


ACCEPTED = {"tcga_cdr_coad_only": 426, "orion_crc_patients_odd20": 19, "moertel_colon": 929}


@pytest.mark.parametrize(("name", "accepted"), ACCEPTED.items())
def test_the_files_of_sheets_that_are_not_ours_run(name: str, accepted: int, tmp_path: Path):
    table, study = shared_data(f"survival/{name}.csv"), tmp_path / "study"
    first_files(study, table)
    out = study / "cohort"
    assert main(["cohort", str(table), f"mapping={study / 'mapping.yaml'}", f"out={out}"]) == 0
    cohort = read_cohort(out / "cohort.csv")
    assert cohort["patient_id"].nunique() == accepted
    check_plan_and_experiment(study, cohort)


def test_the_worked_mapping_of_tcga_takes_the_real_table(tmp_path: Path):
    table = shared_data("survival/tcga_cdr_coad_only.csv")
    mapping = ROOT / "docs" / "mappings" / "tcga_cdr.yaml"
    assert main(["cohort", str(table), f"mapping={mapping}", f"out={tmp_path}"]) == 0
    assert read_outcomes(tmp_path / "outcomes.csv")["event"].value_counts().to_dict() == {0: 343, 1: 60, 2: 22}


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for name in TRUTH:
            print(row_of(name, Path(folder) / name))
