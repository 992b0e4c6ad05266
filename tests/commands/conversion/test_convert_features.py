"""Other tools' `.pt` files of features to safetensors: tensors and plain arrays, nothing run that a pickle asks for."""

import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch
from made_foreign import write_clam

from pathoprog import cli
from pathoprog.commands.conversion import read_features as reader
from pathoprog.errors import InputError
from pathoprog.networks.features import read_features
from pathoprog.networks.foreign.folder import look_into
from pathoprog.networks.foreign.maker import FeatureMaker

VALUES = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


def converted(tmp_path, what, name="S1"):
    source = tmp_path / "features_uni_v1"
    source.mkdir(exist_ok=True)
    torch.save(what, source / f"{name}.pt")
    assert reader.main([str(source), str(tmp_path / "out")]) == 0
    return read_features(tmp_path / "out" / f"{name}.safetensors")


@pytest.mark.parametrize(
    ("what", "dtype"),
    [
        (torch.from_numpy(VALUES), np.float32),  # CLAM's
        (VALUES, np.float32),  # TRIDENT's, an array
        (VALUES.astype(np.float64)[None], np.float32),
        (torch.from_numpy(VALUES).half(), np.float16),
        ({"feats": torch.from_numpy(VALUES), "coords": torch.zeros(5, 2)}, np.float32),
    ],
)
def test_features_are_read_back_without_places(tmp_path, what, dtype):
    found = converted(tmp_path, what)
    assert np.allclose(found.values, VALUES, atol=2e-3) and found.values.dtype == dtype and found.unit == ""
    assert found.maker == FeatureMaker(tool="a converted .pt", model="uni_v1", level="tile", d=3)
    assert str(tmp_path) not in str(found.facts)


def test_a_vector_is_a_bag_of_one_and_bf16_is_widened(tmp_path):
    found = converted(tmp_path, torch.from_numpy(VALUES[0]).bfloat16())
    assert found.values.shape == (1, 3) and found.values.dtype == np.float32 and found.maker.level == "slide"
    assert converted(tmp_path, torch.zeros(0), "S2").values.shape == (0, 0)


class Harmful:
    """Asks for a command to be run when it is read."""

    def __reduce__(self):
        return os.system, ("touch harmed",)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({"labels": torch.ones(3)}, "holds labels, and no features"),
        (torch.arange(3), "no features of floating point"),
        (torch.ones(2, 2, 2), r"features \(2, 2, 2\), must be \[n, d\]"),
        (torch.tensor([[1.0, float("nan")]]), "NaN or infinity"),
        (np.array([None, {}], dtype=object), "was not opened"),
        (OrderedDict(), "holds nothing"),
    ],
)
def test_what_holds_no_features_says_so(tmp_path, what, said):
    torch.save(what, tmp_path / "S1.pt")
    with pytest.raises(InputError, match=said):
        reader.features_in(tmp_path / "S1.pt")


def test_one_bad_file_never_stops_the_others_and_nothing_is_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_clam(tmp_path / "clam", "S1", VALUES)
    (tmp_path / "clam/pt_files/S2.pt").write_bytes(pickle.dumps(Harmful()))
    torch.save(Harmful(), tmp_path / "clam/pt_files/S3.pt")
    call = [str(tmp_path / "clam/pt_files"), str(tmp_path / "out")]
    assert reader.main(call) == 1 and not (tmp_path / "harmed").exists()
    said = capsys.readouterr()
    assert "S2.pt: was not opened" in said.err and "S3.pt: was not opened" in said.err
    assert "features of 1 slide; 2 files not converted" in said.out
    before = (tmp_path / "out/S1.safetensors").read_bytes()
    assert reader.main(call) == 1 and "1 of them before" in capsys.readouterr().out
    assert (tmp_path / "out/S1.safetensors").read_bytes() == before
    torch.save(torch.ones(2, 3), tmp_path / "clam/pt_files/S1.pt")
    assert reader.main(call) == 1 and "is of another file" in capsys.readouterr().err
    assert list(look_into(tmp_path / "out").files) == ["S1"]
    assert reader.main([str(tmp_path / "out"), str(tmp_path / "more")]) == 2


def test_the_command_takes_a_folder(tmp_path, capfd):
    write_clam(tmp_path / "clam", "S1", VALUES)
    source, out = tmp_path / "clam/pt_files", tmp_path / "out"
    assert cli.main(["convert", str(source), f"out={out}"]) == 0
    assert np.array_equal(read_features(out / "S1.safetensors").values, VALUES)
    assert f"data.features_10x={out}" in capfd.readouterr().out
    assert cli.main(["convert", str(source), f"out={source}"]) == 2
    assert cli.main(["convert", str(source), f"out={out}", "prefix=a."]) == 2
    said = capfd.readouterr().err
    assert "another folder than the pickles'" in said and "are for a file of weights" in said
