"""Named points where a test makes a fault happen; they do nothing unless the environment names one.

``PATHOPROG_FAULT=point:n:action:marker``: when a process passes `point` for the n-th time, it does `action` (``kill``:
ends itself with SIGKILL; ``full``: the disk is full; ``hang``: waits for ever), provided the file `marker` can be made:
a fault happens once, not again in the process that takes over.
"""

import errno
import os
import signal
import time
from pathlib import Path

_POINT, _NUMBER, _ACTION, _MARKER = (os.environ.get("PATHOPROG_FAULT") or ":::").split(":", 3)
_passed = 0

POINTS = (
    "after_reading", "after_member", "write", "before_rename", "before_commit", "look", "watch", "identify", "stage",
    "rotate", "view_tile",
)  # fmt: skip


def point(name: str) -> None:
    """Pass a named point."""
    global _passed
    if name != _POINT:
        return
    _passed += 1
    if _passed != int(_NUMBER):
        return
    try:
        Path(_MARKER).touch(exist_ok=False)
    except FileExistsError:
        return
    if _ACTION == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if _ACTION == "full":
        raise OSError(errno.ENOSPC, "No space left on device")
    time.sleep(3600)
