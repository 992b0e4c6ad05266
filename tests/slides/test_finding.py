"""What is a slide in a folder, what is not, and that no search goes on for ever."""

import os
import socket

import pytest
from made_dicom import ANNOTATIONS, write_dicom

from pathoprog.slides import finding
from pathoprog.slides.finding import NotTaken, slides_in


def found(folder):
    not_taken = NotTaken()
    return [str(path.relative_to(folder)) for path in slides_in(folder, not_taken)], not_taken.by_kind


def put(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_links_to_folders_above_end(tmp_path):
    put(tmp_path, "a/s.svs", "t.tif")
    for name in ("x", "y", "a/up", "a/upper"):
        (tmp_path / name).symlink_to(tmp_path)
    slides, not_taken = found(tmp_path)
    assert slides == ["a/s.svs", "t.tif"]
    assert sorted(not_taken[finding.AGAIN]) == ["a/up", "a/upper", "x", "y"]


def test_two_folders_that_lead_into_each_other_end(tmp_path):
    put(tmp_path, "a/1.svs", "b/2.svs")
    (tmp_path / "a" / "to b").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "to a").symlink_to(tmp_path / "a")
    slides, not_taken = found(tmp_path)
    assert [name.rsplit("/", 1)[-1] for name in slides] == ["1.svs", "2.svs"], "each once, by whatever way"
    assert len(not_taken[finding.AGAIN]) == 2


def test_what_is_no_slide_is_counted_and_named(tmp_path, monkeypatch):
    put(tmp_path, "s.svs", "notes.docx", "deep/more.docx", ".DS_Store", "s.svs.ready", "gone.svs.ready")
    os.mkfifo(tmp_path / "pipe.svs")
    (tmp_path / "dangling.svs").symlink_to(tmp_path / "nowhere.svs")
    (tmp_path / "itself.svs").symlink_to(tmp_path / "itself.svs")
    with socket.socket(socket.AF_UNIX) as listening:
        monkeypatch.chdir(tmp_path)  # a socket's whole path must be short
        listening.bind("sock.svs")
    slides, not_taken = found(tmp_path)
    assert slides == ["s.svs"]
    assert {kind: sorted(names) for kind, names in not_taken.items()} == {
        finding.OTHER: ["deep/more.docx", "gone.svs.ready", "notes.docx"],
        finding.HIDDEN: [".DS_Store"],
        finding.ODD: ["pipe.svs", "sock.svs"],
        finding.DANGLING: ["dangling.svs", "itself.svs"],
    }
    text = "\n".join(NotTaken(not_taken).lines())
    assert "other files: 3 (deep/more.docx, gone.svs.ready, notes.docx)" in text
    many = NotTaken({finding.OTHER: [f"{n}.jpg" for n in range(30)] + ["x"]}).lines()[0]
    assert many.startswith("other files: 31 (30 .jpg, 1 without ending; the first: 0.jpg, 1.jpg")
    assert "pipes, sockets and devices: 2 (pipe.svs, sock.svs)" in text


def test_a_folder_that_cannot_be_looked_into_is_named_and_the_rest_found(tmp_path, monkeypatch):
    put(tmp_path, "a/1.svs", "closed/2.svs", "z.svs")
    listed = type(tmp_path).iterdir

    def iterdir(path):
        if path.name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(type(tmp_path), "iterdir", iterdir)
    slides, not_taken = found(tmp_path)
    assert slides == ["a/1.svs", "z.svs"] and not_taken == {finding.CLOSED: ["closed"]}
    with pytest.raises(PermissionError):
        list(slides_in(tmp_path / "closed"))


def test_what_belongs_to_a_slide_is_no_other_file(tmp_path):
    put(tmp_path, "m.mrxs", "m/Data0001.dat", "m/Slidedat.ini", "v_0.jpg", "v_map.jpg", "photo.jpg")
    (tmp_path / "v.vms").write_text("[Virtual Microscope Specimen]\nImageFile=v_0.jpg\nMapFile=v_map.jpg\n")
    assert found(tmp_path) == (["m.mrxs", "v.vms"], {finding.OTHER: ["photo.jpg"]})


def test_one_dicom_series_is_its_folder_whatever_lies_beside(tmp_path):
    for number in (1, 2):
        write_dicom(tmp_path / "night" / "one" / f"{number}.dcm", "5.5", f"5.5.{number}")
    assert found(tmp_path) == (["night/one"], {})
    put(tmp_path, "night/one/README.txt")
    write_dicom(tmp_path / "night" / "one" / "0 marks.dcm", "8.8", "8.8.1", ANNOTATIONS)
    assert found(tmp_path) == (
        ["night/one"],
        {finding.OBJECTS: ["night/one/0 marks.dcm"], finding.OTHER: ["night/one/README.txt"]},
    )


def test_two_dicom_series_in_one_folder_are_two_slides(tmp_path):
    for series in ("5.5", "6.6"):
        for number in (1, 2):
            write_dicom(tmp_path / f"{series}-{number}.dcm", series, f"{series}.{number}")
    assert found(tmp_path) == (["5.5-1.dcm", "6.6-1.dcm"], {})
    put(tmp_path, "s.svs")
    assert found(tmp_path)[0] == ["5.5-1.dcm", "6.6-1.dcm", "s.svs"]


def test_names_that_are_no_text_are_shown(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.doc")).write_bytes(b"x")
    _, not_taken = found(tmp_path)
    assert not_taken == {finding.OTHER: ["caf\N{REPLACEMENT CHARACTER}.doc"]}


def test_our_own_results_in_the_folder_are_not_searched(tmp_path):
    put(tmp_path, "s.svs", "out/results.csv", "out/slides/s/heatmap.png")
    not_taken = NotTaken()
    assert [path.name for path in slides_in(tmp_path, not_taken, leave_out=str(tmp_path / "out"))] == ["s.svs"]
    assert not_taken.by_kind == {}
    assert [path.name for path in slides_in(tmp_path, not_taken, leave_out=str(tmp_path))] == ["s.svs"]
