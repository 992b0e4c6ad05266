"""Weights to safetensors: tensors alone, everything else named, nothing run that a pickle asks for."""

import json
import pickle
import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from pathoprog import cli
from pathoprog.commands.conversion import convert, read_weights
from pathoprog.networks.config import EncoderSettings
from pathoprog.networks.encoders import make_encoder
from pathoprog.system.files import sha256_file

TENSORS = {"blocks.0.weight": torch.arange(6.0).view(2, 3), "norm.bias": torch.ones(3, dtype=torch.float16)}


def pickled(path: Path, what: object) -> Path:
    torch.save(what, path)
    return path


def read(source: Path, out: Path, inside: str = "", prefix: str = "") -> int:
    return read_weights.main([str(source), str(out), inside, prefix])


def same(path: Path, wanted: dict[str, torch.Tensor]) -> bool:
    found = load_file(path)
    return found.keys() == wanted.keys() and all(
        torch.equal(found[name], wanted[name]) and found[name].dtype == wanted[name].dtype for name in wanted
    )


def test_the_command_makes_of_a_publisher_s_pickle_what_an_encoder_takes(tmp_path, capfd):
    settings = EncoderSettings("timm/vit_tiny_patch16_224", encoder_options="{img_size: 32, depth: 1}")
    source, _ = make_encoder(settings)
    path = pickled(tmp_path / "pytorch_model.bin", dict(source.state_dict()))
    out = tmp_path / "encoder.safetensors"
    assert cli.main(["convert", str(path), f"out={out}"]) == 0
    said = capfd.readouterr().out
    assert "pytorch_model.bin: 18 tensors" in said and sha256_file(out) in said
    settings.weights = str(out)
    loaded, _ = make_encoder(settings)
    assert all(map(torch.equal, source.state_dict().values(), loaded.state_dict().values()))
    before = out.read_bytes()
    assert cli.main(["convert", str(path), f"out={out}"]) == 2 and out.read_bytes() == before
    assert "exists; give another name" in capfd.readouterr().err


def test_equal_files_give_equal_bytes_with_one_metadata_key(tmp_path):
    source = pickled(tmp_path / "a.bin", TENSORS)
    outs = [tmp_path / "one.safetensors", tmp_path / "two.safetensors"]
    assert [read(source, out) for out in outs] == [0, 0]
    assert outs[0].read_bytes() == outs[1].read_bytes() and same(outs[0], TENSORS)
    with safe_open(outs[0], framework="np") as stream:
        (facts,) = stream.metadata().values()
    assert json.loads(facts) == {"source_sha256": sha256_file(source), "inside": "", "prefix": ""}


def test_what_is_inside_and_behind_a_prefix_is_taken_and_the_rest_is_named(tmp_path, capsys):
    wrapped = {f"backbone.{name}": tensor for name, tensor in TENSORS.items()} | {"head.weight": torch.ones(2)}
    source = pickled(tmp_path / "checkpoint.pth", {"teacher": {**wrapped, "step": 7}, "epoch": 3})
    assert read(source, tmp_path / "found.safetensors", prefix="backbone.") == 0
    said = capsys.readouterr().out
    assert "no tensors, left out: step" in said and "not under backbone., left out: head.weight" in said
    assert "2 tensors of teacher" in said and same(tmp_path / "found.safetensors", TENSORS)
    assert read(source, tmp_path / "named.safetensors", "teacher", "backbone.") == 0
    assert (tmp_path / "named.safetensors").read_bytes() == (tmp_path / "found.safetensors").read_bytes()

    save_file(wrapped, tmp_path / "wrapped.safetensors")
    assert read(tmp_path / "wrapped.safetensors", tmp_path / "bare.safetensors", prefix="backbone.") == 0
    assert same(tmp_path / "bare.safetensors", TENSORS)


def test_tensors_that_share_memory_or_are_turned_are_written_each_by_itself(tmp_path):
    table = torch.arange(6.0).view(2, 3)
    source = pickled(tmp_path / "shared.pt", {"one": table, "two": table[1], "turned": table.t()})
    assert read(source, tmp_path / "out.safetensors") == 0
    assert same(tmp_path / "out.safetensors", {"one": table, "two": table[1], "turned": table.t().contiguous()})


