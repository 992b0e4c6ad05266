"""Which files of a watched folder are one slide, which are none, and what is left alone."""

import os

import pytest
from made_dicom_head import ANNOTATIONS, write_dicom
from watching import SETTLE_S, Looks, put

from pathoprog.slides.config import SlideSettings
from pathoprog.slides.identity import SUFFIXES

LATER = SETTLE_S + 1


def test_every_ending_of_a_slide_of_one_file_is_taken(tmp_path):
    looks = Looks(tmp_path)
    names = [f"s{suffix}" for suffix in SUFFIXES if suffix not in (".dcm", ".mrxs", ".vms", ".vmu")]
    for name in [*names, "UPPER.SVS", "two.ome.tif", "notes.docx", "README", "photo.jpg"]:
        put(tmp_path / name)
    assert set(looks.ready(looks.still()[1])) == {*names, "UPPER.SVS", "two.ome.tif"}


def test_mirax_and_its_folder_are_one_slide_that_waits_for_the_folder(tmp_path):
    looks = Looks(tmp_path)
    put(tmp_path / "m.mrxs")
    first, second = looks.still()
    assert not second.ready and not first.faults
    assert looks.faults(second) == {"m.mrxs": "files or a folder that belong to it are not there (yet)"}
    put(tmp_path / "m" / "Slidedat.ini")
    put(tmp_path / "m" / "Data0000.dat")
    assert not looks.look(1).ready
    put(tmp_path / "m" / "Data0001.dat")
    put(tmp_path / "m" / "scan.tif")
    assert not looks.look(SETTLE_S - 1).ready, "one more file has come"
    seen = looks.look(LATER)
    assert looks.ready(seen) == ["m.mrxs"] and seen.ready[0].size == 5
    assert [looks.name(file) for file in seen.ready[0].files] == [
        "m.mrxs", "m/Data0000.dat", "m/Data0001.dat", "m/Slidedat.ini", "m/scan.tif",
    ]  # fmt: skip
    put(tmp_path / "m" / "Data0000.dat", b"other")
    looks.look()
    assert [looks.name(slide.path) for slide in looks.look(LATER).changed] == ["m.mrxs"]


def test_an_index_of_hamamatsu_waits_for_the_images_that_it_names(tmp_path):
    looks = Looks(tmp_path)
    put(tmp_path / "v.vms", b"[Virtual Microscope Specimen]\nImageFile=v_0.jpg\nMapFile=v_map.tif\n")
    put(tmp_path / "v_0.jpg")
    assert not looks.still()[1].ready
    put(tmp_path / "v_map.tif")
    looks.look()
    seen = looks.look(LATER)
    assert looks.ready(seen) == ["v.vms"], "the map is no slide of its own"
    assert [looks.name(file) for file in seen.ready[0].files] == ["v.vms", "v_0.jpg", "v_map.tif"]


def test_series_that_lie_flat_in_one_folder_are_slides_of_their_own(tmp_path):
    looks = Looks(tmp_path)
    for n in (1, 2, 3):
        write_dicom(tmp_path / f"a{n}.dcm", "5.5", f"5.5.{n}")
        write_dicom(tmp_path / f"IM0{n}", "6.6", f"6.6.{n}")
    write_dicom(tmp_path / "marks.dcm", "8.8", "8.8.1", ANNOTATIONS)
    put(tmp_path / "s.svs")
    seen = looks.still()[1]
    assert sorted(looks.ready(seen)) == ["IM01", "a1.dcm", "s.svs"]
    by_path = {looks.name(slide.path): slide for slide in seen.ready}
    assert [looks.name(file) for file in by_path["a1.dcm"].files] == ["a1.dcm", "a2.dcm", "a3.dcm"]
    assert by_path["IM01"].series == "6.6" and not by_path["IM01"].scattered
    write_dicom(tmp_path / "a0.dcm", "5.5", "5.5.0")
    looks.look()
    again = looks.look(LATER)
    assert [looks.name(slide.path) for slide in again.changed] == ["a1.dcm"], "it keeps its path"
    assert len(again.changed[0].files) == 4 and not again.ready and not again.gone


