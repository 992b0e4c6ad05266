"""Which slides a call names, and what they are called."""

import os

import pytest
from shared_data import shared_data

from pathoprog.errors import InputError
from pathoprog.inference.slides.inputs import SlideInput, slide_id_of, slides_from_paths, within_roots
from pathoprog.slides.config import SlideSettings


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


def test_two_slides_whose_ids_look_alike_are_refused(tmp_path):
    """A Mac stores an accent apart from its letter: two rows of the results would be told apart by nobody."""
    for name in ("café.svs", "cafe\u0301.svs"):
        (tmp_path / name).write_bytes(b"x")
    found = slides_from_paths([str(tmp_path)])
    assert not found.slides and len(found.faults) == 2 and "would both be slide" in found.faults[0].line


def faults(*paths):
    return [fault.line for fault in slides_from_paths([str(path) for path in paths]).faults]


def test_all_faults_are_named_at_once_and_the_rest_is_there(folder):
    (folder / "deep" / "B.tif").write_bytes(b"x")
    (folder / "deep" / "M.svs").write_bytes(b"x")
    (folder / "deep" / "b.ndpi").write_bytes(b"x")
    (folder / "list.txt").write_text("gone.svs\na.ome.tif\n*.czi\n", encoding="utf-8")
    found = slides_from_paths([str(folder), str(folder / "list.txt"), str(folder / "no.svs"), str(folder / "x*.svs")])
    assert ids(found.slides) == ["a", "c 1"]
    with pytest.raises(InputError) as caught:
        found.refuse()
    text = str(caught.value)
    assert "6 faults in the input, nothing was done; go_on=true would score the other 2 slides" in text
    for said in (
        f"{folder / 'list.txt'} line 1: {folder / 'gone.svs'}: no such file",
        f"line 3: {folder / '*.czi'}: nothing matches",
        f"{folder / 'no.svs'}: no such file",
        f"{folder / 'x*.svs'}: nothing matches",
        f"{folder / 'b.svs'}, {folder / 'deep' / 'B.tif'} and {folder / 'deep' / 'b.ndpi'} would all be slide 'b'",
        f"{folder / 'deep' / 'M.svs'} and {folder / 'm.mrxs'} would both be slide 'M'",
    ):
        assert said in text
    assert len(found.faults) == 9 and all(str(folder) not in fault.reason for fault in found.faults)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("Prøve Å.svs\r\n".encode("cp1252"), "line 1 of this list is not UTF-8"),
        ("a.svs\r\n\r\nPrøve Å.svs".encode("latin-1"), "line 3 of this list is not UTF-8"),
        ("b.svs\r\n".encode("utf-16"), "this list is UTF-16, or no text; save it as UTF-8"),
        ("b.svs\r\n".encode("utf-16-be"), "this list is UTF-16"),
        ("b.svs\n".encode("utf-32"), "this list is UTF-16"),
        (b"\x00\x01\x02", "this list is UTF-16, or no text"),
        (b"\n  \n# nothing\n", "an empty list"),
    ],
)
def test_a_list_that_is_no_utf_8_text_is_one_sentence(folder, data, said):
    listed = folder / "liste.txt"
    listed.write_bytes(data)
    (line,) = faults(listed)
    assert line.startswith(f"{listed}: ") and said in line


def test_lists_that_name_themselves_are_one_sentence(folder):
    (folder / "self.txt").write_text("b.svs\nself.txt\n")
    (folder / "one.txt").write_text("two.txt\n")
    (folder / "two.txt").write_text("deep/three.txt\n")
    (folder / "deep" / "three.txt").write_text("../one.txt\n../b.svs\n")
    (line,) = faults(folder / "self.txt")
    where = f"{folder / 'self.txt'} line 2: {folder / 'self.txt'}"
    assert line == f"{where}: this list names itself; take that line out (self.txt -> self.txt)"
    (line,) = faults(folder / "one.txt")
    assert "(one.txt -> two.txt -> three.txt -> one.txt)" in line


def test_lists_of_lists_are_read_once_each(folder):
    for number in range(40):  # each names the next twice: 2^40 ways
        (folder / f"{number}.txt").write_text(f"{number + 1}.txt\n{number + 1}.txt\n")
    (folder / "40.txt").write_text("b.svs\n")
    assert ids(slides_from_paths([str(folder / "0.txt")]).slides) == ["b"]


def test_the_shared_lists(tmp_path):
    for name, said in (("liste1252.txt", "not UTF-8"), ("listerec.txt", "names itself")):
        (line,) = faults(shared_data(f"../cases/lab/{name}"))
        assert said in line


def test_names_that_no_file_can_have_are_faults(folder):
    strange = folder / os.fsdecode(b"Pr\xf8ve.svs")
    strange.write_bytes(b"x")
    (line,) = faults(strange)
    assert "its name is no UTF-8 text" in line and line.isprintable() and line.encode()
    for name, said in (("x" * 300 + ".svs", "File name too long"), ("a\0b.svs", "no such file")):
        (line,) = faults(folder / name)
        assert said in line and "\0" not in line
    (folder / "dangling.svs").symlink_to(folder / "nowhere.svs")
    (line,) = faults(folder / "dangling.svs")
    assert line.endswith("a link that leads nowhere")


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


