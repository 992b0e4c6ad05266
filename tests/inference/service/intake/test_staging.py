"""Local copies: whole or not used, gone on with after a kill, bounded, and never the only one of anything."""

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from house import ROOT
from made_dicom_head import write_dicom
from made_mirax import write_mirax
from made_slides import texture
from watching import put

from pathoprog.errors import ConfigError, SlideError
from pathoprog.inference.service.intake import staged_unit
from pathoprog.inference.service.intake.staging import StagingCache
from pathoprog.slides.identity import content_sha256
from pathoprog.slides.opening import open_slide

MIB = 1 << 20


def staging(tmp_path, max_bytes=100 * MIB):
    return StagingCache(tmp_path / "staging", max_bytes)


def noise(path, n_bytes, seed=0):
    return put(path, np.random.default_rng(seed).bytes(n_bytes))


def test_a_slide_is_copied_once_and_no_name_of_it_is_written(tmp_path):
    source = noise(tmp_path / "share" / "H26-4711_Nordmann" / "H26-4711.ome.tif", MIB)
    cache = staging(tmp_path)
    assert cache.whole(str(source)) == ""
    with cache.use(str(source)) as staged:
        assert cache.whole(str(source)) == staged.path
        assert staged.is_copy and staged.path != str(source) and staged.path.endswith(".ome.tif")
        copied = Path(staged.path).stat()
        assert content_sha256(staged.path) == content_sha256(source)
    with cache.use(str(source)) as again:
        assert again == staged and Path(again.path).stat().st_mtime_ns == copied.st_mtime_ns
    for path in (tmp_path / "staging").rglob("*"):
        assert "4711" not in str(path) and "Nordmann" not in str(path)
        assert not path.is_file() or path.name == "slide.ome.tif" or b"4711" not in path.read_bytes()
    assert source.exists() and cache.used_bytes == MIB


def test_mirax_is_copied_as_one_and_opens_and_has_the_same_hash(tmp_path):
    source = write_mirax(tmp_path / "share" / "Case 12.mrxs", texture(512, 512))
    cache = staging(tmp_path)
    with cache.use(str(source)) as staged:
        assert staged.is_copy and "Case" not in staged.path
        assert content_sha256(staged.path) == content_sha256(source), "so that the result's key is the same"
        with open_slide(staged.path) as slide:
            assert (slide.width, slide.height) == (512, 512)


def test_dicom_is_copied_by_folder_by_series_and_out_of_several_folders(tmp_path):
    for n in (1, 2):
        write_dicom(tmp_path / "share" / "one" / f"{n}.dcm", "5.5", f"5.5.{n}")
        write_dicom(tmp_path / "share" / f"flat{n}.dcm", "6.6", f"6.6.{n}")
        write_dicom(tmp_path / "share" / "parts" / f"level{n}" / "x.dcm", "7.7", f"7.7.{n}", data=bytes([n]))
    cache = staging(tmp_path)
    folder, first = tmp_path / "share" / "one", tmp_path / "share" / "flat1.dcm"
    with cache.use(str(folder)) as staged:
        assert staged.is_copy and Path(staged.path).is_dir()
        assert content_sha256(staged.path) == content_sha256(folder)
    with cache.use(str(first)) as staged:
        assert content_sha256(staged.path) == content_sha256(first)
    alone = write_dicom(tmp_path / "share" / "H26-4711" / "H26-4711.dcm", "8.8", "8.8.1")
    with cache.use(str(alone)) as staged:
        assert "4711" not in staged.path and content_sha256(staged.path) == content_sha256(alone)
    parts = [str(tmp_path / "share" / "parts" / f"level{n}" / "x.dcm") for n in (1, 2)]
    with cache.use(parts[0], parts) as staged:
        lie = sorted(path.name for path in Path(staged.path).parent.iterdir())
        assert staged.is_copy and lie == ["00000.dcm", "00001.dcm"]


