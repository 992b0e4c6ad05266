"""`pathoprog score` from the command line on made slides: results, reuse, refusals, and the real files."""

import csv
import json
import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import shapely
import shapely.geometry
import torch
from made_slides import texture, write_pyramid
from PIL import Image
from shared_data import shared_data

from pathoprog import cli
from pathoprog.ensemble.loading import load_bundle
from pathoprog.networks.member import prepare
from pathoprog.regions.annotations import write_outline
from pathoprog.scoring.results import read_slide
from pathoprog.slides import open_slide
from pathoprog.system.files import sha256_file

SIZE = 64
STREAM = ["stream.workers=1", "stream.batch_tiles=16", "device=cpu", "settle_s=0"]


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    """A and B of one patient, C too coarse for 40x, D the same bytes as A, E truncated."""
    folder = tmp_path_factory.mktemp("slides")
    for seed, name in enumerate("AB"):
        write_pyramid(folder / f"{name}.tif", texture(700, 600, seed=seed, margin=60))
    write_pyramid(folder / "C.tif", texture(700, 600, seed=2), mpp=0.5)
    shutil.copyfile(folder / "A.tif", folder / "D.tif")
    (folder / "E.tif").write_bytes((folder / "B.tif").read_bytes()[:9000])
    rows = ["patient_id,slide_id,slide_path,cohort,role"]
    patients = {"A": "P1", "B": "P1", "C": "P2", "D": "P3", "E": "P4"}
    rows += [f"{patient},{name},{name}.tif,North,external" for name, patient in patients.items()]
    (folder / "cohort.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def scored(bundle, slides, tmp_path_factory):
    out = tmp_path_factory.mktemp("scored") / "out"
    code = cli.main(["score", f"cohort={slides / 'cohort.csv'}", f"ensemble={bundle}", f"out={out}", *STREAM])
    return code, out


def rows(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return {row.get("slide_id") or row["patient_id"]: row for row in csv.DictReader(stream)}


def result(out, slide_id):
    return json.loads((out / "slides" / slide_id / "result.json").read_text())


def test_every_slide_has_its_row_and_a_failure_changes_the_exit_code(scored, slides):
    code, out = scored
    table = rows(out / "results.csv")
    assert code == 1 and list(table) == ["A", "B", "C", "D", "E"]
    assert {name: row["status"] for name, row in table.items()} == {
        "A": "scored", "B": "scored", "C": "not_reportable", "D": "scored", "E": "failed"
    }  # fmt: skip
    assert "0.5 um/px" in table["C"]["reason"] and table["C"]["risk_class"] == "" and table["C"]["score_10x"]
    assert table["E"]["reason"] and str(slides) not in table["E"]["reason"], "no path leaves with a result"
    assert table["A"]["class_level"] == "slide level, not validated" and table["C"]["class_level"] == "patient"


def test_the_summary_counts_slides_patients_and_reasons(scored):
    _, out = scored
    found = json.loads((out / "summary.json").read_text())
    assert found["slides"] == {"scored": 3, "not_reportable": 1, "failed": 1}
    assert sum(found["patients"].values()) == 4 and found["patients"]["failed"] == 1
    assert list(found["reasons"]["not_reportable"]) == ["C"] and list(found["reasons"]["failed"]) == ["E"]
    assert found["this_run"]["slides"] == 5 and found["this_run"]["tiles"] > 100


def test_the_same_content_is_computed_once(scored):
    _, out = scored
    assert rows(out / "results.csv")["D"]["duplicate_of"] == "A"
    one, other = result(out, "A"), result(out, "D")
    assert one["scores"] == other["scores"] and one["result_key"] == other["result_key"]
    assert (one["slide_id"], other["slide_id"]) == ("A", "D")


def test_patients_follow_from_one_bag_of_all_their_tiles(scored, bundle, slides):
    _, out = scored
    patients = rows(out / "patients.csv")
    assert {name: row["status"] for name, row in patients.items()} == {
        "P1": "scored", "P2": "not_reportable", "P3": "scored", "P4": "failed"
    }  # fmt: skip
    assert patients["P1"]["slides"] == "A;B" and patients["P1"]["rule"] == "bag"
    networks = load_bundle(bundle)
    for resolution, mpp in (("10x", 1.0), ("40x", 0.25)):
        tiles = []
        for name in "AB":
            table = pq.read_table(out / "slides" / name / "tiles.parquet").to_pandas()
            table = table[table["resolution"] == resolution]
            with open_slide(str(slides / f"{name}.tif")) as slide:
                tiles += [slide.read_at_mpp(x, y, mpp, (SIZE, SIZE)) for x, y in zip(table.x0, table.y0, strict=True)]
        with torch.inference_mode():
            batch = prepare(torch.from_numpy(np.stack(tiles)))
            expected = [
                float(member.network.bag_scores(member.network.instances(batch), [len(batch)], member.score_map))
                for member in networks.members[resolution]
            ]
        assert float(patients["P1"][f"score_{resolution}"]) == pytest.approx(np.mean(expected), abs=1e-5)
        members = pd.read_csv(out / "members.csv").query(f"patient_id == 'P1' and resolution == '{resolution}'")
        assert members["score"].tolist() == pytest.approx(expected, abs=1e-5)


def test_the_files_of_a_slide(scored):
    _, out = scored
    folder = out / "slides" / "B"
    found = result(out, "B")
    assert set(found["scores"]["10x"]["members"]) == {f"10x-{i}" for i in range(5)}
    assert "for research use only" in found["research_use_only"].lower()
    table = pq.read_table(folder / "tiles.parquet")
    frame = table.to_pandas()
    assert json.loads(table.schema.metadata[b"members"])["40x"] == [f"40x-{i}" for i in range(5)]
    assert (frame["resolution"] == "40x").sum() == found["scores"]["40x"]["n_tiles"] > 10
    members = frame[[f"member_{i}" for i in range(1, 6)]]
    assert frame["score"].to_numpy() == pytest.approx(members.mean(axis=1).to_numpy(), abs=1e-6)
    features = json.loads((folder / "tiles.geojson").read_text())["features"]
    names = [feature["properties"]["classification"]["name"] for feature in features]
    assert names == [f"{name} tile" for name in frame["resolution"]]
    first = frame.iloc[0]
    assert shapely.geometry.shape(features[0]["geometry"]).bounds == pytest.approx(
        (first.x0, first.y0, first.x0 + first.width0, first.y0 + first.height0), abs=0.01
    )
    properties = features[0]["properties"]
    assert properties["objectType"] == "tile"
    assert properties["measurements"]["10x tile score"] == pytest.approx(first.score, abs=1e-6)
    with Image.open(folder / "heatmap.png") as image:
        assert image.width > 2 * 300
    assert {"time", "host", "attempt"}.isdisjoint(found)


def test_running_again_computes_nothing_and_says_the_same(scored, bundle, slides, capsys):
    _, out = scored
    before = {path: path.stat().st_mtime_ns for path in out.glob("slides/[A-D]/*")}
    tables = {name: (out / name).read_bytes() for name in ("results.csv", "patients.csv", "members.csv")}
    call = ["score", f"cohort={slides / 'cohort.csv'}", f"ensemble={bundle}", f"out={out}", *STREAM]
    assert cli.main(call) == 1
    said = capsys.readouterr().out
    assert "5 done before and unchanged (1 of them failed; requeue=true tries them again), 0 to score" in said
    assert cli.main([*call, "requeue=true", "dry_run=true"]) == 0
    assert "4 done before and unchanged, 1 to score" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in out.glob("slides/[A-D]/*")} == before
    for name in ("patients.csv", "members.csv"):
        assert (out / name).read_bytes() == tables[name]


def test_running_again_hashes_each_result_once(scored, bundle, slides, monkeypatch):
    _, out = scored
    hashed = []

    def counted(folder, slide_id, verify=True):
        if verify:
            hashed.append(slide_id)
        return read_slide(folder, slide_id, verify)

    monkeypatch.setattr("pathoprog.inference.batch.read_slide", counted)
    assert cli.main(["score", f"cohort={slides / 'cohort.csv'}", f"ensemble={bundle}", f"out={out}", *STREAM]) == 1
    assert sorted(hashed) == ["A", "B", "C", "D"]


def test_equal_work_gives_equal_bytes_whatever_the_number_of_readers(scored, bundle, slides, tmp_path):
    _, out = scored
    cohort = f"cohort={slides / 'cohort.csv'}"
    cli.main(["score", cohort, f"ensemble={bundle}", f"out={tmp_path / 'other'}", *STREAM[1:], "stream.workers=2"])
    for path in sorted(out.glob("slides/*/*")):
        if path.name not in ("run.json", "report.html", "report.pdf"):  # they say when
            assert (tmp_path / "other" / path.relative_to(out)).read_bytes() == path.read_bytes(), path.name


def test_a_changed_setting_slide_or_result_is_computed_again(bundle, slides, tmp_path, capsys):
    slide = tmp_path / "A.tif"
    shutil.copyfile(slides / "A.tif", slide)
    call = ["score", f"slides={slide}", f"ensemble={bundle}", f"out={tmp_path / 'out'}", *STREAM]

    def to_score(*more):
        assert cli.main([*call, *more, "--dry-run"]) == 0
        return int(capsys.readouterr().out.rpartition("unchanged, ")[2].split()[0])

    assert to_score() == 1
    assert cli.main(call) == 0
    assert to_score() == 0
    for change in ("tiles.max_per_slide=3", "slides.mpp=0.24", "dtype=bf16", "stream.batch_tiles=8"):
        assert to_score(change) == 1, change
    page = tmp_path / "out" / "slides" / "A" / "tiles.geojson"
    content = page.read_bytes()
    page.write_bytes(content[:-1])
    assert to_score() == 1, "a damaged file is no result"
    page.write_bytes(content)
    folder = page.parent
    whole = {name: (folder / name).read_bytes() for name in ("result.json", "run.json")}
    foreign = {name: value for name, value in json.loads(whole["result.json"]).items() if name != "reason"}
    run = json.loads(whole["run.json"])
    (folder / "result.json").write_text(json.dumps(foreign))
    run["files"]["result.json"] = sha256_file(folder / "result.json")
    (folder / "run.json").write_text(json.dumps(run))
    assert to_score() == 1, "what is not the record that it should be is no result"
    for name, data in whole.items():
        (folder / name).write_bytes(data)
    assert to_score() == 0
    shutil.copyfile(slides / "B.tif", slide)
    assert to_score() == 1, "the same name with new content"
    assert cli.main([*call, "tiles.max_per_slide=3"]) == 0
    found = result(tmp_path / "out", "A")
    assert found["scores"]["40x"]["n_tiles"] == 3 < found["scores"]["40x"]["n_tiles_candidates"]
    assert found["quality"][-1] == "override: tiles.max_per_slide=3"


def test_a_killed_run_s_leftovers_are_removed(bundle, slides, tmp_path):
    half = tmp_path / "out" / "slides" / ".1-1.staging"
    half.mkdir(parents=True)
    (half / "result.json").write_text("{")
    assert cli.main(["score", str(slides / "A.tif"), f"ensemble={bundle}", f"out={tmp_path / 'out'}", *STREAM]) == 0
    assert sorted(path.name for path in (tmp_path / "out" / "slides").iterdir()) == ["A"]


def test_tiles_lie_inside_the_outline_where_the_policy_says_so(bundle, slides, tmp_path, capsys):
    call = ["score", f"slides={slides / 'A.tif'}", f"ensemble={bundle}", f"out={tmp_path / 'out'}", *STREAM]
    assert cli.main([*call, "tumour_policy=outline"]) == 2
    assert "outlines=FOLDER" in capsys.readouterr().err
    outlines = tmp_path / "outlines"
    outlines.mkdir()
    write_outline(outlines / "A.geojson", shapely.box(100, 100, 400, 400))
    assert cli.main([*call, "tumour_policy=outline", f"outlines={outlines}"]) == 0
    tiles = pq.read_table(tmp_path / "out" / "slides" / "A" / "tiles.parquet").to_pandas()
    middle_x, middle_y = tiles.x0 + tiles.width0 / 2, tiles.y0 + tiles.height0 / 2
    assert middle_x.between(80, 420).all() and middle_y.between(80, 420).all()
    found = result(tmp_path / "out", "A")
    assert found["overrides"] == {"tumour_policy": "outline"} and found["slide"]["region_source"] == "outline"
    assert found["slide"]["tumour_area_um2"] == pytest.approx(300 * 300 * 0.25**2)


def test_wrong_calls_do_nothing(bundle, slides, tmp_path, capsys):
    out = tmp_path / "out"
    slide = slides / "A.tif"
    broken = tmp_path / "broken"
    shutil.copytree(bundle, broken)
    weights = broken / "members" / "10x-0.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    calls = {
        "give either": [f"ensemble={bundle}"],
        "ensemble is missing": [f"slides={slide}"],
        "no such file": [f"slides={slide}x", f"ensemble={bundle}"],
        "altered": [f"slides={slide}", f"ensemble={broken}"],
        "device='cuda:77'": [f"slides={slide}", f"ensemble={bundle}", "device=cuda:77"],
        "no slide in the roles": [f"cohort={slides / 'cohort.csv'}", "roles=[training]", f"ensemble={bundle}"],
    }
    for said, call in calls.items():
        assert cli.main(["score", f"out={out}", *call]) == 2
        assert said in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.slow
