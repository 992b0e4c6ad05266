"""A tile store of JPEGs: single tiles by themselves, damage refused, cut again after a kill, another run than raw."""

import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
import simplejpeg
from made_slides import texture, write_pyramid
from made_store import made_settings, made_store

from pathoprog.cohort_tables.cohort import read_cohort
from pathoprog.errors import InputError
from pathoprog.stream.config import StreamSettings
from pathoprog.stream.slide_stream import TileStream
from pathoprog.tiles.config import TileSpec
from pathoprog.training.data import disk_space, tile_store
from pathoprog.training.data.bags import Sampler, read_patients
from pathoprog.training.data.data_config import DataSettings
from pathoprog.training.data.jpeg_tiles import HEAD, JpegTiles, JpegWriter
from pathoprog.training.member.fit import fingerprint
from pathoprog.training.member.run_folder import check_folder
from pathoprog.training.train import train

SLIDES = ["S0", "S1"]


@pytest.fixture
def data(tmp_path):
    rows = ["patient_id,slide_id,slide_path,cohort,role"]
    for number, name in enumerate(SLIDES):
        write_pyramid(tmp_path / f"{name}.tif", texture(500, 500, seed=number, margin=20))
        rows.append(f"P{number},{name},{name}.tif,north,training")
    (tmp_path / "cohort.csv").write_text("\n".join(rows))
    return DataSettings(
        str(tmp_path / "cohort.csv"),
        store=str(tmp_path / "store"),
        store_format="jpeg",
        tumour_policy="tissue",
        tiles_10x=TileSpec("10x", 1.0, 32),
        tiles_40x=TileSpec("40x", 0.25, 32, max_per_slide=20),
        stream=StreamSettings(workers=1),
    )


@pytest.fixture
def one(tmp_path):
    """Seven smooth tiles, and the file that holds them; written in two ranges, the later first."""
    ramp = np.linspace(40, 220, 32, dtype=np.uint8)
    tiles = np.stack([np.broadcast_to(np.roll(ramp, 3 * n)[:, None, None], (32, 32, 3)) for n in range(7)])
    with ThreadPoolExecutor(2) as pool:
        writer = JpegWriter(tmp_path / "S.jpegs", tiles.shape, 90, pool)
        writer[4:7] = tiles[4:]
        writer[0:4] = tiles[:4]
        writer.flush()
    return tiles, tmp_path / "S.jpegs"


def test_any_tile_is_read_by_itself_as_an_array_gives_it(one):
    tiles, path = one
    wanted = np.stack(
        [
            simplejpeg.decode_jpeg(simplejpeg.encode_jpeg(np.ascontiguousarray(t), 90, "RGB", "444"), "RGB")
            for t in tiles
        ]
    )
    found = JpegTiles(path)
    assert found.shape == tiles.shape and len(found) == 7 and found.dtype == np.uint8 and found.quality == 90
    assert np.abs(wanted.astype(int) - tiles).mean() < 3, "they are the tiles, nearly"
    for index in (..., 3, -1, slice(2, 5), np.array([6, 0, 6, 2]), [], np.array([], np.int64)):
        assert np.array_equal(
            found[index],
            wanted[np.array(index, np.int64) if index == [] else index] if isinstance(index, list) else wanted[index],
        )
    assert np.array_equal(np.asarray(found), wanted)
    with pytest.raises(IndexError):
        found[[7]]


