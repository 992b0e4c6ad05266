"""The demo's member, killed five times at random steps and resumed, has the bytes of one that was left alone."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")
from made_store import made_store

from pathoprog.cli import compose
from pathoprog.settings import as_dict
from pathoprog.system.children import spawn
from pathoprog.system.files import read_json, sha256_file, write_json
from pathoprog.tiles.config import TileSpec
from pathoprog.training.train import PROGRESS, settings_from_dict

STEPS = 60


def start(out: Path, data_folder: Path) -> subprocess.Popen[bytes]:
    """A candidate's process by the demo's recipe, as train_ensemble starts it."""
    data = made_store(data_folder) if not data_folder.exists() else None
    given = [f"out={out}", "resolution=10x", "device=cpu", "track.tracking=none", f"fit.steps={STEPS}"]
    given += ["fit.evaluate_every=20", "fit.checkpoint_every=4", "fit.log_every=1"]
    given += ["fit.recalibrate=2", "fit.keep_best=2"]
    settings = settings_from_dict(as_dict(compose("train", ["experiment=demo", *given], checked=False)))
    if data is not None:
        write_json(data_folder / "data.json", as_dict(data))
    known = read_json(data_folder / "data.json")
    for key in ("cohort", "outcomes", "store", "tumour_policy"):
        setattr(settings.data, key, known[key])
    for key in ("tiles_10x", "tiles_40x"):  # those of the store, not the demo's
        setattr(settings.data, key, TileSpec(**known[key]))
    out.mkdir(exist_ok=True)
    write_json(out / "request.json", as_dict(settings))
    command = [sys.executable, "-m", "pathoprog.training.train", str(out / "request.json")]
    return spawn(command, out / "log.txt", {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})


def step_of(out: Path) -> int:
    try:
        return int(read_json(out / PROGRESS)["step"])
    except (OSError, ValueError):
        return 0


def members(out: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in [*out.glob("*.safetensors"), out / "candidate.json"]}


@pytest.mark.slow
def test_killed_five_times_at_random_steps_the_demo_s_member_is_the_same(tmp_path: Path) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    alone = start(undisturbed, tmp_path / "data")
    assert alone.wait() == 0, (undisturbed / "log.txt").read_text()

    dice = random.Random(20261122)
    steps = sorted(dice.sample(range(2, STEPS - 2), 5))
    print(f"killed at the earliest in steps {steps}")
    for step in steps:
        process = start(killed, tmp_path / "data")
        while process.poll() is None and step_of(killed) < step:
            time.sleep(0.002)
        time.sleep(dice.random() * 0.05)  # anywhere in a step, or in the writing of a checkpoint
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, (killed / "log.txt").read_text()
        assert not (killed / "candidate.json").exists()
        (killed / PROGRESS).unlink(missing_ok=True)
    assert start(killed, tmp_path / "data").wait() == 0, (killed / "log.txt").read_text()
    assert len(members(killed)) == 4  # the last, the two best, what they are
    assert members(killed) == members(undisturbed)
