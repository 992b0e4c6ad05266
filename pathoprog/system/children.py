"""Child processes that never outlive their parent, so that no forgotten one goes on writing beside its successor."""

import contextlib
import os
import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path

# The kernel ends the child when its parent is gone (Linux, prctl PR_SET_PDEATHSIG = 1); an exec keeps that.
_BOUND = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9);"
    " os.getppid() == int(sys.argv[1]) or os._exit(1); os.execv(sys.argv[2], sys.argv[2:])"
)


_HIDING = threading.Lock()


@contextlib.contextmanager
def without_the_caller_s_script() -> Iterator[None]:
    """Let spawned workers that are started inside run none of the caller's script.

    `multiprocessing` runs the main module again in each spawned worker. A script without ``if __name__ == "__main__"``
    would do all its work once more in each of them, and the workers of this library need nothing of it.
    """
    with _HIDING:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


def spawn(
    command: list[str], log: str | Path | None, environment: dict[str, str], folder: str | Path = "."
) -> subprocess.Popen[bytes]:
    """Start a command whose life ends with this process's, even by SIGKILL.

    To be called from the main thread: it is the thread's end that the kernel looks at.

    Args:
        command: program and arguments; the program as a path.
        log: file that its output is appended to; None: where this process's goes.
        environment: variables that differ from this process's.
        folder: its current one.
    """
    bound = [sys.executable, "-I", "-S", "-c", _BOUND, str(os.getpid())]
    with Path(log).open("ab") if log is not None else contextlib.nullcontext() as stream:
        return subprocess.Popen(
            [*bound, *command],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT if stream else None,
            env={**os.environ, **environment},
            cwd=folder,
        )