@pytest.mark.parametrize("where", ["jpeg", "index"])
def test_a_damaged_tile_is_named_and_the_others_are_read(one, where):
    _, path = one
    content = bytearray(path.read_bytes())
    entry = HEAD.size + 16 * 2
    offset, length = struct.unpack_from("<QI", content, entry)
    content[offset + length // 2 if where == "jpeg" else entry + 7] ^= 0xFF
    path.write_bytes(content)
    found = JpegTiles(path)
    found[[0, 1, 3]]
    with pytest.raises(InputError, match=r"S\.jpegs: tile 2 is damaged .*; delete it, and the slide is cut again"):
        found[[1, 2]]


def test_files_that_are_cut_short_other_or_changed_are_refused(one, tmp_path):
    _, path = one
    content = path.read_bytes()
    opened = JpegTiles(path)
    for part, message in (
        (content[:-1], "holds .* of .* bytes"),
        (content[:20], "cut short"),
        (b"x" * 500, "not a file"),
    ):
        (tmp_path / "other.jpegs").write_bytes(part)
        with pytest.raises(InputError, match=message):
            JpegTiles(tmp_path / "other.jpegs")
    path.write_bytes(content + b" ")
    with pytest.raises(InputError, match="has changed since it was first read"):
        opened[[0]]
    path.unlink()
    with pytest.raises(InputError, match="No such file"):
        opened[[0]]


def test_a_writer_that_was_given_up_leaves_no_file_of_tiles(tmp_path):
    with ThreadPoolExecutor(1) as pool:
        writer = JpegWriter(tmp_path / "S.jpegs", (2, 8, 8, 3), 90, pool)
        writer[0:1] = np.zeros((1, 8, 8, 3), np.uint8)
        writer.close()
    with pytest.raises(InputError, match="not a file of JPEG tiles"):
        JpegTiles(tmp_path / "S.jpegs")


def test_a_store_of_jpegs_lies_beside_the_raw_one_and_says_what_is_saved(data, capsys):
    cohort = read_cohort(data.cohort)
    raw, low = replace(data, store_format="raw"), replace(data, store_quality=40)
    for settings in (raw, data, low):
        assert tile_store.build(cohort, settings) == 0
    said = capsys.readouterr().out
    assert "as JPEG of quality 90 the tiles take" in said and "as JPEG of quality 40 the tiles take" in said
    plain, packed, lower = (tile_store.read(SLIDES, settings, "40x") for settings in (raw, data, low))
    assert plain.keys() == packed.keys() == set(SLIDES)
    for name, slide in plain.items():
        assert (slide.sha256, slide.places) == (packed[name].sha256, packed[name].places)
        gap = [
            np.abs(np.subtract(other[name].tiles[...], slide.tiles[...], dtype=float)).mean()
            for other in (packed, lower)
        ]
        assert 0 < gap[0] < gap[1]
        assert packed[name].tiles.file_bytes < packed[name].tiles.nbytes == slide.tiles[...].nbytes
    capsys.readouterr()
    assert tile_store.build(cohort, data) == 0 and "2 slides there, 0 to cut" in capsys.readouterr().out


def test_slides_are_cut_again_after_a_kill_on_the_way(data, monkeypatch, capsys):
    cohort = read_cohort(data.cohort)
    whole = JpegWriter.flush
    calls = []

    def killed(self):
        calls.append(1)
        if len(calls) == 2:
            self.close()
            raise KeyboardInterrupt
        whole(self)

    monkeypatch.setattr(JpegWriter, "flush", killed)
    with pytest.raises(KeyboardInterrupt):
        tile_store.build(cohort, data)
    monkeypatch.undo()
    capsys.readouterr()
    assert tile_store.build(cohort, data) == 0 and ", 0 to cut" not in capsys.readouterr().out
    assert all(len(slide.tiles[...]) for slide in tile_store.read(SLIDES, data, "10x").values())
    assert not list(Path(data.store).rglob(".*.tmp"))


def test_a_full_disk_is_told_in_a_sentence(data, monkeypatch):
    def full(self, rows, tiles):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(JpegWriter, "__setitem__", full)
    with pytest.raises(InputError, match="the disk is full"):
        tile_store.build(read_cohort(data.cohort), data)
    assert not list(Path(data.store).rglob("*.jpegs"))


def test_the_room_is_estimated_from_compressed_tiles(data):
    table = read_cohort(data.cohort)
    jobs = [tile_store.slide_job(row, data, tile_store.specs(data)) for row in table.to_dict("records")]
    with TileStream(data.stream) as stream:
        mean, _, _ = disk_space.estimate(jobs, stream, 90)
    assert tile_store.build(table, data) == 0
    size = sum(path.stat().st_size for path in Path(data.store).rglob("*.jpegs"))
    assert mean == pytest.approx(size, rel=0.2)


def jpegs_of(raw: DataSettings, quality: int = 90) -> DataSettings:
    """A made store's tiles again, as JPEGs."""
    data = replace(raw, store_format="jpeg", store_quality=quality)
    for resolution in ("10x", "40x"):
        folder = tile_store.cut_folder(data, resolution)
        folder.mkdir(parents=True)
        for path in sorted(tile_store.cut_folder(raw, resolution).glob("*.npy")):
            tiles = np.load(path)
            with ThreadPoolExecutor(1) as pool:
                writer = JpegWriter(folder / f"{path.stem}.jpegs", tiles.shape, quality, pool)
                writer[:] = tiles
                writer.flush()
            (folder / f"{path.stem}.json").write_text(path.with_suffix(".json").read_text())
    return data


def test_training_reads_them_with_any_number_of_threads_and_knows_them_for_others(tmp_path):
    raw = made_store(tmp_path / "data")
    data = jpegs_of(raw)
    settings = made_settings(data, tmp_path / "run", steps=2, evaluate_every=2, recalibrate=1)
    patients = read_patients(settings, "training")
    batch = Sampler(patients, "none", 4, 3, 1).batch(0)
    plain = Sampler(read_patients(replace(settings, data=raw), "training"), "none", 4, 3, 1).batch(0)
    assert batch.patients == plain.patients and batch.tiles.shape == plain.tiles.shape
    assert not np.array_equal(batch.tiles, plain.tiles)
    train(settings, lambda _: None)

    prints = {
        fingerprint(replace(settings, data=replace(one, store="elsewhere")))
        for one in (raw, replace(raw, store_quality=50), data, replace(data, store_quality=50))
    }
    assert len(prints) == 3, "quality counts for JPEGs alone"
    with pytest.raises(InputError, match=r"of other settings \(data\.store_format=raw, there jpeg\)"):
        check_folder(replace(settings, data=raw))
