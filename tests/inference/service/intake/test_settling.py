"""What stands still is taken once; what changes, goes, comes back or cannot be taken is said, and once."""

import errno
import os
import shutil

import pytest
from made_dicom_head import write_dicom
from watching import SETTLE_S, Looks, put

from pathoprog.inference.service.intake.listing import FolderListing
from pathoprog.inference.service.intake.settling import Settling, WatchMemory
from pathoprog.inference.service.intake.watch_records import SHARE_LOST, SHARE_RETURNED

LATER = SETTLE_S + 1


def test_a_slow_copy_is_taken_once_when_it_stands_still(tmp_path):
    looks = Looks(tmp_path)
    for n in range(1, 6):
        put(tmp_path / "s.svs", b"x" * n)
        seen = looks.look(SETTLE_S / 2)
        assert not seen.ready and seen.n_waiting == 1
    assert not looks.look(SETTLE_S / 2).ready, "half of the time has passed"
    seen = looks.look(SETTLE_S / 2)
    assert looks.ready(seen) == ["s.svs"] and seen.ready[0].size == 5
    assert seen.ready[0].files == (str(tmp_path / "s.svs"),) and not seen.ready[0].marked
    for _ in range(3):
        again = looks.look(LATER)
        assert not again.ready and not again.changed and not again.gone and not again.faults


def test_a_mark_says_at_once_that_a_slide_is_complete(tmp_path):
    looks = Looks(tmp_path)
    put(tmp_path / "s.svs")
    put(tmp_path / "s.svs.ready", b"")
    put(tmp_path / "other.svs")
    seen = looks.look()
    assert looks.ready(seen) == ["s.svs"] and seen.ready[0].marked


def test_a_mark_that_is_older_than_the_slide_says_nothing(tmp_path):
    looks = Looks(tmp_path)
    put(tmp_path / "s.svs")
    put(tmp_path / "s.svs.ready", b"")
    assert looks.ready(looks.look()) == ["s.svs"]
    put(tmp_path / "s.svs", b"being written anew")
    newer = (tmp_path / "s.svs.ready").stat().st_mtime_ns + 10**9
    os.utime(tmp_path / "s.svs", ns=(newer, newer))
    assert not looks.look().changed
    assert [looks.name(slide.path) for slide in looks.look(LATER).changed] == ["s.svs"]


def test_new_content_under_a_name_is_a_change_once_it_stands_still(tmp_path):
    looks = Looks(tmp_path)
    put(tmp_path / "s.svs", b"old")
    looks.still()
    put(tmp_path / "s.svs", b"new, longer")
    assert not looks.look().changed
    seen = looks.look(LATER)
    assert [slide.path for slide in seen.changed] == [str(tmp_path / "s.svs")] and not seen.ready and not seen.gone
    assert not looks.look(LATER).changed


