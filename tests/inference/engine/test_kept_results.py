"""The result that the ledger keeps for slides of the same content: one that cannot be read ends no run."""

import csv
import json
import shutil
import sqlite3
from contextlib import closing

import pytest
from made_slides import texture, write_pyramid

from pathoprog import cli
from pathoprog.inference.engine.engine import Engine
from pathoprog.inference.engine.ledger import Ledger
from pathoprog.inference.slides.jobs import Job
from pathoprog.scoring.slide_result import read_result_text

COMMON = ["device=cpu", "settle_s=0", "stream.workers=1", "threads=1", "outputs.pdf=false"]


@pytest.fixture(scope="module")
def slide_a(bundle, tmp_path_factory):
    """Slide A, scored."""
    folder = tmp_path_factory.mktemp("kept")
    (folder / "slides").mkdir()
    write_pyramid(folder / "slides" / "A.tif", texture(400, 400, margin=30))
    call = ["score", f"slides={folder / 'slides'}", f"ensemble={bundle}", f"out={folder / 'out'}", *COMMON]
    assert cli.main(call) == 0
    return folder, call


@pytest.fixture
def scored(slide_a):
    """The same, and how to score what lies beside it; the ledger is put back."""
    folder, call = slide_a
    ledger = folder / "out" / "ledger.sqlite"
    whole = ledger.read_bytes()
    yield folder, call
    ledger.write_bytes(whole)


def kept(folder):
    with closing(sqlite3.connect(folder / "out" / "ledger.sqlite")) as db:
        return db.execute("SELECT slide_id, result_key, result FROM results").fetchall()


@pytest.mark.slow
def test_one_that_cannot_be_read_is_scored_anew_and_kept(scored, capsys):
    folder, call = scored
    with closing(sqlite3.connect(folder / "out" / "ledger.sqlite")) as db, db:
        assert db.execute("UPDATE results SET result = substr(result, 1, 200)").rowcount == 1
    shutil.copyfile(folder / "slides" / "A.tif", folder / "slides" / "B.tif")
    before = (folder / "out" / "slides" / "A" / "result.json").read_bytes()
    assert cli.main(call) == 0
    said = capsys.readouterr().err
    assert f"B is scored anew: the result of this content that {folder / 'out' / 'ledger.sqlite'} keeps" in said
    assert (folder / "out" / "slides" / "A" / "result.json").read_bytes() == before
    own = (folder / "out" / "slides" / "B" / "result.json").read_text()
    first, second = json.loads(before), json.loads(own)
    assert second["status"] == "scored" and second["duplicate_of"] == "", "no copy"
    assert second == first | {"slide_id": "B"}
    assert (folder / "out" / "slides" / "B" / "tiles.parquet").is_file()
    assert kept(folder) == [("B", first["result_key"], own)]
    with (folder / "out" / "results.csv").open(newline="") as stream:
        rows = {row["slide_id"]: row for row in csv.DictReader(stream)}
    assert rows["A"]["status"] == rows["B"]["status"] == "scored" and rows["B"]["duplicate_of"] == "A"


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"format": 1}', "another's"])
def test_what_is_no_result_of_the_key_is_kept_no_longer(scored, capsys, damage):
    folder, _ = scored
    ((_, key, whole),) = kept(folder)
    engine = Engine.__new__(Engine)  # only its ledger is asked
    engine.ledger = Ledger(folder / "out" / "ledger.sqlite")
    job = Job(2, "B", "config", "B.tif", "", {}, "leased", 1, 0, 0, "", "")
    try:
        assert engine._kept(job, key) == read_result_text(whole) and kept(folder)
        said = whole.replace(key, "0" * 64) if damage == "another's" else damage
        engine.ledger.connection.execute("UPDATE results SET result = ?", (said,))
        assert engine._kept(job, key) is None and kept(folder) == []
    finally:
        engine.ledger.close()
    assert "B is scored anew" in capsys.readouterr().err
