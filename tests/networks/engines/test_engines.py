"""Engines for networks over tiles: torch's values, equal bits however tiles are batched, no word to anybody."""

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
from made_bundle import made_bundle, made_encoder
from torch import nn

from pathoprog.ensemble.loading import load_bundle
from pathoprog.errors import ConfigError
from pathoprog.networks.engines import choice
from pathoprog.networks.engines.choice import Runtime, choose_runtime, installed
from pathoprog.networks.engines.tile_networks import Place, Preparation, TileNetwork, TileNetworks, probe
from pathoprog.networks.engines.torch_engine import TorchEngine
from pathoprog.networks.feature_encoder import FeatureEncoder
from pathoprog.scoring.scorer import Scorer
from pathoprog.system import caches
from pathoprog.system.machine.device import one_thread

CPU = torch.device("cpu")
SIZE = 48


@pytest.fixture(scope="module")
def openvino():
    if installed("openvino") is None:  # not imported here: that would load its telemetry
        pytest.skip("OpenVINO is not installed")
    return choose_runtime("openvino", "cpu")


@pytest.fixture(scope="module")
def bundle_folder(tmp_path_factory):
    return made_bundle(tmp_path_factory.mktemp("engines") / "bundle", SIZE)


@pytest.fixture(scope="module")
def tiles():
    coarse = np.random.default_rng(0).integers(0, 256, (37, 12, 12, 3), dtype=np.uint8)
    return coarse.repeat(4, axis=1).repeat(4, axis=2)


def small(seed=0):
    """A network with some structure, in evaluation mode."""
    torch.manual_seed(seed)
    layers = nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*layers).eval().requires_grad_(False)


def networks(runtime, *modules, threads=1, tell=lambda text: None, **preparation):
    shown = [TileNetwork(f"network {n}", f"made {n}", module) for n, module in enumerate(modules)]
    return TileNetworks(shown, Preparation(**preparation), Place(CPU, threads=threads, runtime=runtime, tell=tell))


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pathoprog" / "networks"


def test_ten_members_give_torch_s_values_and_the_same_classes(openvino, bundle_folder, tiles):
    with one_thread():
        fast = Scorer(load_bundle(bundle_folder), CPU, runtime=openvino)
        exact = Scorer(load_bundle(bundle_folder), CPU)
        found, wanted = {}, {}
        for resolution in ("10x", "40x"):
            values, expected = fast.instances(resolution, tiles), exact.instances(resolution, tiles)
            assert len(values) == 5 and values[0].shape == (37, 8) and values[0].dtype == torch.float32
            for one, other in zip(values, expected, strict=True):
                torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
            assert max(float(one.std()) for one in expected) > 0.01, "the made networks say the same of all tiles"
            found[resolution] = np.mean(fast.bag_scores(resolution, values))
            wanted[resolution] = np.mean(exact.bag_scores(resolution, expected))
            assert fast.tile_scores(resolution, values) == pytest.approx(
                exact.tile_scores(resolution, expected), abs=1e-5
            )
            assert found[resolution] == pytest.approx(wanted[resolution], abs=1e-5)
    assert fast.classify(found) == exact.classify(wanted)
    assert fast.notes == [] and fast.runtime("10x") == str(openvino)
    assert exact.runtime("10x") == str(installed("torch"))


def test_no_bit_depends_on_batches_threads_or_the_tiles_beside(openvino, bundle_folder, tiles):
    one = Scorer(load_bundle(bundle_folder), CPU, runtime=openvino)
    wanted = one.instances("10x", tiles)
    several = Scorer(load_bundle(bundle_folder), CPU, threads=3, runtime=openvino)
    for scorer, batch in ((one, 5), (one, 1), (several, 37), (several, 16)):
        parts = [scorer.instances("10x", tiles[start : start + batch]) for start in range(0, len(tiles), batch)]
        for expected, found in zip(wanted, zip(*parts, strict=True), strict=True):
            assert torch.equal(torch.cat(found), expected), batch
    backwards = one.instances("10x", np.ascontiguousarray(tiles[::-1]))
    assert all(torch.equal(found.flip(0), expected) for found, expected in zip(backwards, wanted, strict=True))


def test_large_tiles_go_one_by_one():
    from pathoprog.networks.engines import openvino_engine

    assert [openvino_engine.tiles_a_call(side**2) for side in (96, 191, 192, 448)] == [16, 16, 1, 1]


