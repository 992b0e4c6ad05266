"""Fine-tuning: candidates start from a bundle's members, and the new bundle names its parent."""

from dataclasses import replace

import pytest

pytest.importorskip("torch")
import torch
from made_bundle import made_bundle
from made_store import made_many, made_settings, made_store
from safetensors.torch import load_file

from pathoprog.commands import verify as verify_command
from pathoprog.commands.verify_config import VerifyConfig
from pathoprog.ensemble.bundle import ensemble_id, read_manifest
from pathoprog.ensemble.manifest import ParentRecord
from pathoprog.errors import BundleError, ConfigError
from pathoprog.settings import as_dict
from pathoprog.system.files import read_json, write_json
from pathoprog.system.tracking_config import TrackingSettings
from pathoprog.training.config import EnsembleConfig, StartSettings
from pathoprog.training.lock import ensemble as choose
from pathoprog.training.member.finetune import adopt
from pathoprog.training.train import train
from pathoprog.training.train_ensemble import ENSEMBLE_RUN, make_tasks


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return made_store(tmp_path_factory.mktemp("store"), patients=10)


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    return made_bundle(tmp_path_factory.mktemp("bundles") / "parent", size_px=32)


def settings_from(data, parent, out, **fit):
    settings = made_settings(data, out, steps=2, evaluate_every=2, recalibrate=1, **fit)
    settings.start = StartSettings(str(parent))
    settings.network.instance_dim = 99  # the parent's is taken
    return settings


def test_a_candidate_starts_from_the_member_s_weights(data, parent, tmp_path):
    settings = settings_from(data, parent, tmp_path / "run", lr=1e-12)
    settings.start.member = "10x-3"
    adopt(settings)
    assert settings.network.instance_dim == 8
    candidate = train(settings, lambda _: None)
    learned = load_file(tmp_path / "run" / candidate.best[0].file)
    start = load_file(parent / "members" / "10x-3.safetensors")
    for name, tensor in start.items():
        if "running" not in name and "num_batches" not in name:  # those are the new cohort's
            torch.testing.assert_close(learned[name], tensor, atol=1e-7, rtol=0)
    assert candidate.parent.member == "10x-3" and candidate.parent.ensemble_id == ensemble_id(parent)

    other = settings_from(data, parent, tmp_path / "other", lr=1e-12)
    other.start.member = "10x-4"
    adopt(other)
    assert train(other, lambda _: None).fingerprint != candidate.fingerprint


def test_members_are_taken_in_turn(data, parent, tmp_path):
    tasks = make_tasks(made_many(settings_from(data, parent, tmp_path), 6))
    assert [task.settings.start.member for task in tasks[:4]] == ["10x-0", "40x-0", "10x-1", "40x-1"]
    assert tasks[10].settings.start.member == "10x-0" and tasks[10].settings.seed == 6


def test_what_does_not_fit_the_parent_is_refused(data, parent, tmp_path):
    settings = settings_from(data, parent, tmp_path)
    settings.start.member = "40x-0"
    with pytest.raises(ConfigError, match="members at 10x are 10x-0"):
        adopt(settings)
    settings = settings_from(data, parent, tmp_path)
    settings.data = replace(data, tumour_policy="outline")
    with pytest.raises(ConfigError, match=r"data\.tumour_policy=outline"):
        adopt(settings)
    settings.start.bundle = str(tmp_path)
    with pytest.raises(BundleError, match="no bundle there"):
        adopt(settings)


def test_an_altered_parent_is_refused(data, tmp_path):
    altered = made_bundle(tmp_path / "parent", size_px=32)
    weights = altered / "members" / "10x-0.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    settings = settings_from(data, altered, tmp_path / "run")
    adopt(settings)
    with pytest.raises(BundleError, match="altered"):
        train(settings, lambda _: None)


@pytest.mark.slow
def test_the_new_bundle_names_its_parent_and_counts_as_not_validated(data, parent, tmp_path, capsys):
    settings = made_many(settings_from(data, parent, tmp_path / "runs"), 5)
    tasks = make_tasks(settings)
    for task in tasks:
        train(task.settings, lambda _: None)
    settings.network = tasks[0].settings.network
    record = {"candidates": [task.folder.name for task in tasks], "run_id": "", "settings": as_dict(settings)}
    write_json(tmp_path / "runs" / ENSEMBLE_RUN, record)
    bundle = tmp_path / "bundle"
    no_tracking = TrackingSettings(tracking="none")
    choose.run(EnsembleConfig(str(tmp_path / "runs"), str(bundle), bootstrap=0, track=no_tracking))
    manifest = read_manifest(bundle)
    assert manifest.parent == ParentRecord(ensemble_id=ensemble_id(parent), name="made for tests")
    assert {entry.parent_member for entry in manifest.members} == {
        entry.name for entry in read_manifest(parent).members
    }
    assert ensemble_id(bundle) != ensemble_id(parent)
    card = (bundle / "model_card.md").read_text()
    assert f"made for tests ({ensemble_id(parent)[:16]}); not validated" in card
    assert str(tmp_path) not in (bundle / "manifest.json").read_text() + card
    capsys.readouterr()
    assert verify_command.run(VerifyConfig(str(bundle))) == 0
    assert "whose validation does not hold for it" in capsys.readouterr().out
    assert read_json(tmp_path / "runs" / "10x-seed1" / "candidate.json")["parent"]["member"] == "10x-0"
