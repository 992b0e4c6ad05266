"""Which files a slide has, and that a change of any of them is seen: by every one who asks."""

import os
import shutil
import time

import pytest
from made_dicom_head import ANNOTATIONS, IMPLICIT, write_dicom

from pathoprog.errors import SlideError
from pathoprog.slides.dicom.header import DicomHead, read_head
from pathoprog.slides.identity import content_sha256, files_of, is_recent, source_sha256, stamp
from pathoprog.system.files import file_stamp

VMS = (
    "[Virtual Microscope Specimen]\nNoJpegColumns=2\nImageFile=a_0.jpg\nImageFile(1,0)=a_1.jpg\nMapFile=a_map.jpg\n"
    "OptimisationFile=a.opt\nAuthCode=\n"
)
VMU = "[Uncompressed Virtual Microscope Specimen]\r\nImageFile=a.ngr\r\nMapFile=a_map.ngr\r\n"


def mirax(folder):
    (folder / "A").mkdir()
    (folder / "A.mrxs").write_bytes(b"x")
    for name in ("Slidedat.ini", "Data0001.dat"):
        (folder / "A" / name).write_bytes(b"one")
    return folder / "A.mrxs", folder / "A" / "Data0001.dat"


def index(text):
    def make(folder):
        path = folder / ("a.vmu" if ".ngr" in text else "a.vms")
        path.write_text(text)
        for line in text.splitlines():
            name = line.partition("=")[2]
            if "." in name:
                (folder / name).write_bytes(b"one")
        return path, folder / ("a_map.ngr" if ".ngr" in text else "a_1.jpg")

    return make


def dicom_folder(folder):
    for number in (1, 2):
        write_dicom(folder / "series" / f"{number}.dcm", "5.5", f"5.5.{number}")
    return folder / "series", folder / "series" / "2.dcm"


def dicom_instance(folder):
    path, other = dicom_folder(folder)
    return path / "1.dcm", other


def one_file(folder):
    (folder / "a.svs").write_bytes(b"one")
    return folder / "a.svs", folder / "a.svs"


FORMATS = {
    "mirax": mirax,
    "vms": index(VMS),
    "vmu": index(VMU),
    "dicom folder": dicom_folder,
    "dicom instance": dicom_instance,
    "one file": one_file,
}


@pytest.fixture(params=FORMATS)
def slide(request, tmp_path):
    """A slide, and one of its data files."""
    return FORMATS[request.param](tmp_path)


def known_by(path):
    return stamp(path), source_sha256(str(path)), content_sha256(path)


def test_a_changed_data_file_is_seen(slide):
    path, data = slide
    before = known_by(path)
    assert before == known_by(path) and data in files_of(path)
    data.write_bytes(data.read_bytes() + b"another scan")
    assert all(new != old for new, old in zip(known_by(path), before, strict=True))


def test_the_same_size_at_another_time_is_looked_at_again(slide):
    path, data = slide
    before = known_by(path)
    os.utime(data, ns=(1, data.stat().st_mtime_ns + 1))
    now = known_by(path)
    assert now[0] != before[0] and now[1] != before[1] and now[2] == before[2]


def test_a_neighbour_changes_nothing(slide):
    path, _ = slide
    before = known_by(path)
    folder = path.parent if path.is_file() else path
    (folder / "notes.txt").write_text("of the day")
    write_dicom(folder / "other.dcm", "7.7", "7.7.1", ANNOTATIONS)
    assert known_by(path) == before


def test_a_data_file_still_being_copied_counts(slide):
    path, data = slide
    for file in files_of(path):
        os.utime(file, (1, 1))
    assert not is_recent(str(path), 60)
    os.utime(data, (time.time(), time.time()))
    assert is_recent(str(path), 60)


def test_a_slide_of_one_file_is_known_as_before(tmp_path):
    path, _ = one_file(tmp_path)
    assert stamp(path) == file_stamp(path), "stores of the versions before still hold"


def test_what_is_named_and_not_there_is_part_of_it(tmp_path):
    path, data = index(VMS)(tmp_path)
    data.unlink()
    before = stamp(path), source_sha256(str(path))
    with pytest.raises(SlideError, match=r"a_1\.jpg, which belongs to it, is not there") as caught:
        content_sha256(path)
    assert caught.value.code == "missing"
    data.write_bytes(b"one")
    assert (stamp(path), source_sha256(str(path))) != before


def test_a_file_that_may_be_read_now_is_looked_at_again(slide, monkeypatch):
    path, data = slide
    readable = source_sha256(str(path))
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda file, mode: str(file) != str(data))
        closed = source_sha256(str(path))
    assert closed != readable == source_sha256(str(path))


def test_what_is_not_there_looks_like_nothing(tmp_path):
    for name in ("no.svs", "no.mrxs", "a\0b.svs", "x" * 300):
        path = tmp_path / name
        assert stamp(path) == [] and source_sha256(str(path)) == ""


def test_a_dicom_instance_is_one_of_its_series_only(tmp_path):
    write_dicom(tmp_path / "1.dcm", "5.5", "5.5.1")
    write_dicom(tmp_path / "2.dcm", "5.5", "5.5.2")
    write_dicom(tmp_path / "copy of 1.dcm", "5.5", "5.5.1")
    write_dicom(tmp_path / "3", "6.6", "6.6.1")
    assert [file.name for file in files_of(tmp_path / "1.dcm")] == ["1.dcm", "2.dcm"]
    assert [file.name for file in files_of(tmp_path / "3")] == ["3"]


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", IMPLICIT, "1.2.840.10008.1.2.4.50"])
def test_the_head_of_a_dicom_file(tmp_path, syntax):
    path = write_dicom(tmp_path / "a", "5.5.77", "5.5.77.1", syntax=syntax)
    head = read_head(path)
    assert (head.series, head.instance, head.is_other_object) == ("5.5.77", "5.5.77.1", False)
    whole = path.read_bytes()
    for length in range(132, len(whole), 7):  # cut anywhere: less is known, and nothing is wrong
        path.write_bytes(whole[:length])
        assert read_head(path).series in ("", "5.5.77", *("5.5.77"[:n] for n in range(6)))
    path.write_bytes(whole[:132])
    assert read_head(path) == DicomHead()


def test_a_renamed_copy_of_a_mirax_slide_has_the_same_content(tmp_path):
    path, _ = mirax(tmp_path)
    shutil.copytree(path.with_suffix(""), tmp_path / "other")
    shutil.copyfile(path, tmp_path / "other.mrxs")
    assert content_sha256(tmp_path / "other.mrxs") == content_sha256(path)
    (tmp_path / "other" / "Slidedat.ini").write_bytes(b"two")
    assert content_sha256(tmp_path / "other.mrxs") != content_sha256(path)