def test_dicom_under_pseudonyms_is_numbered_and_has_the_same_hash(tmp_path):
    """By folder, by series, one instance, and after a break: no name of a file is in the folder of copies."""
    share = tmp_path / "share" / "LINDQVIST"
    for n in (3, 1, 2):
        write_dicom(share / "one" / f"LINDQVIST-{n}.dcm", "5.5", f"5.5.{n}", data=bytes([n]))
        write_dicom(share / f"LINDQVIST-b{n}.dcm", "6.6", f"6.6.{n}", data=bytes([n]))
    write_dicom(share / "single" / "LINDQVIST.dcm", "9.9", "9.9.1")
    for slide in (share / "one", share / "LINDQVIST-b2.dcm", share / "single"):
        in_place = content_sha256(slide)
        for _ in range(2):  # the second time by the record
            cache = staging(tmp_path)
            with cache.use(str(slide), known_as="F1", neutral=True) as staged:
                assert staged.is_copy and content_sha256(staged.path, names=staged.names) == in_place, slide
            for path in (tmp_path / "staging").rglob("*"):
                assert "LINDQVIST" not in path.name
                assert path.name != "unit.json" or "LINDQVIST" not in path.read_text()
            cache.close()


PROGRAM = (
    f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    "from pathoprog.inference.service.intake import staged_unit\n"
    "staged_unit.BLOCK, staged_unit.SYNC_EVERY = 1 << 16, 1 << 18\n"
    "from pathoprog.inference.service.intake.staging import StagingCache\n"
    "with StagingCache(sys.argv[1], 100 << 20).use(sys.argv[2]) as staged:\n"
    "    print(staged.path)\n"
)


@pytest.mark.parametrize("at", [1, 3, 4, 5, 9, 16, 17, 30])
def test_a_kill_at_any_block_costs_no_more_than_what_was_not_synced(tmp_path, monkeypatch, at):
    source = write_mirax(tmp_path / "share" / "s.mrxs", texture(512, 512))
    noise(source.with_suffix("") / "Data0009.dat", MIB)
    noise(source.with_suffix("") / "More.dat", MIB, 1)
    environment = {**os.environ, "PATHOPROG_FAULT": f"stage:{at}:kill:{tmp_path / 'marker'}"}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "staging"), str(source)]
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    read = []
    block = staged_unit._block

    def counting(stream):
        data = block(stream)
        read.append(len(data))
        return data

    monkeypatch.setattr(staged_unit, "_block", counting)
    with staging(tmp_path).use(str(source)) as staged:
        assert staged.is_copy and content_sha256(staged.path) == content_sha256(source)
    total = sum(file.stat().st_size for file in source.with_suffix("").iterdir())
    done = max(0, (at - 8) * (1 << 16) - (1 << 18))
    assert sum(read) <= total - done, "what was synced is not read from the share again"
    left = {path.name for path in (tmp_path / "staging").rglob("*") if path.is_file()}
    assert not [name for name in left if name.endswith(".tmp")]


def test_a_broken_off_copy_of_a_slide_that_changed_begins_anew(tmp_path):
    source = noise(tmp_path / "s.svs", MIB)
    environment = {**os.environ, "PATHOPROG_FAULT": f"stage:9:kill:{tmp_path / 'marker'}"}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "staging"), str(source)]
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    noise(source, MIB, seed=1)
    with staging(tmp_path).use(str(source)) as staged:
        assert staged.is_copy and content_sha256(staged.path) == content_sha256(source)


def test_leftovers_are_taken_away_at_the_start_and_foreign_files_are_not(tmp_path):
    cache = staging(tmp_path)
    with cache.use(str(noise(tmp_path / "s.svs", 1000))) as staged:
        assert staged.is_copy
    cache.close()
    unit = next(path for path in (tmp_path / "staging").iterdir() if path.is_dir())
    put(tmp_path / "staging" / ("0" * 40) / "files" / "slide.svs")
    put(unit / ".unit.json.abc.tmp")
    put(tmp_path / "staging" / "readme.txt")
    again = staging(tmp_path)
    assert {path.name for path in (tmp_path / "staging").iterdir()} == {
        unit.name, "lock", "staging.key", "readme.txt",
    }  # fmt: skip
    assert {path.name for path in unit.iterdir()} == {"unit.json", "files"} and again.used_bytes == 1000