@pytest.mark.parametrize("at_once", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_nor_do_they_in_calls_of_another_size(openvino, bundle_folder, tiles, monkeypatch, at_once):
    """Between sizes of a call last bits differ on CPUs without AVX2: there is one size for a tile's."""
    from pathoprog.networks.engines import openvino_engine

    usual = Scorer(load_bundle(bundle_folder), CPU, runtime=openvino).instances("10x", tiles)
    monkeypatch.setattr(openvino_engine, "tiles_a_call", lambda pixels: at_once)
    wanted = Scorer(load_bundle(bundle_folder), CPU, runtime=openvino).instances("10x", tiles)
    for expected, found in zip(usual, wanted, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    several = Scorer(load_bundle(bundle_folder), CPU, threads=2, runtime=openvino)
    parts = [several.instances("10x", tiles[start : start + 5]) for start in range(0, len(tiles), 5)]
    assert not several.notes
    for expected, found in zip(wanted, zip(*parts, strict=True), strict=True):
        assert torch.equal(torch.cat(found), expected)


def test_what_is_compiled_is_fp32_and_unpinned(openvino):
    engine = networks(openvino, small(), small(1), threads=2).ready(32, 32)
    assert engine.compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"
    assert not engine.compiled.get_property("ENABLE_CPU_PINNING")
    assert [tuple(one.shape) for one in engine.compiled.outputs] == [(16, 8), (16, 8)], "one model, fixed shapes"


def test_a_converted_network_is_kept_in_full_precision_in_a_folder_of_one_s_own(openvino, own_folder):
    said = []
    first = networks(openvino, small(), tell=said.append)
    wanted = first.values(probe(32, 32))[0]
    assert said == [f"converting network 0 (1 of 1) for OpenVINO {openvino.version}, once on this machine"]
    assert stat.S_IMODE(own_folder.stat().st_mode) == 0o700
    (xml,) = own_folder.glob("*.xml")
    assert 'element_type="f16"' not in xml.read_text() and xml.with_suffix(".bin").stat().st_size >= 4 * 8 * 8 * 9
    said.clear()
    again = networks(openvino, small(), tell=said.append)
    assert torch.equal(again.values(probe(32, 32))[0], wanted) and said == []
    networks(openvino, small(), tell=said.append, mean=[0.5, 0.5, 0.5]).values(probe(32, 32))
    networks(openvino, small(), tell=said.append).values(probe(40, 32))
    assert len(said) == 2 and len(list(own_folder.glob("*.xml"))) == 3, "shown otherwise, it is another network"


def test_a_damaged_or_foreign_network_in_the_folder_is_not_believed(openvino, own_folder):
    wanted = networks(openvino, small()).values(probe(32, 32))[0]
    (xml,) = own_folder.glob("*.xml")
    xml.write_text("<net")
    said = []
    assert torch.equal(networks(openvino, small(), tell=said.append).values(probe(32, 32))[0], wanted)
    assert len(said) == 1, "it was converted again"
    weights = np.fromfile(xml.with_suffix(".bin"), np.uint8)
    weights[: len(weights) // 2] = 0
    weights.tofile(xml.with_suffix(".bin"))
    said.clear()
    harmed = networks(openvino, small(), tell=said.append)
    assert torch.equal(harmed.values(probe(32, 32))[0], wanted)
    assert len(said) == 1 and harmed.runtime == openvino, "its hash no longer fits: converted again"


def test_torch_s_values_on_the_probe_are_kept_and_damaged_ones_are_not_believed(openvino, own_folder, monkeypatch):
    computed = []
    values_of = TorchEngine.values
    monkeypatch.setattr(
        TorchEngine, "values", lambda self, tiles: computed.append(len(self._modules)) or values_of(self, tiles)
    )

    def start(*modules, **changes):
        computed.clear()
        found = networks(openvino, *modules, **changes)
        found.ready(32, 32)
        assert found.runtime == openvino
        return sum(computed)

    assert start(small(), small(1)) == 2 and start(small(), small(1)) == 0
    assert start(small(), small(1), small(2)) == 1, "each network's are its own"
    assert start(small(), mean=[0.5, 0.5, 0.5]) == 1, "shown otherwise, it has other values"
    kept = list(own_folder.glob("*.probe"))
    assert len(kept) == 4 and all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in kept)
    for file in kept:
        data = bytearray(file.read_bytes())
        data[-1] ^= 64
        file.write_bytes(data)
    assert start(small(), small(1)) == 2 and start(small(), small(1)) == 0
    for file in kept:
        file.write_bytes(b"")
    assert start(small()) == 1


def test_a_network_that_computes_other_values_is_torch_s(openvino, own_folder, monkeypatch):
    from pathoprog.networks.engines import openvino_engine

    wanted = networks(None, small()).values(probe(32, 32))[0]
    true_values = openvino_engine.OpenVinoEngine.values
    monkeypatch.setattr(
        openvino_engine.OpenVinoEngine,
        "values",
        lambda self, tiles: [one + 2e-5 * one.abs().max().clamp(min=1) for one in true_values(self, tiles)],
    )
    found = networks(openvino, small())
    assert torch.equal(found.values(probe(32, 32))[0], wanted) and found.runtime == installed("torch")
    assert f"{openvino} was not used: its values on a probe lie " in found.note


def test_without_a_folder_nothing_is_kept_and_all_works(openvino, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert caches.private_folder("networks") is None
    said = []
    found = networks(openvino, small(), tell=said.append)
    assert found.values(probe(32, 32))[0].shape == (2, 8) and found.runtime == openvino
    assert said == ["converting network 0 (1 of 1); no private folder to keep it in"]


class Strange(nn.Module):
    """A network with an operation that the converter does not know."""

    def forward(self, tiles):
        return torch.linalg.eigvalsh(tiles.mean(1)[:, :4, :4])


def test_a_network_that_cannot_be_converted_is_computed_by_torch_and_it_is_said(openvino, own_folder):
    said = []
    strange = networks(openvino, Strange().eval(), tell=said.append)
    found = strange.values(probe(32, 32))[0]
    with torch.inference_mode():
        wanted = Strange()(Preparation()(torch.from_numpy(probe(32, 32))))
    torch.testing.assert_close(found, wanted)
    assert strange.runtime == installed("torch")
    assert f"{openvino} was not used: it could not compute network 0" in strange.note and strange.note in said[-1]


def test_values_that_are_no_numbers_are_torch_s(openvino, own_folder):
    broken = small()
    broken[2].weight[0] = torch.nan
    found = networks(openvino, broken)
    assert torch.isnan(found.values(probe(32, 32))[0]).any() and found.note


def test_an_engine_that_is_not_here_is_said(tiles):
    elsewhere = networks(Runtime("openvino", "1999.1"), small())
    assert elsewhere.runtime == installed("torch") and elsewhere.note.startswith(
        "openvino 1999.1 is not installed here"
    )
    assert elsewhere.values(tiles)[0].shape == (37, 8)


@pytest.mark.parametrize("settings", [{}, {"input_px": 32}, {"precision": "fp32", "mean": [0.7, 0.5, 0.6]}])
def test_features_of_an_encoder_are_torch_s(openvino, tiles, tmp_path, settings):
    exact = made_encoder(tmp_path / "encoder.safetensors", **settings)
    fast = FeatureEncoder(exact.settings, CPU, torch.float32, openvino, threads=2)
    found, wanted = fast.features(tiles), exact.features(tiles)
    assert fast.networks.runtime == openvino and found.dtype == wanted.dtype and found.shape == (37, fast.d)
    torch.testing.assert_close(found, wanted, atol=1e-5 if settings.get("precision") else 2e-3, rtol=1e-3)


def test_auto_takes_openvino_on_a_cpu_where_it_is_and_torch_elsewhere(openvino, monkeypatch):
    assert choose_runtime("auto", "cpu") == openvino
    assert choose_runtime("auto", "cuda") == choose_runtime("torch", "cpu") == installed("torch")
    with pytest.raises(ConfigError, match=r"runtime=openvino: it computes on cpu only, and the device is cuda"):
        choose_runtime("openvino", "cuda")
    monkeypatch.setattr(choice, "cpu_flags", frozenset)
    assert choose_runtime("auto", "cpu", "bf16") == installed("torch")
    with pytest.raises(ConfigError, match="this CPU does not compute bf16; leave runtime out, or give runtime=torch"):
        choose_runtime("openvino", "cpu", "bf16")
    monkeypatch.setattr(choice, "cpu_flags", lambda: frozenset(["amx_bf16"]))
    assert choose_runtime("openvino", "cpu", "bf16") == openvino
    assert choose_runtime("auto", "cpu", "bf16") == installed("torch")
    monkeypatch.setattr(choice, "find_spec", lambda name: None if name == "openvino" else True)
    assert choose_runtime("auto", "cpu") == installed("torch")
    with pytest.raises(ConfigError, match="openvino is not installed here"):
        choose_runtime("openvino", "cpu")
    with pytest.raises(ConfigError, match="must be one of auto, openvino, torch"):
        choose_runtime("onnx", "cpu")


NO_SOCKET = """
import os, socket, sys
os.environ["XDG_CACHE_HOME"] = sys.argv[1]

def watch(event, values):
    if event.startswith("socket."):  # made, connected, or a name looked up
        print("SOCKET", event, flush=True)
        os._exit(3)

sys.addaudithook(watch)
sys.path.insert(0, sys.argv[2])
from test_engines import choose_runtime, networks, probe, small
found = networks(choose_runtime("openvino", "cpu"), small())
found.values(probe(32, 32))
assert not found.note, found.note
assert sys.modules["openvino_telemetry"] is None
import threading
print([thread.name for thread in threading.enumerate() if not thread.name.startswith("network_")])
"""


def test_converting_tells_nobody(openvino, tmp_path):
    command = [sys.executable, "-c", NO_SOCKET, str(tmp_path), str(Path(__file__).parent)]
    there = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path.endswith("support"))}
    done = subprocess.run(command, env=there, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert done.stdout.strip() == "['MainThread']", "a thread that would send lived on"


def test_telemetry_that_is_loaded_already_keeps_openvino_out(openvino, own_folder, monkeypatch):
    from pathoprog.networks.engines import converted

    converted.openvino.cache_clear()
    monkeypatch.setitem(sys.modules, "openvino_telemetry", socket)
    try:
        found = networks(openvino, small())
        assert found.values(probe(32, 32))[0].shape == (2, 8)
        assert "openvino_telemetry was loaded before" in found.note
    finally:
        converted.openvino.cache_clear()
