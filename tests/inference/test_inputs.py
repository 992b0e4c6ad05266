"""Which slides a call names, and what they are called."""

import pytest

from pathoprog.errors import InputError
from pathoprog.inference.inputs import slide_id_of, slides_from_paths


@pytest.fixture
def folder(tmp_path):
    for name in ("b.svs", "a.ome.tif", "notes.docx", ".hidden.svs", "deep/c 1.ndpi", "m.mrxs", "m/Data0000.dat"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def ids(slides):
    return [slide.slide_id for slide in slides]


def test_a_folder_is_searched_whole(folder):
    slides = slides_from_paths([str(folder)]).slides
    assert ids(slides) == ["a", "b", "c 1", "m"]
    assert [slide.patient_id for slide in slides] == ids(slides), "each its own patient where no table says more"


def test_files_globs_and_lists_give_each_slide_once(folder):
    listed = folder / "list.txt"
    listed.write_text("# the second site\nb.svs\n\ndeep\n", encoding="utf-8")
    slides = slides_from_paths([str(folder / "*.svs"), str(listed), str(folder / "b.svs")]).slides
    assert ids(slides) == ["b", "c 1"]
    assert ids(slides_from_paths([str(folder / "**" / "*.ndpi")]).slides) == ["c 1"]


def test_a_glob_may_be_relative(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (slide,) = slides_from_paths(["de*/*.ndpi"]).slides
    assert slide.path == str((folder / "deep" / "c 1.ndpi").resolve())


def test_a_folder_of_dicom_files_is_one_slide(tmp_path):
    for name in ("one.dcm", "two.dcm"):
        path = tmp_path / "series" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(128) + b"DICM")
    assert ids(slides_from_paths([str(tmp_path)]).slides) == ["series"]
    assert ids(slides_from_paths([str(tmp_path / "series")]).slides) == ["series"]


@pytest.mark.parametrize(
    ("argument", "said"),
    [("nothing.svs", "no such file"), ("*.czi", "nothing matches"), ("empty", "no slide in this folder")],
)
def test_what_names_no_slide_is_an_error(tmp_path, argument, said):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=said):
        slides_from_paths([str(tmp_path / argument)]).refuse()


def test_two_slides_with_one_id_are_refused(folder):
    (folder / "deep" / "B.tif").write_bytes(b"x")
    with pytest.raises(InputError, match="would both be slide"):
        slides_from_paths([str(folder)]).refuse()


def test_outlines_are_found_by_the_slide_s_id(folder):
    outlines = folder / "outlines"
    outlines.mkdir()
    (outlines / "a.geojson").write_text("{}")
    slides = slides_from_paths([str(folder / "a.ome.tif"), str(folder / "b.svs")], str(outlines)).slides
    assert slides[0].outline_path.endswith("a.geojson") and slides[1].outline_path == ""


@pytest.mark.parametrize(
    ("name", "expected"),
    [("x.svs", "x"), ("x.y.ome.tiff", "x.y"), ("v1.2.svs", "v1.2"), ("folder v1.2", "folder v1.2"), ("x.TIF", "x")],
)
def test_an_id_is_the_whole_name_up_to_the_extension(name, expected):
    assert slide_id_of(f"/some/where/{name}") == expected
