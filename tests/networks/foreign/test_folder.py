"""Folders of other tools as they lie: which file is which slide's, and what is asked where that is not clear."""

import numpy as np
import pytest
from made_foreign import write_clam, write_stamp, write_trident

from pathoprog.errors import InputError
from pathoprog.networks.foreign.folder import look_into, names_of

VALUES = np.ones((3, 4), np.float32)


def test_each_tool_s_folder_given_at_any_height(tmp_path):
    write_trident(tmp_path / "trident", "S1", VALUES)
    write_clam(tmp_path / "clam", "S1", VALUES)
    write_stamp(tmp_path / "stamp", "siteA/S1.svs", VALUES)
    for given in (
        "trident",
        "trident/20x_256px_0px_overlap",
        "trident/20x_256px_0px_overlap/features_uni_v1",
        "clam",
        "clam/h5_files",
        "stamp",
        "stamp/uni2-0a1b2c3d",
        "stamp/uni2-0a1b2c3d/siteA",
    ):
        found = look_into(tmp_path / given)
        assert list(found.files) == ["S1"] and found.find(["other", "S1"]) == found.files["S1"], given
        assert found.find(["S2"]) is None and found.unclaimed(["S1"]) == []


def test_several_models_in_one_folder_are_asked_for(tmp_path):
    for model in ("uni_v1", "conch_v15"):
        write_trident(tmp_path / "trident", "S1", VALUES, model=model)
        write_stamp(tmp_path / "stamp", "S1.svs", VALUES, model=model)
        write_clam(tmp_path / "clam" / model, "S1", VALUES)
    write_trident(tmp_path / "sizes", "S1", VALUES, magnification=20)
    write_trident(tmp_path / "sizes", "S1", VALUES, magnification=10)
    for tool in ("trident", "stamp", "clam", "sizes"):
        with pytest.raises(InputError, match="features of several models; give the folder of one of them: ") as error:
            look_into(tmp_path / tool)
        assert "(1 file)" in str(error.value) or "(2 files)" in str(error.value)


def test_two_files_of_one_name_and_pickles(tmp_path):
    write_stamp(tmp_path / "stamp", "siteA/S1.svs", VALUES)
    write_stamp(tmp_path / "stamp", "siteB/S1.svs", VALUES)
    write_stamp(tmp_path / "stamp", "siteB/S2.svs", VALUES)
    found = look_into(tmp_path / "stamp")
    assert found.find(["S2"]) is not None and found.unclaimed(["S2"]) == ["S1"]
    with pytest.raises(InputError, match=r"siteA/S1\.h5 and .*siteB/S1\.h5: two files for one slide"):
        found.find(["S1"])
    write_clam(tmp_path / "clam", "S1", VALUES).unlink()
    with pytest.raises(InputError, match=r"S1\.pt: \.pt files are pickles.*`pathoprog convert .*pt_files out=FOLDER`"):
        look_into(tmp_path / "clam").find(["S1"])


def test_a_folder_that_changed_is_searched_again(tmp_path):
    folder = write_trident(tmp_path, "S1", VALUES).parent
    assert list(look_into(folder).files) == ["S1"] and look_into(folder) is look_into(folder)
    write_trident(tmp_path, "S2", VALUES)
    assert list(look_into(folder).files) == ["S1", "S2"]
    with pytest.raises(InputError, match="no such folder of features"):
        look_into(tmp_path / "absent")


def test_a_slide_is_called_after_its_file_as_the_tools_call_it():
    assert names_of("S1", "/slides/TCGA-1.svs") == ["S1", "TCGA-1"]
    assert names_of("a", "/slides/a.ome.tiff") == ["a", "a.ome"]
    assert names_of("P.1", "/slides/P.1.ndpi") == ["P.1"] and names_of("S1", "") == ["S1"]
