"""`pathoprog cohort`: from a sheet to files; breaches stop it, real sheets with known traps are taken apart."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_cohort import make_bundle
from made_sheet import GOOD, HEADER, MAPPING
from shared_data import shared_data

from pathoprog.cohort_tables.cohort import read_cohort, read_outcomes
from pathoprog.cohort_tables.same_scan import FILE, development_file, development_set
from pathoprog.cohorts.cohort import run
from pathoprog.cohorts.config import CohortConfig
from pathoprog.ensemble.bundle import lock, read_manifest
from pathoprog.errors import CohortError, InputError
from pathoprog.system.files import sha256_file

TCGA = """\
time_zero: initial pathological diagnosis
columns:
  patient_id: bcr_patient_barcode
  slide_id: {template: "{bcr_patient_barcode}-DX1"}
  slide_path: {template: "{bcr_patient_barcode}.svs"}
  cohort: {value: TCGA-COAD}
  role: {value: external}
  age: age_at_initial_pathologic_diagnosis
  sex: {column: gender, codes: {MALE: male, FEMALE: female}}
followup: {column: OS.time, unit: days}
event:
  - {when: {OS: ["0"]}, is: none}
  - {when: {OS: ["1"]}, is: event}
"""
ORION = """\
columns:
  patient_id: slideName
  slide_id: slideName
  slide_path: {template: "{slideName}.ome.tif"}
  cohort: {value: Orion}
  role: {value: external}
  age: Age
  stage: Stage
followup: {column: PFSDays, unit: days}
event:                                   # PFSCensor = 1 means alive without progression
  - {when: {PFSCensor: ["1"]}, is: none}
  - {when: {PFSCensor: ["0"]}, is: event}
contradictions:
  - {reason: progression without recurrence or death, when: {PFSCensor: ["0"], Recurrence: ["0"], Death: ["0"]}}
