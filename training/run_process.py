"""Which process a run of MLflow is of, as tags, and whether it still lives: one that was killed ended nothing."""

import os
import socket
from pathlib import Path

HOST, PID, STARTED = "pathoprog.host", "pathoprog.pid", "pathoprog.process_started"
SLACK_S = 2.0  # by which the start of a process may be told differently from one look to the next


def process_tags() -> dict[str, str]:
    """Of this process: where it runs, its number there, and when it was started (seconds since 1970)."""
    import psutil

    return {HOST: _here(), PID: str(os.getpid()), STARTED: f"{psutil.Process().create_time():.2f}"}


def is_over(tags: dict[str, str]) -> bool:
    """Whether the process of a run is known to live no longer; False for one of another machine or without tags."""
    import psutil

    if not {HOST, PID, STARTED} <= tags.keys() or not is_here(tags):
        return False
    try:
        process = psutil.Process(int(tags[PID]))
        again = abs(process.create_time() - float(tags[STARTED])) > SLACK_S  # the number was given to another one
        return bool(again or process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
    except (psutil.Error, ValueError):
        return False


def is_here(tags: dict[str, str]) -> bool:
    """Whether the process of a run is of this machine, or container, so that it can be seen from here."""
    return tags.get(HOST) == _here()


def _here() -> str:
    """This machine, and within it the space in which processes are numbered: a container has one of its own."""
    try:
        space = Path("/proc/self/ns/pid").readlink().name
    except OSError:
        space = ""
    return f"{socket.gethostname()} {space}".strip()
