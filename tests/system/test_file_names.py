"""An id's file name: one rule, and stores of earlier versions are still found."""

import re
from pathlib import Path

import pytest
from house import DOORS, ROOT, sources

from pathoprog.system.file_names import file_name, file_name_in, folder_name
from pathoprog.training.data.data_config import DataSettings
from pathoprog.training.data.feature_store import feature_path
from pathoprog.training.data.tile_store import grid_path


@pytest.mark.parametrize(
    ("slide_id", "name"),
    [
        ("S-1_a.b", "S-1_a.b"),
        ("a/b c", "a%2Fb c"),
        (".x", "%2Ex"),
        ("[1],@=!", "[1],@=!"),
        ("ä", "%C3%A4"),
        ("a\udc80", "a%ED%B2%80"),
    ],
)
def test_what_file_systems_refuse_is_written_out(slide_id: str, name: str):
    assert folder_name(slide_id) == file_name(slide_id) == name


def test_long_ids_stay_apart_and_leave_room():
    names = {make("x" * 400 + last) for last in "ab" for make in (folder_name, file_name)}
    assert len(names) == 4 and max(map(len, names)) == 255
    assert len(file_name("ä" * 300)) <= 223


@pytest.mark.parametrize(("slide_id", "earlier"), [("a=1,b", "a%3D1%2Cb"), (".x", ".x")])
def test_files_of_earlier_versions_are_found(slide_id: str, earlier: str, tmp_path: Path):
    assert file_name_in(tmp_path, slide_id, [".npy"]) == file_name(slide_id) != earlier
    data = DataSettings(store=str(tmp_path / "store"), features=str(tmp_path / "features"))
    paths = {lambda: feature_path(data, "10x", slide_id), lambda: grid_path(data, "10x", slide_id)}
    for path in paths:
        new = path()
        old = new.with_name(earlier + new.name.removeprefix(file_name(slide_id)))
        assert new != old
        old.parent.mkdir(parents=True)
        old.touch()
        assert path() == old


def test_nobody_else_turns_ids_into_names():
    again = [
        str(path)
        for path in sources("pathoprog", *DOORS)
        if re.search(r"\bquote\(|\bbounded_name\(", (ROOT / path).read_text(encoding="utf-8"))
    ]
    own = ["pathoprog/system/file_names.py", "pathoprog/system/files.py"]
    points = ["training/search/trials.py"]  # a trial's folder is named for settings, which are no id
    assert again == own + points, "use file_name or folder_name"
