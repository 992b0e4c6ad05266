"""Bundles: whole, unchanged, or refused."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from threading import Barrier, BrokenBarrierError

import pytest

pytest.importorskip("torch")
from made_bundle import made_bundle

from pathoprog.ensemble import bundle as bundles
from pathoprog.ensemble.bundle import ensemble_id, lock, read_manifest, verify
from pathoprog.ensemble.loading import load_bundle
from pathoprog.ensemble.manifest import TuningBasis
from pathoprog.ensemble.tuning_basis import basis_line, locked_precision, older_lock
from pathoprog.errors import BundleError, LockError
from pathoprog.system.files import read_json


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return made_bundle(tmp_path_factory.mktemp("bundle") / "ensemble")


@pytest.fixture
def bundle(original, tmp_path):
    import shutil

    return shutil.copytree(original, tmp_path / "ensemble")


def test_a_locked_bundle_loads_ten_members(bundle):
    loaded = load_bundle(bundle)
    assert {resolution: len(members) for resolution, members in loaded.members.items()} == {"10x": 5, "40x": 5}
    assert loaded.ensemble_id == ensemble_id(bundle) and len(loaded.ensemble_id) == 64
    assert loaded.thresholds == {"10x": 0.5, "40x": 0.5}
    assert loaded.specs["40x"].mpp == 0.25
    assert not any(member.network.training for member in loaded.members["10x"])
    assert loaded.manifest.format == 1 and loaded.manifest.encoders is None, "as before members on features came"


@pytest.mark.parametrize("name", ["made for tests", "another"])
def test_two_locks_at_once_wait_for_each_other(original, tmp_path, monkeypatch, name):
    """One takes the place; the other finds its own bundle there, or is refused: neither loses its files."""
    manifest, out = read_manifest(original), tmp_path / "new" / "bundle"
    files = {file: original / file for file in manifest.files}
    together, write = Barrier(2), bundles._write

    def slowly(staging, *rest):
        write(staging, *rest)
        with suppress(BrokenBarrierError):  # the other one comes only if it does not wait
            together.wait(0.5)

    monkeypatch.setattr(bundles, "_write", slowly)
    with ThreadPoolExecutor(2) as pool:
        given = [manifest, replace(manifest, name=name)]
        ended = [future.exception() or future.result() for future in [pool.submit(lock, out, m, files) for m in given]]
    if name == manifest.name:
        assert ended == [ensemble_id(out)] * 2
    else:
        refused, done = sorted(ended, key=lambda one: isinstance(one, str))
        assert isinstance(refused, LockError) and "superseded" in str(refused) and done == ensemble_id(out)
    verify(out)
    assert [path.name for path in out.parent.iterdir()] == ["bundle"]


def damage_weights(folder):
    path = sorted((folder / "members").iterdir())[0]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def damage_threshold(folder):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["thresholds"]["10x"]["value"] = 3.0
    path.write_text(json.dumps(manifest))


def drop_member(folder):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["members"][0]
    path.write_text(json.dumps(manifest))


def swap_members(folder):
    first, second = sorted((folder / "members").iterdir())[:2]
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(data)


def link_member(folder):
    path = sorted((folder / "members").iterdir())[0]
    outside = folder.parent / "outside"
    path.rename(outside)
    path.symlink_to(outside)


def lead_outside(folder):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"]["../../secret"] = "0" * 64
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (damage_weights, "altered"),
        (damage_threshold, "no threshold in"),
        (drop_member, "4 members at 10x"),
        (swap_members, "altered"),
        (link_member, "is a link"),
        (lead_outside, "leads out of the bundle"),
        (lambda folder: sorted((folder / "members").iterdir())[0].unlink(), "missing"),
        (lambda folder: (folder / "extra.pkl").write_bytes(b"x"), "not in the manifest"),
        (lambda folder: os.truncate(folder / "manifest.json", 100), "not JSON"),
        (lambda folder: (folder / "manifest.json").unlink(), "no bundle there"),
        (lambda folder: (folder / "manifest.json").write_text('{"format": 99}'), "format 99"),
    ],
)
def test_a_harmed_bundle_is_refused_with_the_reason(bundle, harm, message):
    harm(bundle)
    with pytest.raises(BundleError, match=message):
        load_bundle(bundle)


BASIS = TuningBasis(
    n_patients=10, n_slides=12, n_tiles={"10x": 100, "40x": 900}, left_out={}, ranked_on_tiles=256,
    batch_tiles={"10x": 64, "40x": 64}, sha256="0" * 64,
)  # fmt: skip


def relock(original, out, **changes):
    manifest = read_manifest(original)
    lock(out, replace(manifest, **changes), {name: original / name for name in manifest.files})
    return read_manifest(out)


def test_what_thresholds_rest_on_is_part_of_the_format(original, tmp_path):
    manifest = relock(original, tmp_path / "new", tuning_scores=BASIS, precision="bf16")
    assert manifest.format == 3 and locked_precision(manifest) == "bf16" and not older_lock(manifest)
    said = basis_line(manifest)
    assert "10 tuning patients (12 slides) scored as slides are scored: all 100 tiles at 10x" in said
    assert "in bf16" in said and "at most 256 tiles of a patient" in said
    assert "earlier version" in older_lock(read_manifest(original)) and not locked_precision(read_manifest(original))
    for changes, wrong in (
        ({"precision": "fp8"}, "precision 'fp8', must be one of fp32, bf16"),
        ({"precision": None}, "precision None"),
        ({"tuning_scores": replace(BASIS, n_tiles={"10x": 100})}, "tuning_scores.n_tiles: lacks 40x"),
    ):
        with pytest.raises(BundleError, match=wrong):
            relock(original, tmp_path / f"harmed-{len(list(tmp_path.iterdir()))}",
                   **{"tuning_scores": BASIS, "precision": "fp32", **changes})  # fmt: skip


def test_a_lock_that_cannot_be_written_leaves_nothing(original, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathoprog.ensemble.bundle.write_text", full)
    with pytest.raises(LockError, match=r"cannot be written \(No space left on device\); nothing was locked"):
        relock(original, tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_any_change_of_the_manifest_is_another_ensemble(bundle):
    before = ensemble_id(bundle)
    manifest = read_json(bundle / "manifest.json")
    manifest["thresholds"]["10x"]["value"] = 0.6
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    assert ensemble_id(bundle) != before


def test_a_lock_is_never_rewritten(bundle):
    manifest = read_manifest(bundle)
    files = {name: bundle / name for name in manifest.files}
    assert lock(bundle, manifest, files) == ensemble_id(bundle)  # the same content: nothing to do
    newer = replace(manifest, code_version="9.9")
    assert lock(bundle, newer, files) == ensemble_id(bundle), "newer code that makes the same"
    with pytest.raises(LockError, match="never rewritten"):
        lock(bundle, replace(manifest, aggregation="max"), files)
    assert verify(bundle).aggregation == "bag"