def test_real_slides_are_judged_as_they_must_be(bundle, tmp_path, capsys):
    coarse = shared_data("wsi/aperio_CMU-1-Small-Region.svs")
    fine = shared_data("wsi/ome_OS-1-detail_HE.ome.tif")
    call = ["score", f"ensemble={bundle}", *STREAM, f"slides={coarse},{fine}"]
    assert cli.main([*call, f"out={tmp_path / 'out'}"]) == 0
    table = rows(tmp_path / "out" / "results.csv")
    first, second = table["aperio_CMU-1-Small-Region"], table["ome_OS-1-detail_HE"]
    assert first["status"] == "not_reportable" and "0.499 um/px" in first["reason"]
    assert int(first["n_tiles_10x"]) > 50 and first["n_tiles_40x"] == "" and first["risk_class"] == ""
    assert (tmp_path / "out" / "slides" / "aperio_CMU-1-Small-Region" / "heatmap.png").is_file()
    assert second["status"] == "scored" and second["risk_class"]
    assert "eligibility not confirmed" in second["quality"] and "training slides not checked" in second["quality"]

    call = ["score", f"ensemble={bundle}", *STREAM, f"slides={coarse}", f"out={tmp_path / 'upsampled'}"]
    assert cli.main([*call, "slides.allow_upsampling=true", "tiles.max_per_slide=20"]) == 0
    marked = rows(tmp_path / "upsampled" / "results.csv")["aperio_CMU-1-Small-Region"]
    assert marked["status"] == "scored" and "upsampled: not validated" in marked["quality"]
    assert "override: slides.allow_upsampling=True" in marked["quality"]
