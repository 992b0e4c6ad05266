"""The public Python API says what the commands say: the same scores, bit for bit, and the same refusals."""

import csv
import io
import json
import math
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")

from made_bundle import made_bundle
from made_cohort import make_cohort
from made_slides import texture, write_pyramid
from PIL import Image

from pathoprog import RESEARCH_USE_ONLY, api
from pathoprog.ensemble.clinical import ClinicalCovariate, ClinicalModel, ClinicalTerm
from pathoprog.errors import BundleError, CohortError, ConfigError, InputError, LockError, SlideError
from pathoprog.regions.annotations import write_outline

SIZE = 64
TRAITS = {"organ": "colorectum", "specimen": "resection", "stain": "HE", "neoadjuvant": "no"}
NAMES = ("A", "coarse", "cut", "breast")


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    """A whole; one too coarse for 40x; one cut off; one that the bundle was not made for."""
    folder = tmp_path_factory.mktemp("slides")
    write_pyramid(folder / "A.tif", texture(700, 600, seed=0, margin=60))
    write_pyramid(folder / "coarse.tif", texture(700, 600, seed=2), mpp=0.5)
    write_pyramid(folder / "breast.tif", texture(700, 600, seed=3, margin=60))
    (folder / "cut.tif").write_bytes((folder / "A.tif").read_bytes()[:9000])
    rows = ["patient_id,slide_id,slide_path,cohort,role,organ,specimen,stain,neoadjuvant"]
    for name in NAMES:
        traits = {**TRAITS, "organ": "breast" if name == "breast" else "colorectum"}
        rows.append(f"P{name},{name},{name}.tif,North,external,{','.join(traits.values())}")
    (folder / "cohort.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    made_for = {name: [value] for name, value in TRAITS.items()}
    return made_bundle(tmp_path_factory.mktemp("locked") / "bundle", SIZE, made_for=made_for)


@pytest.fixture(scope="module")
def commanded(slides, bundle, tmp_path_factory):
    """What `pathoprog score` writes of them, in a process of its own."""
    out = tmp_path_factory.mktemp("scored") / "out"
    arguments = [f"cohort={slides / 'cohort.csv'}", f"ensemble={bundle}", f"out={out}", "device=cpu", "settle_s=0"]
    command = [sys.executable, "-m", "pathoprog.cli", "score", *arguments, "outputs.pdf=false"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr[-2000:]  # cut.tif has failed
    return out


@pytest.fixture(scope="module")
def ensemble(bundle):
    return api.load_ensemble(bundle, device="cpu")


def said_of(out, slide_id):
    return json.loads((out / "slides" / slide_id / "result.json").read_text())


@pytest.mark.parametrize("name", NAMES)
def test_a_slide_gets_what_the_command_gives_it_bit_for_bit(name, slides, ensemble, commanded):
    traits = {**TRAITS, "organ": "breast" if name == "breast" else "colorectum"}
    found, wanted = api.score_slide(slides / f"{name}.tif", ensemble, traits=traits), said_of(commanded, name)
    assert (found.status, found.risk_class, found.borderline) == (
        wanted["status"],
        wanted["risk_class"],
        wanted["borderline"],
    )
    assert found.reason == wanted["reason"] and list(found.flags) == wanted["quality"]
    assert found.scores == {name: entry["score"] for name, entry in wanted["scores"].items()}
    assert found.members == {name: entry["members"] for name, entry in wanted["scores"].items()}
    assert found.ensemble_id == wanted["ensemble_id"]
    assert RESEARCH_USE_ONLY in repr(found)


def test_the_made_slides_meet_every_refusal(commanded):
    statuses = {name: said_of(commanded, name)["status"] for name in NAMES}
    assert statuses == {"A": "scored", "coarse": "not_reportable", "cut": "failed", "breast": "not_reportable"}
    assert (
        "40x" in said_of(commanded, "coarse")["reason"] and "organ is breast" in said_of(commanded, "breast")["reason"]
    )


def test_the_map_is_the_command_s(slides, ensemble, commanded):
    drawn = api.score_slide(slides / "A.tif", ensemble, traits=TRAITS).draw_map()
    with Image.open(commanded / "slides" / "A" / "heatmap.png") as wanted:
        assert np.array_equal(np.asarray(drawn), np.asarray(wanted))
    failed = api.score_slide(slides / "cut.tif", ensemble)
    with pytest.raises(InputError, match="cut: no map, since the slide could not be opened"):
        failed.draw_map()


@pytest.mark.slow
def test_threads_and_the_settings_of_the_process_change_no_bit(slides, bundle, ensemble):
    import torch

    before = torch.get_num_threads()
    one = api.load_ensemble(bundle, device="cpu", threads=1)
    assert api.score_slide(slides / "A.tif", one).members == api.score_slide(slides / "A.tif", ensemble).members
    assert torch.get_num_threads() == before, "the notebook's own setting stays"


def test_a_slide_not_known_to_be_eligible_is_flagged(slides, ensemble):
    found = api.score_slide(slides / "A.tif", ensemble)
    assert found.status == "scored" and any("eligibility not confirmed" in flag for flag in found.flags)
    with pytest.raises(ConfigError, match="organs: must be among organ"):
        api.score_slide(slides / "A.tif", ensemble, traits={"organs": "colorectum"})


def test_what_was_overridden_stands_among_the_flags(slides, ensemble):
    slide = api.open_slide(slides / "coarse.tif", allow_upsampling=True)
    found = api.score_slide(slide, ensemble)
    assert found.status == "scored" and "override: slides.allow_upsampling=True" in found.flags
    assert "upsampled: not validated" in found.flags and "upsampled" in repr(found)


def test_opening_says_what_the_slide_is(slides):
    slide = api.open_slide(slides / "A.tif")
    assert (slide.facts.width, slide.facts.height, slide.facts.mpp) == (700, 600, 0.25)
    assert slide.thumbnail.dtype == np.uint8 and slide.thumbnail.shape[2] == 3
    tissue = slide.tissue_area_um2 / (580 * 480 * 0.25**2)
    assert 0.8 < tissue < 1.2
    assert "700 x 600 px at 0.25 um/px" in repr(slide) and RESEARCH_USE_ONLY in repr(slide)
    assert slide.draw().size[0] > 100
    with pytest.raises(SlideError, match="no such file"):
        api.open_slide(slides / "absent.tif")
    with pytest.raises(ConfigError, match=r"slides.mpp=-1: must be at least 0"):
        api.open_slide(slides / "A.tif", mpp=-1)


def test_tiles_are_those_that_scoring_lays(slides, ensemble):
    import shapely

    slide = api.open_slide(slides / "A.tif")
    tiles = api.lay_tiles(slide, "40x", spec=ensemble.specs["40x"])
    grid = api.score_slide(slide, ensemble).outcome.resolutions["40x"].grid
    assert len(tiles) == len(grid) > 0 and np.array_equal(tiles.x0, grid.x0) and np.array_equal(tiles.y0, grid.y0)
    assert tiles.width0 == 64 and tiles.region == "tissue" and RESEARCH_USE_ONLY in repr(tiles)
    assert tiles.draw().size[0] > 100
    outline = slides / "outline.geojson"
    write_outline(outline, shapely.MultiPolygon([shapely.box(128, 128, 384, 320)]), "A")
    inside = api.lay_tiles(slide, "40x", outline, ensemble.specs["40x"])
    assert inside.region == "outline" and len(inside) == 4 * 3


def test_tiles_are_refused_where_they_cannot_lie(slides, ensemble):
    coarse = api.open_slide(slides / "coarse.tif")
    with pytest.raises(SlideError, match="no 40x score"):
        api.lay_tiles(coarse, "40x")
    with pytest.raises(ConfigError, match="must be one of 10x, 20x, 40x"):
        api.lay_tiles(coarse, "5x")
    with pytest.raises(ConfigError, match="spec is of 10x"):
        api.lay_tiles(coarse, "40x", spec=ensemble.specs["10x"])


def test_an_outline_is_asked_for_or_refused_by_the_policy(slides, ensemble, tmp_path):
    with pytest.raises(ConfigError, match="policy is tissue, so no outline counts"):
        api.score_slide(slides / "A.tif", ensemble, outline=slides / "any.geojson")
    outlined = api.load_ensemble(made_bundle(tmp_path / "outlined", SIZE, tumour_policy="outline"), device="cpu")
    with pytest.raises(ConfigError, match="policy is outline, and the slide has none"):
        api.score_slide(slides / "A.tif", outlined)


def test_an_altered_bundle_is_refused(bundle, tmp_path):
    altered = tmp_path / "altered"
    shutil.copytree(bundle, altered)
    (altered / "quality.json").write_text("{}")
    with pytest.raises(BundleError, match=r"quality.json: altered"):
        api.load_ensemble(altered)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_cohort(tmp_path_factory.mktemp("study"), development=80, test=20, external=(60, 50)).folder


def test_a_cohort_and_its_curves(study, tmp_path):
    cohort = api.read_cohort(study)
    results = api.read_results(study / "scored", study / "bundle")
    curves = api.draw_curves(cohort, results)
    with (study / "scored" / "patients.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["role"] == "external" and row["status"] == "scored"]
    assert curves.n == {name: sum(row["risk_class"] == name for row in rows) for name in ("good", "uncertain", "poor")}
    texts = " ".join(text.get_text() for text in curves.figure.texts)
    assert RESEARCH_USE_ONLY in texts and "EXPLORATORY" in texts
    with Image.open(io.BytesIO(curves._repr_png_())) as picture:
        assert picture.size[0] > 300
    assert [path.suffix for path in curves.save(tmp_path / "curves")] == [".png", ".svg"]
    assert sum(api.draw_curves(cohort, results, name="trial 2").n.values()) < sum(curves.n.values())
    for said in (cohort, curves):
        assert RESEARCH_USE_ONLY in repr(said)


def test_a_role_selected_on_outcome_says_so_on_its_curves(study):
    cohort, results = api.read_cohort(study), api.read_results(study / "scored", study / "bundle")
    texts = [text.get_text() for text in api.draw_curves(cohort, results, role="tuning", years=[0, 2, 4]).figure.texts]
    assert any("SELECTED ON OUTCOME" in text for text in texts)


def test_what_does_not_fit_together_is_refused(study, bundle):
    cohort, results = api.read_cohort(study, outcomes=False), api.read_results(study / "scored", study / "bundle")
    with pytest.raises(InputError, match="no outcomes were read"):
        api.draw_curves(cohort, results)
    with pytest.raises(InputError, match="no scored patient with an outcome in external: Oslo; there are external: "):
        api.draw_curves(api.read_cohort(study), results, name="Oslo")
    with pytest.raises(InputError, match="role='extern': must be one of training"):
        api.draw_curves(api.read_cohort(study), results, role="extern")
    with pytest.raises(LockError, match="another ensemble"):
        api.read_results(study / "scored", bundle)


def test_importing_it_loads_nothing_heavy():
    program = (
        "import sys, pathoprog.api\n"
        "heavy = ['torch', 'pandas', 'numpy', 'matplotlib', 'mlflow', 'openslide', 'scipy', 'PIL']\n"
        "sys.exit(str([name for name in heavy if name in sys.modules] or ''))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert not done.stderr.strip("\n"), done.stderr


def test_every_public_name_is_there_and_documented():
    assert api.__all__ == sorted(api.__all__, key=lambda name: (name[0].islower(), name))
    for name in api.__all__:
        thing = getattr(api, name)
        assert thing.__doc__ and not name.startswith("_")
        if not isinstance(thing, type):
            assert "return" in thing.__annotations__ and "Args:" in thing.__doc__


@pytest.mark.slow
def test_curves_need_no_torch(study):
    program = (
        "import sys\n"
        "from pathoprog import api\n"
        f"folder = {str(study)!r}\n"
        "api.draw_curves(api.read_cohort(folder), api.read_results(folder + '/scored', folder + '/bundle'))\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_lines_of_the_documents_run_as_they_stand(slides, bundle, study, tmp_path, monkeypatch):
    """The first blocks of docs/python.md, each in a folder with the names that it uses; a notebook has the third."""
    text = (Path(__file__).parents[1] / "docs" / "python.md").read_text(encoding="utf-8")
    of_a_slide, of_a_cohort, of_training = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(of_a_slide.splitlines()) == 5 and len(of_a_cohort.splitlines()) <= 5
    assert "train_member(settings, " in of_training and "lock(members, " in of_training
    names = {name: getattr(api, name) for name in api.__all__}
    (tmp_path / "slide" / "slides").mkdir(parents=True)
    shutil.copyfile(slides / "A.tif", tmp_path / "slide" / "slides" / "S1.svs")
    (tmp_path / "slide" / "bundle").symlink_to(bundle)
    (tmp_path / "study").mkdir()
    for ours, theirs in (("cohort", "."), ("scores", "scored"), ("bundle", "bundle")):
        (tmp_path / "study" / ours).symlink_to(study / theirs)
    for folder, lines in (("slide", of_a_slide), ("study", of_a_cohort)):
        monkeypatch.chdir(tmp_path / folder)
        exec(lines, names)  # noqa: S102 - our own documents
    assert names["scored"].status == "scored" and names["results"].shape[0] > 100


def clinical_model(missing="withhold"):
    """Log hazard ratio = 2 (number - 0.1) + 0.03 (age - 60) + 0.7 [pT is 4]."""
    age = ClinicalCovariate(name="age", kind="number", typical="65", levels=("40", "90"))
    stage = ClinicalCovariate(name="pT", kind="category", typical="3", levels=("3", "4"))
    terms = (("one_number", "", "", 2.0, 0.1), ("age", "", "", 0.03, 60.0), ("pT", "4", "3", 0.7, 0.0))
    return ClinicalModel(
        covariates=(age, stage),
        terms=tuple(
            ClinicalTerm(covariate=name, level=level, reference=reference, coef=coef, se=0.1, mean=mean)
            for name, level, reference, coef, mean in terms
        ),
        missing=missing,
        n=100,
        events=50,
        n_missing=0,
        strata=("north",),
    )


@pytest.fixture(scope="module")
def clinical(ensemble):
    return replace(ensemble, clinical_model=clinical_model())


def test_a_patient_s_clinical_number_is_that_of_the_model(slides, clinical):
    scored = api.score_slide(slides / "A.tif", clinical, traits=TRAITS)
    number = sum(scored.scores[name] - cut for name, cut in scored.thresholds.items()) / 2
    assert scored.one_number == pytest.approx(number, abs=1e-12)
    found = api.clinical_number(clinical, scored, {"age": 70, "pT": "pT 4", "sex": "f"})
    assert found.value is None and found.notes == ("pT=pT 4 is none of 3, 4",)
    for age, stage in ((70, 4), (70.0, "4.0"), ("70", " 4 "), (np.float32(70), np.int64(4)), ("70,0", "4")):
        found = api.clinical_number(clinical, scored, {"age": age, "pT": stage})
        assert found.value == pytest.approx(2 * (number - 0.1) + 0.3 + 0.7, abs=1e-12), (age, stage)
        assert dict(found.covariates) == {"age": "70", "pT": str(stage).strip()} and found.notes == ()
    assert (
        RESEARCH_USE_ONLY in repr(found)
        and "age 70" in repr(found)
        and "clinical covariates: age, pT" in repr(clinical)
    )
    beyond = api.clinical_number(clinical, number, {"age": 95, "pT": 3})
    assert beyond.value is not None and beyond.notes == ("age=95 lies outside tuning's 40 to 90",)


@pytest.mark.parametrize("value", [None, "", " ", float("nan"), np.nan, pd.NA, pd.NaT])
def test_a_missing_covariate_goes_by_the_locked_rule(clinical, value):
    found = api.clinical_number(clinical, 0.1, {"age": value, "pT": "3"})
    assert found.value is None and found.notes == ("age is missing",) and found.covariates["age"] == ""
    typical = replace(clinical, clinical_model=clinical_model("typical"))
    filled = api.clinical_number(typical, 0.1, {"age": value, "pT": "3"})
    assert filled.value == pytest.approx(0.15) and filled.notes == ("age is missing; 65 was taken",)
    assert api.clinical_number(typical, 0.1, {}).value == pytest.approx(0.15)


def test_what_gives_no_clinical_number_says_why(slides, ensemble, clinical, tmp_path):
    unread = api.score_slide(slides / "cut.tif", clinical)
    found = api.clinical_number(clinical, unread, {"age": 70, "pT": 3})
    assert found.value is None and found.notes[0].startswith("the image gives no number: ")
    assert api.clinical_number(clinical, float("nan"), {"age": 70, "pT": 3}).notes == ("the image gives no number",)
    with pytest.raises(ConfigError, match="the ensemble has no model over clinical covariates"):
        api.clinical_number(ensemble, 0.1, {"age": 70})
    other = replace(unread, ensemble_id="0" * 64)
    with pytest.raises(InputError, match="scored by another ensemble"):
        api.clinical_number(clinical, other, {"age": 70})
    for number, kind, said in (
        (2.0, InputError, "lies in"),
        (math.inf, InputError, "lies in"),
        (True, ConfigError, "bool"),
    ):
        with pytest.raises(kind, match=said):
            api.clinical_number(clinical, number, {"age": 70, "pT": 3})
    for age in (640, -1, "old", "65 years"):
        with pytest.raises(CohortError, match="must be a number from 0 to 150, or empty"):
            api.clinical_number(clinical, 0.1, {"age": age, "pT": 3})
    for covariates, said in (
        ({"age": [70]}, "must be a text or a number"),
        ({"age": True}, "bool"),
        (["age"], "mapping"),
    ):
        with pytest.raises(ConfigError, match=said):
            api.clinical_number(clinical, 0.1, covariates)
    with pytest.raises(BundleError, match="no bundle there"):
        api.clinical_number(tmp_path, 0.1, {"age": 70})


def test_results_of_an_ensemble_with_covariates_have_its_number(tmp_path):
    made = make_cohort(tmp_path, development=0, test=0, external=(40,), clinical=clinical_model())
    found = api.read_results(made.folder / "scored", made.folder / "bundle")
    ages = api.read_cohort(made.folder, outcomes=False).slides.set_index("patient_id")
    assert found["clinical_number"].dtype == float and found["clinical_number"].notna().sum() > 10
    for row in found.to_dict("records"):
        own = api.clinical_number(made.folder / "bundle", row["one_number"], dict(ages.loc[row["patient_id"]]))
        value = math.nan if own.value is None else own.value
        assert row["clinical_number"] == pytest.approx(value, abs=1e-12, nan_ok=True)


def test_what_a_call_hands_out_stays_after_a_change_of_directory(slides, monkeypatch, tmp_path):
    monkeypatch.chdir(slides)
    slide, cohort = api.open_slide("A.tif"), api.read_cohort("", outcomes=False)
    monkeypatch.chdir(tmp_path)
    assert len(api.lay_tiles(slide, "40x")) > 0 and cohort.folder == slides


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (lambda path: api.lay_tiles(str(path), "10x"), "slide: must be what open_slide gives, not"),
        (lambda path: api.score_slide(path, "bundle"), "ensemble: must be what load_ensemble gives, not 'bundle'"),
        (lambda path: api.draw_curves(str(path), None), "cohort: must be what read_cohort gives, not"),
        (lambda path: api.open_slide(path, mpp="0.25"), r"mpp='0\.25' \(str\): must be a number"),
        (lambda path: api.simulate_cohort(path, settings={"workers": 1}), "settings: must be SimulateConfig, not"),
        (lambda path: api.write_first_files(path, path, settings=3), "settings: must be InitConfig, not 3"),
    ],
)
def test_wrong_types_are_refused_by_name(slides, asked, said):
    with pytest.raises(ConfigError, match=said):
        asked(slides / "A.tif")
