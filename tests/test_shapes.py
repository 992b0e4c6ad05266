"""Ensembles of other shapes, the whole way on made slides: one resolution alone, and resolutions that differ.

20x alone with three members; 10x and 40x on encoders of their own; members of images at one resolution and of stored
features at the other. Trained, locked, scored and validated, each by the commands that anyone would give.
"""

import csv
import json
import re

import pytest

pytest.importorskip("torch")
from made_bundle import made_encoder

from pathoprog import cli
from pathoprog.ensemble.bundle import read_manifest, verify
from pathoprog.errors import BundleError
from pathoprog.system.files import read_json, write_json

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
FIT = [
    *("fit.steps=2", "fit.patients_per_step=4", "fit.tiles_per_patient=3", "fit.evaluate_every=2", "device=cpu"),
    *("fit.evaluate_tiles=4", "fit.recalibrate=1", "fit.checkpoint_every=2", "track.tracking=none"),
]
SCORE = ["device=cpu", "settle_s=0", "outputs.pdf=false"]
PLAN = """\
title: Another shape
time_zero: day of surgery
primary:
  endpoint: cancer-specific survival
  contrast: {contrast}
  cohort: external
  horizon_years: 3
  test: logrank
planned: [kaplan_meier, logrank, hazard_ratios, c_index, c_classes, groupings, horizon_values, subgroups]
subgroups: [sex]
"""
ALONE = "not METHOD's ensemble: 3 networks at 20x, where METHOD has 5 networks at 10x and 5 at 40x"
TWO = "not METHOD's ensemble: 2 networks at 10x and 2 at 40x, where METHOD has 5 networks at 10x and 5 at 40x"


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Slides and tables, and the settings that every training takes."""
    folder = tmp_path_factory.mktemp("shapes")
    sizes = ["development_patients=24", "external_patients=12", "test_patients=0", "field_um=300"]
    assert cli.main(["simulate", f"out={folder / 'cohort'}", *sizes]) == 0
    return folder


def tables(folder):
    slides = folder / "cohort"
    return [
        *(f"data.cohort={slides / 'cohort.csv'}", f"data.overlap={slides / 'overlap.json'}"),
        *(f"data.outcomes={slides / 'outcomes.csv'}", f"data.store={folder / 'tiles'}"),
    ]


def train(folder, name, members, *more):
    """Candidates as many as members: a pilot that runs to the end."""
    call = ["train_ensemble", "experiment=demo", f"out={folder / name}", *tables(folder), *FIT, *more]
    assert cli.main([*call, f"candidates={members}", f"members={members}"]) == 0


def lock(folder, name, members, *more):
    bundle = folder / f"{name}-bundle"
    call = ["ensemble", f"candidates={folder / name}", f"out={bundle}", f"members={members}", "bootstrap=5", *more]
    assert cli.main([*call, "device=cpu", "track.tracking=none"]) == 0
    return bundle


def score(folder, bundle, out, role):
    slides = folder / "cohort"
    call = ["score", f"cohort={slides / 'cohort.csv'}", f"overlap={slides / 'overlap.json'}", f"ensemble={bundle}"]
    assert cli.main([*call, f"out={folder / out}", f"roles=[{role}]", *SCORE]) == 0
    return folder / out


def validate(folder, bundle, scores, contrast="poor vs good", out="validation"):
    slides, plan = folder / "cohort", folder / "plan.yaml"
    plan.write_text(PLAN.format(contrast=contrast))
    return cli.main(
        [
            *("validate", f"scores={scores / 'patients.csv'}", f"results={scores / 'results.csv'}", f"plan={plan}"),
            *(f"cohort={slides / 'cohort.csv'}", f"outcomes={slides / 'outcomes.csv'}"),
            *(f"overlap={slides / 'overlap.json'}", f"ensemble={bundle}", f"out={folder / out}"),
            *("permutations=100", "track.tracking=none"),
        ]
    )


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def words_of(page):
    """A page's text, without what is drawn."""
    text = re.sub(r"<style.*?</style>|data:[^\"]*", "", page.read_text(encoding="utf-8"), flags=re.S)
    return " ".join(re.sub(r"<[^>]+>", " ", text).replace("&#39;", "'").split())