def test_the_only_series_of_a_folder_below_is_that_folder(tmp_path):
    looks = Looks(tmp_path)
    for n in (1, 2):
        write_dicom(tmp_path / "one" / f"{n}.dcm", "5.5", f"5.5.{n}")
    seen = looks.still()[1]
    assert looks.ready(seen) == ["one"]
    assert [looks.name(file) for file in seen.ready[0].files] == ["one/1.dcm", "one/2.dcm"]


def test_the_watched_folder_itself_is_never_a_slide(tmp_path):
    looks = Looks(tmp_path)
    write_dicom(tmp_path / "1.dcm", "5.5", "5.5.1")
    assert looks.ready(looks.still()[1]) == ["1.dcm"]


def test_a_series_in_several_folders_is_one_slide_and_says_so(tmp_path):
    looks = Looks(tmp_path)
    for n in (1, 2, 3):
        write_dicom(tmp_path / "case" / f"level{n}" / "x.dcm", "5.5", f"5.5.{n}")
    seen = looks.still()[1]
    assert looks.ready(seen) == ["case/level1/x.dcm"] and seen.ready[0].scattered and len(seen.ready[0].files) == 3


def test_a_series_that_was_copied_to_a_second_folder_is_two_slides(tmp_path):
    looks = Looks(tmp_path)
    for folder in ("a", "b"):
        for n in (1, 2):
            write_dicom(tmp_path / folder / f"{n}.dcm", "5.5", f"5.5.{n}")
    seen = looks.still()[1]
    assert looks.ready(seen) == ["a", "b"] and not any(slide.scattered for slide in seen.ready)


def test_a_copy_of_an_instance_in_its_folder_stands_for_itself(tmp_path):
    looks = Looks(tmp_path)
    for name, instance in (("1.dcm", "5.5.1"), ("2.dcm", "5.5.2"), ("2 (copy).dcm", "5.5.2")):
        write_dicom(tmp_path / "d" / name, "5.5", instance)
    seen = looks.still()[1]
    assert sorted(looks.ready(seen)) == ["d/1.dcm", "d/2.dcm"]
    by_path = {looks.name(slide.path): [looks.name(file) for file in slide.files] for slide in seen.ready}
    assert by_path == {"d/1.dcm": ["d/1.dcm", "d/2 (copy).dcm"], "d/2.dcm": ["d/2.dcm", "d/1.dcm"]}


def test_an_instance_being_copied_is_no_fault_and_keeps_its_folder_s_series_waiting(tmp_path):
    looks = Looks(tmp_path)
    whole = write_dicom(tmp_path / "d" / "1.dcm", "5.5", "5.5.1").read_bytes()
    second = write_dicom(tmp_path / "d" / "2.dcm", "5.5", "5.5.2").read_bytes()
    assert whole
    for cut in (0, 60, 140, 200):
        put(tmp_path / "d" / "2.dcm", second[:cut])
        seen = looks.look(SETTLE_S - 1)
        assert not seen.ready and not seen.faults, cut
    put(tmp_path / "d" / "2.dcm", second)
    looks.look(SETTLE_S - 1)
    seen = looks.look(LATER)
    assert looks.ready(seen) == ["d"] and len(seen.ready[0].files) == 2