class Trap:
    """What a pickle may ask for."""

    def __reduce__(self):
        return (Path("trap").touch, ())


@pytest.mark.parametrize("write", [torch.save, lambda what, path: path.write_bytes(pickle.dumps(what))])
def test_nothing_that_a_pickle_asks_for_is_run(tmp_path, monkeypatch, capsys, write):
    monkeypatch.chdir(tmp_path)
    write({"weight": torch.ones(2), "trap": Trap()}, tmp_path / "trap.bin")
    assert read(tmp_path / "trap.bin", tmp_path / "out.safetensors") == 2
    assert "was not opened: it is damaged, or asks for more than tensors" in capsys.readouterr().err
    assert not (tmp_path / "trap").exists() and not (tmp_path / "out.safetensors").exists()
    pickle.loads(pickle.dumps(Trap()))  # noqa: S301
    assert (tmp_path / "trap").exists()  # as a plain reader would have it


@pytest.mark.parametrize(
    ("what", "inside", "prefix", "said"),
    [
        ({"epoch": 3}, "", "", "holds no tensors by name"),
        ([torch.ones(2)], "", "", "holds no tensors by name"),
        ({"a": TENSORS, "b": TENSORS}, "", "", r"several sets of tensors; give inside=… one of a \(2 tensors\), b"),
        ({"a": TENSORS}, "c", "", "inside=c: no c in it; there is a"),
        ({"a": {"epoch": 1}}, "a", "", "inside=a: holds no tensors by name"),
        (TENSORS, "", "module.", "prefix=module.: no tensor's name begins so; they begin with blocks, norm"),
        ({"w": torch.ones(2).to_sparse()}, "", "", "w is sparse or quantised"),
    ],
)
def test_what_cannot_be_told_is_refused_in_words(tmp_path, capsys, what, inside, prefix, said):
    source = pickled(tmp_path / "weights.bin", what)
    assert read(source, tmp_path / "out.safetensors", inside, prefix) == 2
    assert re.search(said, capsys.readouterr().err)
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04 cut short"])
def test_files_that_hold_no_weights_are_refused(tmp_path, capsys, content):
    (tmp_path / "weights.bin").write_bytes(content)
    assert read(tmp_path / "weights.bin", tmp_path / "out.safetensors") == 2
    assert "weights.bin: " in capsys.readouterr().err
    (tmp_path / "weights.safetensors").write_bytes(content)
    assert read(tmp_path / "weights.safetensors", tmp_path / "out.safetensors") == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"file": "absent.bin"}, "file=.*absent.bin: no such file"),
        ({"out": "encoder.bin"}, "must end with .safetensors"),
        ({"out": "nowhere/encoder.safetensors"}, "no such folder"),
    ],
)
def test_a_wrong_call_starts_nothing(tmp_path, monkeypatch, capsys, change, said):
    monkeypatch.setattr(convert, "spawn", lambda *_: pytest.fail("a process was started"))
    pickled(tmp_path / "weights.bin", TENSORS)
    names = {"file": "weights.bin", "out": "encoder.safetensors"} | change
    assert cli.main(["convert", *(f"{key}={tmp_path / name}" for key, name in names.items())]) == 2
    assert re.search(said, capsys.readouterr().err)


def test_a_process_that_dies_is_told(tmp_path, monkeypatch, capsys):
    class Killed:
        def wait(self):
            return -9

    monkeypatch.setattr(convert, "spawn", lambda *_: Killed())
    pickled(tmp_path / "weights.bin", TENSORS)
    assert cli.main(["convert", str(tmp_path / "weights.bin"), f"out={tmp_path / 'out.safetensors'}"]) == 2
    assert "ended with signal 9; nothing was written" in capsys.readouterr().err


def test_pickles_are_opened_in_one_place_and_restricted():
    from house import ROOT, sources

    opened = [path for path in sources() if "torch.load(" in (ROOT / path).read_text(encoding="utf-8")]
    product = [str(path) for path in opened if path.parts[0] in ("pathoprog", "training", "inference", "cohorts")]
    assert product == ["pathoprog/commands/conversion/convert.py", "pathoprog/commands/conversion/read_weights.py"]
    text = (ROOT / "pathoprog/commands/conversion/read_weights.py").read_text(encoding="utf-8")
    assert text.count("torch.load(") == text.count("weights_only=True") == 1