@pytest.fixture(scope="module")
def alone(cohort):
    """A bundle of three members at 20x."""
    train(cohort, "alone", 3, "data.resolutions=[20x]")
    return lock(cohort, "alone", 3)


@pytest.fixture(scope="module")
def alone_scored(cohort, alone):
    return score(cohort, alone, "alone-scores", "external")


def test_one_resolution_is_locked_and_says_that_it_is_not_methods(alone, capsys):
    manifest = verify(alone)
    assert manifest.format == 4 and manifest.shape.members == {"20x": 3} and manifest.other_shape.caution == ALONE
    assert manifest.cuts.keys() == {"20x"} and manifest.tile_specs["20x"].mpp == 0.5
    assert [member.resolution for member in manifest.members] == ["20x"] * 3
    card = (alone / "model_card.md").read_text(encoding="utf-8")
    assert ALONE in card and "three at 20x (0.5 um/px)" in card and "good or poor" in card
    assert "uncertain" not in card.replace("never uncertain", "")
    assert cli.main(["verify", str(alone)]) == 0
    assert ALONE in capsys.readouterr().out
    assert {row["resolution"] for row in rows_of(alone / "choice.csv")} == {"20x"}


def test_its_scores_have_two_classes_and_say_what_they_are_of(alone, alone_scored):
    slides, patients = rows_of(alone_scored / "results.csv"), rows_of(alone_scored / "patients.csv")
    assert {row["status"] for row in slides} == {"scored"} and len(patients) == 12
    assert {row["risk_class"] for row in (*slides, *patients)} <= {"good", "poor"}
    assert "score_20x" in slides[0] and "n_tiles_20x" in slides[0] and not {"score_10x", "score_40x"} & slides[0].keys()
    cut = read_manifest(alone).cuts["20x"]
    for row in (*slides, *patients):
        assert row["risk_class"] == ("poor" if float(row["score_20x"]) >= cut else "good")
    for row in patients:
        assert float(row["one_number"]) == float(row["score_20x"]) - cut and row["caution"] == ALONE
    assert all(ALONE in row["quality"].split(";") for row in slides)
    assert {row["resolution"] for row in rows_of(alone_scored / "members.csv")} == {"20x"}
    assert read_json(alone_scored / "summary.json")["patients"].keys() == {"good", "poor", "not_reportable", "failed"}
    folder = alone_scored / "slides" / slides[0]["slide_id"]
    found = json.loads((folder / "result.json").read_text())
    assert found["scores"].keys() == {"20x"} and len(found["scores"]["20x"]["members"]) == 3
    said = words_of(folder / "report.html")
    assert ALONE in said and "three members (circles)" in said and "tiles at 20x" in said
    assert "The score lies" in said and "tiles at 10x" not in said


def test_the_lock_and_scoring_agree_on_tuning(cohort, alone):
    found = {row["patient_id"]: row for row in rows_of(score(cohort, alone, "alone-tuning", "tuning") / "patients.csv")}
    locked = {row["patient_id"]: row for row in rows_of(cohort / "alone-bundle.tuning.csv")}
    assert found == locked and len({row["score_20x"] for row in found.values()}) > 1


def test_it_is_validated_with_two_classes(cohort, alone, alone_scored):
    assert validate(cohort, alone, alone_scored) == 0
    statistics = read_json(cohort / "validation" / "statistics.json")
    external = statistics["populations"]["external_external"]
    assert external["classes"].keys() == {"good", "poor"} and sum(external["classes"].values()) == external["n"] == 12
    assert [row["grouping"] for row in external["groupings"]] == ["poor against good"]
    assert [row["score"] for row in external["concordance"]][:2] == ["ensemble", "two classes"]
    assert {row["resolution"] for row in external["concordance"]} == {"", "20x"}
    assert {row["grouping"] for row in statistics["horizon_values"]} == {"poor against good"}
    (cohorts,) = rows_of(cohort / "validation" / "tables" / "cohorts.csv")
    assert "n_poor" in cohorts and "n_uncertain" not in cohorts
    said = words_of(cohort / "validation" / "report.html")
    assert ALONE in said and "for the two classes" in said
    assert not re.search("uncertain|three classes|both scores|both resolutions", said, re.I)