"""


def settings(folder: Path, *rows: str, mapping: str = MAPPING, **more: Any) -> CohortConfig:
    (folder / "sheet.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    (folder / "mapping.yaml").write_text(mapping)
    paths = {"table": "sheet.csv", "mapping": "mapping.yaml", "out": "out"}
    return CohortConfig(**{key: str(folder / value) for key, value in paths.items()}, **more)


def test_a_sheet_becomes_a_checked_cohort(tmp_path: Path):
    assert run(settings(tmp_path, *GOOD)) == 0
    cohort, outcomes = read_cohort(tmp_path / "out" / "cohort.csv"), read_outcomes(tmp_path / "out" / "outcomes.csv")
    assert cohort["role"].tolist() == ["training", "training", "external"]
    assert cohort["slide_path"][0] == str(tmp_path / "slides" / "a1.svs")
    assert outcomes["event"].tolist() == [0, 1, 2]
    flow = json.loads((tmp_path / "out" / "flow.json").read_text())
    assert flow["roles"] == {"training": {"patients": 2, "slides": 2}, "external": {"patients": 1, "slides": 1}}
    assert (tmp_path / "out" / "flow.svg").stat().st_size > 1000
    assert not (tmp_path / "out" / "draft").exists()


@pytest.mark.parametrize("strict", [False, True])
def test_rejected_rows_are_named_and_change_the_exit_code_where_it_is_strict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], strict: bool
):
    assert run(settings(tmp_path, *GOOD, "D,d1,val,700,M,0,1,,no,0", strict=strict)) == int(strict)
    assert "line 5: follow-up: Days='0' gives 0 days" in capsys.readouterr().err
    assert pd.read_csv(tmp_path / "out" / "rejected.csv")["patient_id"].tolist() == ["D"]
    assert len(read_cohort(tmp_path / "out" / "cohort.csv")) == 3


def test_a_patient_in_two_roles_stops_it(tmp_path: Path):
    with pytest.raises(CohortError, match="patient A is in external and in training"):
        run(settings(tmp_path, *GOOD, "A,a2,val,720,M,3000,1,,no,0"))
    assert not (tmp_path / "out" / "cohort.csv").exists()


def test_the_same_content_under_two_ids_stops_it(tmp_path: Path):
    slides = tmp_path / "slides"
    slides.mkdir()
    for name, text in (("a1", "one"), ("b1", "two"), ("c1", "one")):
        (slides / f"{name}.svs").write_text(text)
    with pytest.raises(CohortError, match=r"the same slide content under several ids .a1 of A in training, c1 of C"):
        run(settings(tmp_path, *GOOD, hash_slides=True))
    (slides / "c1.svs").write_text("three")
    assert run(settings(tmp_path, *GOOD, hash_slides=True)) == 0
    (slides / "c1.svs").unlink()
    with pytest.raises(InputError, match="these slides are not there"):
        run(settings(tmp_path, *GOOD, hash_slides=True))


def test_external_slides_are_checked_against_a_bundle_without_its_cohort(tmp_path: Path):
    slides = tmp_path / "slides"
    slides.mkdir()
    for name in ("a1", "b1", "c1"):
        (slides / f"{name}.svs").write_text(name)
    make_bundle(tmp_path / "bundle")
    with pytest.raises(InputError, match="keeps no hashes of its development slides"):
        run(settings(tmp_path, *GOOD, ensemble=str(tmp_path / "bundle")))
    text = development_file([development_set([sha256_file(slides / "c1.svs"), sha256_file(slides / "a1.svs")])], 0)
    manifest = replace(read_manifest(tmp_path / "bundle"), name="with slides")
    members = {one.file: tmp_path / "bundle" / one.file for one in manifest.members}
    lock(tmp_path / "known", manifest, {FILE: text, **members})
    with pytest.raises(InputError, match=r"developed on; take them out:\s+slide c1 of C in external$"):
        run(settings(tmp_path, *GOOD, ensemble=str(tmp_path / "known")))
    (slides / "c1.svs").write_text("another scan")
    assert run(settings(tmp_path, *GOOD, ensemble=str(tmp_path / "known"))) == 0


def test_a_site_in_development_and_external_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    mapping = MAPPING.replace("  sex:", "  prep_site: {value: oslo}\n  sex:")
    assert run(settings(tmp_path, *GOOD, mapping=mapping)) == 0
    assert "prep_site oslo is in external and in development" in capsys.readouterr().err
    shared = pd.read_csv(tmp_path / "out" / "shared_sites.csv")
    assert shared[["training", "external"]].to_numpy().tolist() == [[2, 1]]


def test_nothing_left_is_an_error(tmp_path: Path):
    with pytest.raises(InputError, match=r"no row is left; .*rejected\.csv says why"):
        run(settings(tmp_path, "D,d1,val,700,M,0,1,,no,0"))


def test_tcga_patients_without_follow_up_are_rejected_one_by_one(tmp_path: Path):
    sheet = shared_data("survival/tcga_cdr_coad_only.csv")
    (tmp_path / "mapping.yaml").write_text(TCGA)
    out = tmp_path / "out"
    assert run(CohortConfig(table=str(sheet), mapping=str(tmp_path / "mapping.yaml"), out=str(out))) == 0
    rejected = pd.read_csv(out / "rejected.csv")
    zero = rejected["reason"].str.contains("gives 0 days")
    assert zero.sum() == 16
    assert rejected.loc[~zero, "reason"].tolist() == ["follow-up: OS.time is missing"]
    assert len(read_cohort(out / "cohort.csv")) == 459 - 17


def test_orion_s_contradicting_flags_are_found(tmp_path: Path):
    sheet = shared_data("survival/orion_crc_patients_odd20.csv")
    (tmp_path / "mapping.yaml").write_text(ORION)
    out = tmp_path / "out"
    assert run(CohortConfig(table=str(sheet), mapping=str(tmp_path / "mapping.yaml"), out=str(out))) == 0
    rejected = pd.read_csv(out / "rejected.csv").set_index("patient_id")["reason"]
    assert rejected.to_dict() == {"C15": "progression without recurrence or death"}
