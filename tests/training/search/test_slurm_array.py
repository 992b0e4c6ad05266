"""The Slurm job array: each task names its trial, the last job none."""

import os
import subprocess
from pathlib import Path

import pytest
from house import ROOT

from pathoprog import cli

SCRIPT = ROOT / "deploy" / "slurm" / "sweep_array.sh"


def called(tmp_path: Path, **variables: str) -> list[str]:
    """What the script calls with these variables, a word a line."""
    stub = tmp_path / "pathoprog"
    stub.write_text("#!/bin/bash\nprintf '%s\\n' \"$@\"\n")
    stub.chmod(0o755)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    result = subprocess.run(["bash", SCRIPT], env=path | variables, capture_output=True, text=True, check=True)
    return result.stdout.splitlines()


def test_a_task_trains_its_trial_and_the_last_job_all_that_is_left(tmp_path: Path) -> None:
    mine = tmp_path / "my (own).yaml"
    mine.write_text("candidates: 1\ndata: {cohort: x, outcomes: y, store: z}\n")
    given = {
        "EXPERIMENT": str(mine),
        "OUT": str(tmp_path / "a b"),
        "SWEEP": "fit.lr=1e-3,3e-4 network.pooling=mean,max",
    }
    trials = []
    for task in range(4):
        command, *words = called(tmp_path, **given, SLURM_ARRAY_TASK_ID=str(task))
        flags, rest = cli.take_flags(words)
        sweep = cli.sweep_of(command, flags, rest)
        assert sweep.base.out == str(tmp_path / "a b") and sweep.base.search.only == task
        trials.append(tuple(list(sweep.points())[task].values()))
    assert trials == [("0.001", "mean"), ("0.001", "max"), ("0.0003", "mean"), ("0.0003", "max")]
    command, *words = called(tmp_path, **given, COMMAND="cross_validate")
    assert command == "cross_validate" and not any("only" in word for word in words)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        called(tmp_path, OUT="x", SWEEP="seed=1,2")
    assert "EXPERIMENT" in caught.value.stderr