def test_a_plan_that_asks_for_uncertain_is_refused_before_the_outcomes(cohort, alone, alone_scored, capsys):
    assert validate(cohort, alone, alone_scored, "uncertain vs good", "refused") == 2
    assert "an ensemble of one resolution (20x) never gives" in capsys.readouterr().err
    assert not (cohort / "refused").exists()


def test_a_part_of_a_newer_version_is_refused_in_words(alone, tmp_path):
    values = read_json(alone / "manifest.json")
    for change, said in (
        ({"format": 5}, r"format 5, this version reads 1 to 4; it was locked by a newer version of pathoprog"),
        ({"holds": ["other_shape", "more"]}, r"holds: more, which this version does not know; .* newer version"),
    ):
        write_json(tmp_path / "manifest.json", values | change)
        with pytest.raises(BundleError, match=said):
            read_manifest(tmp_path)


def test_each_resolution_may_have_an_encoder_of_its_own(cohort):
    train(cohort, "encoders", 2, "at_40x.encoder=timm/test_resnet")
    bundle = lock(cohort, "encoders", 2)
    manifest = verify(bundle)
    encoders = {member.resolution: member.network.settings.encoder for member in manifest.members}
    assert encoders == {"10x": "mobilenet_v2", "40x": "timm/test_resnet"} and manifest.other_shape.caution == TWO
    widths = {member.resolution: member.network.settings.width for member in manifest.members}
    assert widths == {"10x": 0.35, "40x": 1.0}  # another encoder's width is not its own
    card = (bundle / "model_card.md").read_text(encoding="utf-8")
    assert "Encoder mobilenet_v2 (width 0.35) at 10x; encoder timm/test_resnet (width 1) at 40x" in card
    scores = score(cohort, bundle, "encoders-scores", "external")
    rows = rows_of(scores / "results.csv")
    assert all(TWO in row["quality"] and row["score_10x"] and row["score_40x"] for row in rows)
    assert validate(cohort, bundle, scores, out="encoders-validation") == 0
    said = words_of(cohort / "encoders-validation" / "report.html")
    assert TWO in said and "for the three classes" in said and "Uncertain is an intermediate class" in said


def test_members_of_images_and_of_features_are_locked_by_one_command(cohort):
    weights, features = cohort / "encoder.safetensors", cohort / "features"
    made_encoder(weights)
    slides = cohort / "cohort"
    call = ["features", "data=demo", f"data.cohort={slides / 'cohort.csv'}", f"data.features={features}", "device=cpu"]
    more = ["encoder=timm/test_resnet", f"weights={weights}", "resolutions=[40x]", "roles=[training,tuning]"]
    assert cli.main([*call, *more, f"data.overlap={slides / 'overlap.json'}", "data.tiles_40x.max_per_slide=5"]) == 0
    at_40x = ["at_40x.source=features", "at_40x.encoder=none", "at_40x.feature_dim=96"]
    train(cohort, "mixed", 2, f"data.features={features}", *at_40x)
    bundle = lock(cohort, "mixed", 2, f"encoder_weights={weights}")
    manifest = verify(bundle)
    assert manifest.encoders.keys() == {"40x"} and manifest.tile_specs["40x"].max_per_slide == 5
    assert {one.network.settings.encoder for one in manifest.members_at("40x")} == {"none"}
    assert {one.network.settings.encoder for one in manifest.members_at("10x")} == {"mobilenet_v2"}
    found = {
        row["patient_id"]: row for row in rows_of(score(cohort, bundle, "mixed-tuning", "tuning") / "patients.csv")
    }
    locked = {row["patient_id"]: row for row in rows_of(cohort / "mixed-bundle.tuning.csv")}
    assert found.keys() == locked.keys() and len(found) > 2
    for name, row in found.items():
        assert row["status"] == locked[name]["status"] and row["score_10x"] == locked[name]["score_10x"]
        # stored features are rounded to fp16 as scoring rounds them
        assert float(row["score_40x"]) == pytest.approx(float(locked[name]["score_40x"]), abs=1e-3)
