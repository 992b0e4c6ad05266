"""Where tiles lie: the network's outline, a corrected one, a given one, tissue; and never one silently for another."""

import json
import shutil

import pyarrow.parquet as pq
import pytest
import shapely
from made_bundle import made_bundle
from made_tumour import MPP, bundle_with_tumour, disc

from pathoprog import cli
from pathoprog.ensemble.bundle import ensemble_id, verify
from pathoprog.errors import BundleError
from pathoprog.regions.annotations import read_outline, write_outline
from pathoprog.regions.tumour_map import dice

SIZE = 64  # 64 um at 10x: tiles fit the made tumour, which is 120 um wide or more
STREAM = ["stream.workers=1", "stream.batch_tiles=16", "device=cpu", "settle_s=0"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return made_bundle(tmp_path_factory.mktemp("plain") / "bundle", SIZE, tumour_policy="outline")


@pytest.fixture(scope="module")
def bundle(plain, tumour, tmp_path_factory):
    return bundle_with_tumour(plain, tumour.trained, tmp_path_factory.mktemp("locked") / "bundle")


@pytest.fixture(scope="module")
def scored(bundle, tumour, tmp_path_factory):
    out = tmp_path_factory.mktemp("scored") / "out"
    return out, score(bundle, tumour, out)


def score(bundle, tumour, out, *more):
    call = ["score", f"cohort={tumour.cohort}", "roles=[external]", f"ensemble={bundle}", f"out={out}"]
    return cli.main([*call, *STREAM, *more])


def result(out, slide_id):
    return json.loads((out / "slides" / slide_id / "result.json").read_text())


def middles(out, slide_id):
    tiles = pq.read_table(out / "slides" / slide_id / "tiles.parquet").to_pandas()
    return shapely.points(tiles.x0 + tiles.width0 / 2, tiles.y0 + tiles.height0 / 2)


def test_the_bundle_holds_the_network_and_its_policy(plain, bundle, tumour):
    manifest = verify(bundle)
    assert manifest.tumour_policy == "network" and manifest.tumour.tuning_dice > 0.85
    assert "tumour.safetensors" in manifest.files and ensemble_id(bundle) != ensemble_id(plain)
    assert manifest.tumour.network.settings.weights == ""
    damaged = bundle.parent / "damaged"
    shutil.copytree(bundle, damaged)
    weights = damaged / "tumour.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    with pytest.raises(BundleError, match=r"tumour\.safetensors: altered"):
        verify(damaged)


def test_tiles_lie_in_the_outline_of_the_bundle_s_network(scored, tumour):
    out, code = scored
    assert code == 0
    for name in ("T6", "T7"):
        found = result(out, name)
        assert found["status"] == "scored" and found["slide"]["region_source"] == "network"
        assert found["settings"]["tumour_policy"] == "network" and found["overrides"] == {}
        assert found["settings"]["batch_tiles"]["overview"] == 16
        outline = read_outline(out / "slides" / name / "tumour.geojson")
        assert dice(outline, read_outline(tumour.cohort.parent / "outlines" / f"{name}.geojson")) > 0.85
        assert found["slide"]["tumour_area_um2"] == pytest.approx(outline.area * MPP**2, rel=1e-6)
        near = outline.buffer(SIZE / MPP / 4)  # half a tile's width of 10x may stick out, and half its area at most
        assert shapely.contains(near, middles(out, name)).all()
    text = (out / "slides" / "T6" / "tumour.geojson").read_text()
    assert (
        "For research use only" in text and json.loads(text)["features"][0]["properties"]["objectType"] == "annotation"
    )
    assert "outline of the bundle" in (out / "slides" / "T6" / "report.html").read_text()


def test_a_slide_without_tumour_is_not_reportable(scored):
    out, _ = scored
    found = result(out, "T8")
    assert (found["status"], found["code"], found["risk_class"]) == ("not_reportable", "no_tumour", "")
    assert "found no tumour" in found["reason"] and found["scores"] == {}
    assert json.loads((out / "slides" / "T8" / "tumour.geojson").read_text())["features"] == []


@pytest.mark.slow
def test_a_corrected_outline_replaces_the_network_s_and_gives_a_new_result(scored, bundle, tumour, tmp_path, capsys):
    out = tmp_path / "out"
    shutil.copytree(scored[0], out)
    corrected = tmp_path / "corrected"
    corrected.mkdir()
    drawn = disc((640, 640), 250)
    for name in ("T6", "T8", "another_slide"):
        write_outline(corrected / f"{name}.geojson", drawn, name=name)
    said = json.loads((corrected / "T6.geojson").read_text())
    said["features"][0]["properties"]["metadata"] = {"who": "P. Athologist", "when": "2026-11-22"}
    (corrected / "T6.geojson").write_text(json.dumps(said))
    (corrected / "T7.geojson").write_text("{broken")
    assert score(bundle, tumour, out, f"corrected_outlines={corrected}") == 1
    assert "0 done before and unchanged, 3 to score" in capsys.readouterr().out
    found, before = result(out, "T6"), result(scored[0], "T6")
    assert found["result_key"] != before["result_key"] and found["outline_sha256"] != before["outline_sha256"] == ""
    assert found["slide"]["region_source"] == "corrected"
    assert (found["outline_who"], found["outline_when"]) == ("P. Athologist", "2026-11-22")
    assert found["slide"]["tumour_area_um2"] == pytest.approx(drawn.area * MPP**2, rel=1e-3)
    assert dice(read_outline(out / "slides" / "T6" / "tumour.geojson"), read_outline(corrected / "T6.geojson")) > 0.999
    assert shapely.contains(drawn.buffer(SIZE / MPP / 4), middles(out, "T6")).all()
    assert result(out, "T8")["status"] == "scored", "the pathologist knows better"
    assert result(out, "T8")["outline_who"] == ""
    failed = result(out, "T7")
    assert (failed["status"], failed["code"]) == ("failed", "outline"), "and the network's is not taken instead"


def test_the_policy_never_changes_silently(plain, bundle, tumour, tmp_path, capsys):
    out = tmp_path / "out"
    corrected = f"corrected_outlines={tumour.cohort.parent / 'outlines'}"
    (tmp_path / "empty").mkdir()
    calls = {
        "holds no tumour network": (plain, ["tumour_policy=network"]),
        "the tumour policy is outline": (plain, [corrected]),
        "the tumour policy is tissue": (bundle, ["tumour_policy=tissue", corrected]),
        "no corrected outline of these slides": (bundle, [f"corrected_outlines={tmp_path / 'empty'}"]),
        "no such folder": (bundle, [f"corrected_outlines={tmp_path / 'absent'}"]),
    }
    for said, (folder, more) in calls.items():
        assert score(folder, tumour, out, *more) == 2
        assert said in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.slow
def test_other_policies_are_still_to_be_had_and_recorded(bundle, tumour, tmp_path):
    assert score(bundle, tumour, tmp_path / "outline", "tumour_policy=outline") == 1, "T8 has no outline: it fails"
    found = result(tmp_path / "outline", "T6")
    assert found["slide"]["region_source"] == "outline" and found["overrides"] == {"tumour_policy": "outline"}
    assert result(tmp_path / "outline", "T8")["status"] == "failed"
    assert score(bundle, tumour, tmp_path / "tissue", "tumour_policy=tissue", "tiles.max_per_slide=4") == 0
    found = result(tmp_path / "tissue", "T8")
    assert found["slide"]["region_source"] == "tissue" and found["status"] == "scored"
    assert not (tmp_path / "tissue" / "slides" / "T8" / "tumour.geojson").exists()


@pytest.mark.slow
def test_equal_work_gives_equal_bytes(scored, bundle, tumour, tmp_path):
    assert score(bundle, tumour, tmp_path / "out", "stream.workers=2") == 0
    for path in sorted(scored[0].glob("slides/*/*")):
        if path.name not in ("run.json", "report.html", "report.pdf"):  # they say when
            assert (tmp_path / "out" / path.relative_to(scored[0])).read_bytes() == path.read_bytes(), path.name