@pytest.fixture
def linked(tmp_path):
    """A folder given with links out of it, and a place outside."""
    given, outside = tmp_path / "given", tmp_path / "archive"
    for folder, names in ((given, ("own.svs", "deep/below.svs")), (outside, ("far.svs", "case/inner.svs"))):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"x")
    (given / "link.svs").symlink_to(outside / "far.svs")
    (given / "linked_case").symlink_to(outside / "case")
    (given / "inside.ndpi").symlink_to(given / "deep" / "below.svs")
    (outside / "m").mkdir()
    (outside / "m" / "Slidedat.ini").write_bytes(b"x")
    (given / "m.mrxs").write_bytes(b"x")
    (given / "m").symlink_to(outside / "m")
    return given, outside


def test_links_that_lead_out_of_the_folder_given_are_followed_only_if_said(linked):
    given, outside = linked
    found = slides_from_paths([str(given)])
    assert sorted(ids(found.slides)) == ["below", "own"] and not found.faults
    (left,) = [names for kind, names in found.not_taken.by_kind.items() if "lead out of the folder" in kind]
    assert sorted(left) == ["link.svs", "linked_case", "m", "m.mrxs"]
    assert any("slides.follow_links=true" in line for line in found.not_taken.lines())
    said = slides_from_paths([str(given)], settings=SlideSettings(follow_links=True))
    assert sorted(ids(said.slides)) == ["below", "far", "inner", "m", "own"]
    by_glob = slides_from_paths([str(given / "*.svs")])
    assert ids(by_glob.slides) == ["own"] and "link.svs" in str(by_glob.not_taken.by_kind)
    assert ids(slides_from_paths([str(given / "link.svs")]).slides) == ["far"], "who names a link means it"
    assert ids(slides_from_paths([str(given / "linked_case")]).slides) == ["inner"]
    assert str(outside) not in str(found.not_taken.by_kind)


def test_roots_confine_arguments_lists_links_and_outlines(linked, tmp_path):
    given, outside = linked
    roots = SlideSettings(roots=[str(given)], follow_links=True)
    found = slides_from_paths([str(given)], settings=roots)
    assert sorted(ids(found.slides)) == ["below", "own"], "what links lead to counts"
    assert sorted(ids(slides_from_paths([str(given)], settings=SlideSettings(roots=[str(tmp_path)])).slides)) == [
        "below", "far", "inner", "m", "own",
    ]  # fmt: skip
    listed = given / "list.txt"
    listed.write_text(f"own.svs\n../archive/far.svs\n{outside}/case\nlink.svs\n/dev/zero\n", encoding="utf-8")
    found = slides_from_paths([str(listed)], settings=roots)
    assert ids(found.slides) == ["own"] and len(found.faults) == 4
    assert all("outside the folders of slides.roots" in fault.line for fault in found.faults)
    with pytest.raises(InputError, match=r"(?s)4 faults.*line 2.*line 3.*line 4.*line 5"):
        found.refuse()
    (outside / "list.txt").write_text(f"{given}/own.svs\n", encoding="utf-8")
    assert slides_from_paths([str(outside / "list.txt")], settings=roots).faults
    other = tmp_path / "given2"
    other.mkdir()
    (other / "x.svs").write_bytes(b"x")
    assert slides_from_paths([str(other / "x.svs")], settings=roots).faults, "a name that begins alike is another place"

    outlines = given / "outlines"
    outlines.mkdir()
    (outside / "own.geojson").write_text("{}")
    (outlines / "own.geojson").symlink_to(outside / "own.geojson")
    for settings in (SlideSettings(), roots):
        found = slides_from_paths([str(given / "own.svs")], str(outlines), settings=settings)
        assert not found.slides and "its outline lies outside" in found.faults[0].reason
    said = slides_from_paths([str(given / "own.svs")], str(outlines), settings=SlideSettings(follow_links=True))
    assert said.slides[0].outline_path == str(outside / "own.geojson")


def test_roots_confine_the_paths_of_a_table():
    slides = [
        SlideInput("A", "/srv/slides/A.svs", "A"),
        SlideInput("B", "/etc/B.svs", "B"),
        SlideInput("C", "/srv/slides/C.svs", "C", outline_path="/etc/shadow"),
    ]
    found = within_roots(slides, "cohort.csv", ["/srv/slides"])
    assert ids(found.slides) == ["A"] and [fault.slide_id for fault in found.faults] == ["B", "C"]
    assert "cohort.csv: C: /etc/shadow: its outline lies outside" in found.faults[1].line
    assert "/etc" not in found.faults[1].reason
    assert within_roots(slides, "cohort.csv", []).slides == slides