def test_a_damaged_dicom_file_is_one_fault_and_the_series_beside_it_goes_on(tmp_path):
    looks = Looks(tmp_path)
    write_dicom(tmp_path / "d" / "1.dcm", "5.5", "5.5.1")
    put(tmp_path / "d" / "2.dcm", b"\0" * 128 + b"DICM" + b"cut")
    put(tmp_path / "d" / "3.dcm", b"no DICOM at all")
    seen = looks.still()[1]
    assert looks.ready(seen) == ["d"]
    assert set(looks.faults(seen)) == {"d/2.dcm", "d/3.dcm"}
    assert not looks.look(LATER).faults, "said once"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (b"new\nline.svs", "a terminal or a spreadsheet"),
        (b"\x1b[2J.svs", "a terminal or a spreadsheet"),
        (b"=cmd|calc.svs", "a terminal or a spreadsheet"),
        (b"caf\xe9.svs", "no UTF-8 text"),
        (b"x" * 251 + b".svs", "its name has 255 bytes"),
    ],
)
def test_a_hostile_name_is_a_fault_and_the_others_go_on(tmp_path, name, why):
    looks = Looks(tmp_path)
    put(tmp_path / os.fsdecode(name))
    put(tmp_path / "s.svs")
    first, second = looks.still()
    assert looks.ready(second) == ["s.svs"]
    assert [why in fault.reason for fault in first.faults] == [True] and not second.faults
    assert "\n" not in first.faults[0].path + first.faults[0].reason and "\x1b" not in first.faults[0].path
    first.faults[0].path.encode("utf-8")


def test_a_series_whose_folder_has_a_hostile_name_is_a_fault(tmp_path):
    looks = Looks(tmp_path)
    write_dicom(tmp_path / "=cmd" / "1.dcm", "5.5", "5.5.1")
    first, second = looks.still()
    assert list(looks.faults(first)) == ["=cmd"] and not second.ready and not second.faults


def test_a_folder_of_a_hostile_name_is_left_with_one_fault(tmp_path):
    looks = Looks(tmp_path)
    put(tmp_path / "bad\nfolder" / "s.svs")
    put(tmp_path / "good" / "deep" / "t.svs")
    first, second = looks.still()
    assert looks.ready(second) == ["good/deep/t.svs"] and len(first.faults) == 1


def test_what_is_hidden_or_unfinished_is_left_alone_until_it_is_renamed(tmp_path):
    looks = Looks(tmp_path)
    names = (
        ".s.svs",
        "a.svs.part",
        "b.svs.TMP",
        "c.svs~",
        "~d.svs",
        ".hidden/e.svs",
        "lost+found/f.svs",
        "g.tmp/g.svs",
    )
    for name in names:
        put(tmp_path / name)
    seen = looks.still()[1]
    assert not seen.ready and not seen.faults and seen.n_files == 0
    (tmp_path / "a.svs.part").rename(tmp_path / "a.svs")
    looks.look()
    assert looks.ready(looks.look(LATER)) == ["a.svs"]


def test_an_empty_file_is_said_and_taken_when_it_holds_something(tmp_path):
    looks = Looks(tmp_path)
    put(tmp_path / "s.svs", b"")
    seen = looks.still()[1]
    assert not seen.ready and "an empty file" in looks.faults(seen)["s.svs"]
    put(tmp_path / "s.svs", b"x")
    looks.look()
    assert looks.ready(looks.look(LATER)) == ["s.svs"]


def test_links_out_of_the_folder_are_barred_and_others_taken_once(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    put(root / "in" / "s.svs")
    put(outside / "secret.svs")
    (root / "link.svs").symlink_to(outside / "secret.svs")
    (root / "folder").symlink_to(outside)
    (root / "loop").symlink_to(root)
    (root / "dangling.svs").symlink_to(root / "nowhere.svs")
    (root / "alias.svs").symlink_to(root / "in" / "s.svs")
    os.mkfifo(root / "pipe.svs")
    looks = Looks(root)
    first, second = looks.still()
    assert sorted(looks.ready(second)) == ["alias.svs", "in/s.svs"]
    assert looks.faults(first) == {
        "link.svs": "a link that leads out of the watched folder",
        "folder": "a link that leads out of the watched folder",
        "dangling.svs": "a link that leads nowhere",
        "pipe.svs": "a pipe, socket or device, and no file",
    }
    assert not second.faults
    allowed = Looks(root, slides=SlideSettings(roots=[str(root), str(outside)]))
    assert {"link.svs", "folder/secret.svs"} <= set(allowed.ready(allowed.still()[1]))
