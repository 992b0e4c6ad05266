"""Class combined with stage in patients.csv: beside the class, where bundle and cohort allow it."""

import csv

import pytest
from made_bundle import made_bundle
from made_slides import texture, write_pyramid

from pathoprog import cli
from pathoprog.ensemble.stage_groups import (
    NODAL_LEVELS,
    PT_LEVELS,
    RISK_CLASSES,
    RISK_GROUPS,
    StageGroups,
    with_stage_groups,
)
from pathoprog.inference.config import ScoreConfig
from pathoprog.inference.result_tables import stage_groups_of
from pathoprog.scoring.patients import PatientScore

SIZE = 32


def made_table():
    """Each worse step of pT or class is a worse group."""
    groups = {
        (t, node, risk_class): RISK_GROUPS[min(2, PT_LEVELS.index(t) + RISK_CLASSES.index(risk_class))]
        for t in PT_LEVELS
        for node in NODAL_LEVELS
        for risk_class in RISK_CLASSES
    }
    cells = [
        {"pT": t, "nodal": node, "risk_class": risk_class, "risk_group": group}
        for (t, node, risk_class), group in groups.items()
    ]
    return StageGroups(groups, {"in_sample": False, "cells": cells})


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("risk_groups")
    plain = made_bundle(folder / "plain", SIZE)
    with_stage_groups(plain, folder / "staged", made_table())
    return plain, folder / "staged"


def write_cohort(path, stage):
    lines = ["patient_id,slide_id,slide_path,cohort,role,pT,pN,nodes_sampled"]
    lines += [f"{name},{name}-1,{name}.tif,North,external,{values}" for name, values in stage.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


def patient(name, risk_class):
    return PatientScore(name, "external", "North", "scored", "bag", [], [], risk_class)


STAGE = {"P1": "3,0,20", "P2": "4a,0,20", "P3": "3,0,", "P4": "4,2,"}


def test_each_patient_gets_the_group_of_its_cell(bundles, tmp_path):
    config = ScoreConfig(ensemble=str(bundles[1]), cohort=str(write_cohort(tmp_path / "cohort.csv", STAGE)))
    patients = [patient("P4", "poor"), patient("P1", "good"), patient("P2", "good"), patient("P3", "good")]
    assert stage_groups_of(config)(patients) == ["high", "low", "intermediate", ""]
    assert stage_groups_of(config)([patient("P1", "poor"), patient("P2", "")]) == ["high", ""]


def test_without_table_cohort_or_stage_there_is_none(bundles, tmp_path, capsys):
    cohort = write_cohort(tmp_path / "cohort.csv", STAGE)
    patients = [patient("P1", "good")]
    assert stage_groups_of(ScoreConfig(ensemble=str(bundles[0]), cohort=str(cohort)))(patients) == [""]
    assert stage_groups_of(ScoreConfig(ensemble=str(bundles[1])))(patients) == [""]
    cohort.write_text("patient_id,slide_id,slide_path,cohort,role\nP1,S1,S1.tif,North,external\n")
    assert stage_groups_of(ScoreConfig(ensemble=str(bundles[1]), cohort=str(cohort)))(patients) == [""]
    assert "no pT, pN, nodes_sampled: no risk groups" in capsys.readouterr().err


@pytest.mark.slow
def test_scoring_keeps_class_and_group(bundles, tmp_path):
    for name in ("P1", "P2"):
        write_pyramid(tmp_path / f"{name}.tif", texture(500, 500, margin=30))
    cohort = write_cohort(tmp_path / "cohort.csv", {name: STAGE[name] for name in ("P1", "P2")})
    call = [
        "score",
        f"cohort={cohort}",
        f"ensemble={bundles[1]}",
        f"out={tmp_path / 'out'}",
        "device=cpu",
        "settle_s=0",
    ]
    assert cli.main([*call, "stream.workers=1"]) == 0
    with (tmp_path / "out" / "patients.csv").open(encoding="utf-8", newline="") as stream:
        rows = {row["patient_id"]: row for row in csv.DictReader(stream)}
    place = RISK_CLASSES.index(rows["P1"]["risk_class"])
    assert rows["P2"]["risk_class"] == rows["P1"]["risk_class"], "the same picture"
    assert rows["P1"]["risk_group"] == RISK_GROUPS[place] and rows["P2"]["risk_group"] == RISK_GROUPS[min(2, place + 1)]