def test_a_folder_that_holds_something_else_is_refused(tmp_path):
    put(tmp_path / "staging" / "precious.svs")
    with pytest.raises(ConfigError, match="holds something else"):
        staging(tmp_path)
    assert (tmp_path / "staging" / "precious.svs").exists()


def test_a_kill_at_the_very_first_start_is_no_reason_to_refuse_the_folder(tmp_path):
    put(tmp_path / "staging" / ".staging.key.abc.tmp")
    staging(tmp_path)
    assert {path.name for path in (tmp_path / "staging").iterdir()} == {"staging.key", "lock"}


def test_two_services_on_one_folder_are_refused_in_words(tmp_path):
    first = staging(tmp_path)
    with pytest.raises(ConfigError, match="another service"):
        staging(tmp_path)
    first.close()
    staging(tmp_path).close()


def test_what_was_used_longest_ago_goes_first_and_what_is_used_stays(tmp_path):
    cache = staging(tmp_path, 3 * MIB)
    slides = [noise(tmp_path / f"{n}.svs", MIB, n) for n in range(5)]
    paths = {}
    for n in (0, 1, 2, 0):
        with cache.use(str(slides[n])) as staged:
            paths[n] = staged.path
    with cache.use(str(slides[3])) as staged:
        assert not Path(paths[1]).exists() and Path(paths[0]).exists() and Path(paths[2]).exists()
        with cache.use(str(slides[0])), cache.use(str(slides[2])):
            with cache.use(str(slides[4])) as other:
                assert not other.is_copy and "all local copies are in use" in other.why and other.path == str(slides[4])
            assert Path(paths[0]).exists() and Path(paths[2]).exists() and Path(staged.path).exists()
    assert cache.used_bytes == 3 * MIB and all(path.exists() for path in slides)
    cache.close()
    later = staging(tmp_path, 2 * MIB)
    assert later.used_bytes == 2 * MIB, "a smaller bound holds at once"


