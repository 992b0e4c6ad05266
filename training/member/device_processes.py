"""A candidate on several devices: a process for each of them, started, watched and ended by this one.

This one holds no device, reads no tile and writes nothing of the candidate. It ends all of them where one ends with an
error, and they end with it (`pathoprog.system.children`). What is theirs to say to it lies in a folder of this
machine's, the meeting: the settings, the step they are at, why one of them refused, what the others but the first
print.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pathoprog import errors
from pathoprog.errors import PathoprogError
from pathoprog.settings import as_dict
from pathoprog.system.children import spawn
from pathoprog.system.files import read_json, write_json
from pathoprog.training.config import TrainConfig
from pathoprog.training.launchers import devices_together, how_ended, process_variables

MODULE = "pathoprog.training.device_process"
REQUEST, STEP, REFUSALS = "request.json", "step", "refused-*.json"
REFUSED = 2
"""Exit code of a process that left its reason in the meeting."""
POLL_S = 0.2
GRACE_S = 5.0
"""How long after the first the others may end by themselves: they may know more of what was wrong."""
LOOPBACK = "lo"
"""The processes are on one machine: nothing of them listens to another one."""
SHOWN_LINES = 5


class ProcessDiedError(PathoprogError):
    """One of a candidate's processes died; the same command goes on from the last checkpoint."""


def train_together(settings: TrainConfig, tick: Callable[[int], None]) -> None:
    """Train a candidate on `fit.gpus` devices to its end. To be called from the main thread.

    Args:
        settings: of the candidate.
        tick: told the number of finished steps, not of each.

    Raises:
        PathoprogError: of the kind, and in the words, of the process that refused.
        ProcessDiedError: one of them died.
    """
    devices = devices_together(settings.device, settings.fit.gpus)
    variables = process_variables(settings.fit.threads, devices[0] == "cpu")
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        variables[name] = os.environ.get(name, LOOPBACK)
    with tempfile.TemporaryDirectory(prefix="pathoprog-devices-") as folder:
        meeting = Path(folder)
        write_json(meeting / REQUEST, as_dict(settings))
        processes: list[subprocess.Popen[bytes]] = []
        try:
            for number in range(len(devices)):
                log = log_of(meeting, number) if number else None
                command = [sys.executable, "-m", MODULE, str(meeting), str(number)]
                processes.append(spawn(command, log, variables))
            codes = watch(processes, meeting, tick)
        finally:
            for process in processes:
                process.kill()
            for process in processes:
                process.wait()
        if any(codes.values()):
            raise failure(codes, devices, meeting, settings.out)


def watch(processes: list[subprocess.Popen[bytes]], meeting: Path, tick: Callable[[int], None]) -> dict[int, int]:
    """Wait until all processes have ended, or for a while after the first that ended with an error.

    Returns:
        The exit codes, by number, of those that ended by themselves, in the order in which they were found ended.
    """
    codes: dict[int, int] = {}
    told, until = -1, float("inf")
    while len(codes) < len(processes) and time.monotonic() < until:
        time.sleep(POLL_S)
        for number, process in enumerate(processes):
            code = process.poll()
            if code is not None and number not in codes:
                codes[number] = code
                until = min(until, time.monotonic() + GRACE_S) if code else until
        done = steps_done(meeting)
        if done > told:
            tick(done)
            told = done
    return codes


def failure(codes: dict[int, int], devices: list[str], meeting: Path, out: str) -> PathoprogError:
    """The error that exit codes stand for: a refusal rather than a death, since that brings death to the others."""
    for refusal in sorted(meeting.glob(REFUSALS)):
        said = read_json(refusal)
        error: PathoprogError = getattr(errors, said["kind"], PathoprogError)(said["reason"])
        return error
    by_signal_first = sorted((item for item in codes.items() if item[1]), key=lambda item: item[1] > 0)
    ends = []
    for number, code in by_signal_first:
        log = log_of(meeting, number)
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
        ended = f"process {number} ({devices[number]}) ended with {how_ended(code)}"
        ends.append("\n  ".join([ended, *lines[-SHOWN_LINES:]]))
    return ProcessDiedError(
        f"{out}: one of the {len(devices)} processes that train it together died, and the others were stopped; the same"
        " command goes on from the last checkpoint\n  " + "\n  ".join(ends)
    )


def refuse(meeting: Path, number: int, error: PathoprogError) -> int:
    """In one of the processes: leave the reason why it refused; returns its exit code."""
    write_json(meeting / REFUSALS.replace("*", str(number)), {"kind": type(error).__name__, "reason": str(error)})
    return REFUSED


def log_of(meeting: Path, number: int) -> Path:
    """What a process prints; the first one's goes where this one's does."""
    return meeting / f"{number}.log"


def steps_done(meeting: Path) -> int:
    """The step that the first process told last; -1 before."""
    try:
        return int((meeting / STEP).read_text(encoding="ascii"))
    except (OSError, ValueError):  # not yet, or being written
        return -1
