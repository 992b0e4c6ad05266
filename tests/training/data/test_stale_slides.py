"""A slide of several files whose data changed is cut, laid and viewed again."""

import pytest
from made_dicom_head import write_dicom

from pathoprog.training.data.data_config import DataSettings
from pathoprog.training.data.tile_store import source_key, specs
from pathoprog.training.tumour import view_store
from pathoprog.training.tumour.config import SegmentConfig


def mirax(folder):
    (folder / "A.mrxs").write_bytes(b"x")
    (folder / "A").mkdir()
    (folder / "A" / "Data0001.dat").write_bytes(b"one")
    return folder / "A.mrxs", folder / "A" / "Data0001.dat"


def vms(folder):
    (folder / "A.vms").write_text("[Virtual Microscope Specimen]\nImageFile=A.jpg\n")
    (folder / "A.jpg").write_bytes(b"one")
    return folder / "A.vms", folder / "A.jpg"


def dicom_folder(folder):
    return folder / "A", write_dicom(folder / "A" / "1.dcm", "5.5", "5.5.1")


def dicom_instance(folder):
    return write_dicom(folder / "1.dcm", "5.5", "5.5.1"), write_dicom(folder / "2.dcm", "5.5", "5.5.2")


@pytest.mark.parametrize("make", [mirax, vms, dicom_folder, dicom_instance])
def test_training_s_keys_see_changed_data(tmp_path, make):
    path, data_file = make(tmp_path)
    data, settings = DataSettings(tumour_policy="tissue"), SegmentConfig()
    row = {"slide_id": "A", "slide_path": str(path), "outline_path": ""}
    before = source_key(row, data, specs(data)), view_store._key(row, settings)
    assert before == (source_key(row, data, specs(data)), view_store._key(row, settings))
    data_file.write_bytes(data_file.read_bytes() + b"two, another scan")
    now = source_key(row, data, specs(data)), view_store._key(row, settings)
    assert now[0] != before[0], "the tile store, grids and features hold no stale tiles"
    assert now[1] != before[1], "nor do the tumour network's views"