def test_a_slide_larger_than_the_cache_is_read_where_it_lies(tmp_path):
    source = noise(tmp_path / "s.svs", 2 * MIB)
    with staging(tmp_path, MIB).use(str(source)) as staged:
        assert (staged.path, staged.is_copy) == (str(source), False) and "larger than" in staged.why


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_local_disk_that_takes_no_more_leaves_the_slide_where_it_lies(tmp_path, monkeypatch, number):
    source = noise(tmp_path / "s.svs", MIB)
    cache = staging(tmp_path)

    def full(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(staged_unit.os, "fsync", full)
    with cache.use(str(source)) as staged:
        assert staged.path == str(source) and not staged.is_copy and "read where it lies" in staged.why
    assert cache.used_bytes == 0 and not [path for path in (tmp_path / "staging").iterdir() if path.is_dir()]
    monkeypatch.undo()
    with cache.use(str(source)) as staged:
        assert staged.is_copy


def test_no_copy_takes_the_disk_s_last_bytes(tmp_path):
    source = noise(tmp_path / "s.svs", 1000)
    with StagingCache(tmp_path / "staging", MIB, keep_free=1 << 60).use(str(source)) as staged:
        assert not staged.is_copy and "the disk of the local copies is full" in staged.why


def test_a_share_that_breaks_leaves_what_was_copied_for_the_next_time(tmp_path, monkeypatch):
    monkeypatch.setattr(staged_unit, "BLOCK", 1 << 16)
    monkeypatch.setattr(staged_unit, "SYNC_EVERY", 1 << 16)
    source = noise(tmp_path / "s.svs", MIB)
    cache = staging(tmp_path)
    block, read = staged_unit._block, []

    def breaking(stream):
        if len(read) == 10:
            raise SlideError("it cannot be read (Stale file handle)", "io")
        read.append(1)
        return block(stream)

    monkeypatch.setattr(staged_unit, "_block", breaking)
    with pytest.raises(SlideError, match="Stale file handle") as caught, cache.use(str(source)):
        pass
    assert caught.value.code == "io"
    monkeypatch.setattr(staged_unit, "_block", lambda stream: (read.append(1), block(stream))[1])
    with cache.use(str(source)) as staged:
        assert staged.is_copy and content_sha256(staged.path) == content_sha256(source)
    assert len(read) == 10 + 6 + 1, "16 blocks, and the end"


def test_a_slide_that_changes_while_it_is_copied_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(staged_unit, "BLOCK", 1 << 16)
    source = noise(tmp_path / "s.svs", MIB)
    cache = staging(tmp_path)
    changes = iter(range(1, 100))
    times = []

    def change():
        if len(times) < most:
            times.append(1)
            number = source.stat().st_mtime_ns + 10**9 * next(changes)
            os.utime(source, ns=(number, number))

    most = 1
    with cache.use(str(source), on_progress=change) as staged:
        assert staged.is_copy and content_sha256(staged.path) == content_sha256(source), "copied again"
    most = 1000
    source.write_bytes(b"x" * MIB)
    with (
        pytest.raises(SlideError, match="change while they are copied") as caught,
        cache.use(str(source), on_progress=change),
    ):
        pass
    assert caught.value.code == "changed" and cache.used_bytes == 0


def test_a_copy_that_was_spoilt_is_made_again(tmp_path):
    source = noise(tmp_path / "s.svs", MIB)
    cache = staging(tmp_path)
    with cache.use(str(source)) as staged:
        path = staged.path
    with Path(path).open("r+b") as stream:
        stream.seek(1000)
        stream.write(b"spoilt")
    with cache.use(str(source)) as staged:
        assert staged.is_copy and content_sha256(staged.path) == content_sha256(source)


def test_a_copy_in_use_is_not_taken_away_because_its_source_changed(tmp_path):
    source = noise(tmp_path / "s.svs", MIB)
    cache = staging(tmp_path)
    with cache.use(str(source)) as first:
        noise(source, MIB, seed=1)
        with cache.use(str(source)) as second:
            assert not second.is_copy and "still in use" in second.why
        assert Path(first.path).exists()
    with cache.use(str(source)) as third:
        assert third.is_copy and content_sha256(third.path) == content_sha256(source)


def test_a_slide_that_is_not_there_says_so(tmp_path):
    cache = staging(tmp_path)
    with pytest.raises(SlideError) as caught, cache.use(str(tmp_path / "no.svs")):
        pass
    assert caught.value.code == "missing"


def test_files_outside_the_slide_s_folder_are_not_copied_out_of_the_unit(tmp_path):
    put(tmp_path / "share" / "up.jpg")
    put(tmp_path / "share" / "in" / "v.vms", b"[Virtual Microscope Specimen]\nImageFile=../up.jpg\n")
    with staging(tmp_path).use(str(tmp_path / "share" / "in" / "v.vms")) as staged:
        assert not staged.is_copy and "lies elsewhere" in staged.why


def test_threads_that_want_one_slide_make_one_copy(tmp_path, monkeypatch):
    source = noise(tmp_path / "s.svs", MIB)
    cache = staging(tmp_path)
    copies, found = [], []
    copy = staged_unit._copy
    monkeypatch.setattr(staged_unit, "_copy", lambda *arguments: (copies.append(1), copy(*arguments)))

    def use():
        with cache.use(str(source)) as staged:
            found.append((staged.is_copy, content_sha256(staged.path)))

    def all_at_once():
        threads = [threading.Thread(target=use) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    all_at_once()
    assert found == [(True, content_sha256(source))] * 8 and len(copies) == 1
    found.clear()
    noise(source, MIB, seed=1)
    all_at_once()
    assert len(found) == 8 and {sha256 for _, sha256 in found} == {content_sha256(source)} and len(copies) == 2