def test_a_file_renamed_over_another_is_a_change_though_size_and_time_are_the_same(tmp_path):
    looks = Looks(tmp_path)
    for name in ("s.svs", "b.svs", "c.svs"):
        put(tmp_path / name, b"old")
    looks.still()
    put(tmp_path / "new", b"new")
    before = (tmp_path / "s.svs").stat()
    os.utime(tmp_path / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
    (tmp_path / "new").rename(tmp_path / "s.svs")
    looks.look()
    assert [looks.name(slide.path) for slide in looks.look(LATER).changed] == ["s.svs"]


def test_new_inodes_of_all_slides_at_once_are_a_new_mount_and_no_change(tmp_path):
    looks = Looks(tmp_path)
    for name in ("a.svs", "b.svs", "c.svs"):
        put(tmp_path / name, b"old")
    looks.still()
    for name in ("a.svs", "b.svs", "c.svs"):
        shutil.copy2(tmp_path / name, tmp_path / "copy")
        (tmp_path / "copy").rename(tmp_path / name)
    looks.look()
    assert not looks.look(LATER).changed


def test_a_slide_is_gone_when_it_has_been_missing_for_a_while(tmp_path):
    looks = Looks(tmp_path)
    put(tmp_path / "s.svs")
    put(tmp_path / "t.svs")
    looks.still()
    data = (tmp_path / "s.svs").read_bytes()
    (tmp_path / "s.svs").unlink()
    assert not looks.look(LATER).gone
    put(tmp_path / "s.svs", data)
    assert not looks.look(LATER).gone, "deleted and copied again"
    (tmp_path / "t.svs").unlink()
    looks.look()
    assert [looks.name(path) for path in looks.look(LATER).gone] == ["t.svs"]
    assert not looks.look(LATER).gone


def test_what_was_taken_is_not_taken_again_after_a_restart(tmp_path):
    looks = Looks(tmp_path)
    put(tmp_path / "s.svs")
    write_dicom(tmp_path / "d" / "1.dcm", "5.5", "5.5.1")
    known = {slide.path: slide.signature for slide in looks.still()[1].ready}
    assert len(known) == 2
    put(tmp_path / "new.svs")
    later = Looks(tmp_path, {**known, "/elsewhere/x.svs": "1:1-1"})
    seen = later.still()[1]
    assert later.ready(seen) == ["new.svs"] and not seen.changed
    assert not later.look(LATER).gone, "what lies elsewhere is not this folder's"


@pytest.mark.parametrize("jump", [-86400.0, 86400.0])
def test_the_clock_of_the_files_may_be_a_day_off(tmp_path, jump):
    looks = Looks(tmp_path)
    put(tmp_path / "s.svs")
    odd = (tmp_path / "s.svs").stat().st_mtime + jump
    os.utime(tmp_path / "s.svs", (odd, odd))
    first, second = looks.still()
    assert not first.ready and looks.ready(second) == ["s.svs"]


def test_a_clock_that_goes_back_makes_no_slide_wait_for_ever(tmp_path):
    looks = Looks(tmp_path)
    put(tmp_path / "s.svs")
    looks.look()
    assert not looks.look(-500).ready
    assert looks.ready(looks.look(LATER)) == ["s.svs"]


def test_a_slow_listing_is_no_time_in_which_a_file_stood_still(tmp_path):
    put(tmp_path / "s.svs")
    look = (tmp_path / "s.svs").stat()
    tree = FolderListing((1, 1), {str(tmp_path): {"s.svs": (1, look.st_mtime_ns, 1)}}, {str(tmp_path): []})
    settling = Settling(str(tmp_path), SETTLE_S, WatchMemory({}, {}))
    assert not settling.round(tree, 0.0, 100.0).ready
    assert not settling.round(tree, 101.0, 200.0).ready, "it may have been seen at 100 s and at 101 s"
    assert settling.round(tree, 201.0, 300.0).ready


def test_a_folder_that_cannot_be_listed_is_a_fault_and_nothing_in_it_is_gone(tmp_path, monkeypatch):
    looks = Looks(tmp_path)
    put(tmp_path / "closed" / "s.svs")
    put(tmp_path / "t.svs")
    looks.still()
    scandir = os.scandir

    def closed(folder):
        if str(folder).endswith("/closed"):
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", closed)
    seen = looks.look(LATER)
    assert looks.faults(seen) == {"closed": "cannot be looked at (Permission denied)"} and not seen.gone
    seen = looks.look(LATER)
    assert not seen.faults and not seen.gone and not seen.lost
    monkeypatch.undo()
    seen = looks.look(LATER)
    assert not seen.ready and not seen.changed


def test_an_empty_mount_point_is_a_lost_share_and_its_return_takes_nothing_twice(tmp_path):
    root, real = tmp_path / "mount", tmp_path / "share"
    for n in range(20):
        put(root / f"{n}.svs")
    looks = Looks(root)
    assert len(looks.still()[1].ready) == 20
    put(root / "half.svs", b"h")
    looks.look()
    root.rename(real)
    root.mkdir()
    seen = looks.look(LATER)
    assert seen.lost and [event.kind for event in seen.events] == [SHARE_LOST] and not seen.gone and not seen.ready
    again = looks.look(LATER)
    assert again.lost and not again.events and not again.gone
    root.rmdir()
    real.rename(root)
    seen = looks.look(LATER)
    assert [event.kind for event in seen.events] == [SHARE_RETURNED] and not seen.lost
    assert not (seen.ready or seen.changed or seen.gone), "the one half copied must stand still anew"
    assert looks.ready(looks.look(LATER)) == ["half.svs"]


def test_a_folder_that_was_really_emptied_is_not_lost(tmp_path):
    looks = Looks(tmp_path)
    put(tmp_path / "s.svs")
    looks.still()
    (tmp_path / "s.svs").unlink()
    assert not looks.look().lost
    assert len(looks.look(LATER).gone) == 1


def test_after_a_restart_an_empty_folder_is_lost_until_a_slide_is_there(tmp_path):
    looks = Looks(tmp_path, {f"{tmp_path}/s.svs": "1-1:1-1"})
    assert looks.look().lost
    put(tmp_path / "t.svs")
    seen = looks.look(LATER)
    assert not seen.lost and [event.kind for event in seen.events] == [SHARE_RETURNED]
    assert looks.ready(looks.look(LATER)) == ["t.svs"]


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EIO, errno.ENOTCONN])
def test_a_share_that_breaks_in_the_middle_of_a_listing_is_lost(tmp_path, monkeypatch, number):
    looks = Looks(tmp_path)
    for n in range(30):
        put(tmp_path / f"d{n}" / "s.svs")
    looks.still()
    scandir = os.scandir

    def broken(folder):
        if str(folder) != str(tmp_path):
            raise OSError(number, os.strerror(number), str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", broken)
    with pytest.raises(OSError, match=os.strerror(number)):
        looks.look(LATER)
    assert looks.settling.lost("…").events[0].kind == SHARE_LOST
    monkeypatch.undo()
    seen = looks.look(LATER)
    assert not seen.gone and not seen.ready and not seen.changed


def test_very_many_slides_are_told_in_several_rounds(tmp_path, monkeypatch):
    monkeypatch.setattr("pathoprog.inference.service.intake.settling.MOST_TOLD", 4)
    looks = Looks(tmp_path, settle_s=0)
    for n in range(10):
        put(tmp_path / f"{n}.svs")
    rounds = [looks.look() for _ in range(4)]
    assert [len(seen.ready) for seen in rounds] == [4, 4, 2, 0]
    assert [seen.more for seen in rounds] == [True, True, False, False]


def test_three_thousand_files_trickle_in_and_each_is_taken_once(tmp_path):
    looks = Looks(tmp_path)
    taken = []
    for part in range(6):
        for n in range(500):
            put(tmp_path / f"{n % 7}" / f"{part}-{n}.svs")
        taken += looks.ready(looks.look(LATER))
    taken += looks.ready(looks.look(LATER))
    assert len(taken) == len(set(taken)) == 3000
    assert looks.look(LATER).n_files == 3000
