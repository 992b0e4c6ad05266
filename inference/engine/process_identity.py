"""Who is who among processes of one host, so that work of the dead is taken over and that of the living is not."""

import os
from pathlib import Path

import psutil


def boot_id() -> str:
    """Names the time since the machine started: monotonic clocks are compared only within it."""
    file = Path("/proc/sys/kernel/random/boot_id")
    return file.read_text().strip() if file.is_file() else str(round(psutil.boot_time()))


def namespace() -> str:
    """Names the set of processes that this one can see: two containers do not see each other's."""
    file = Path("/proc/self/ns/pid")
    return str(file.readlink()) if file.is_symlink() else ""


def this_process() -> str:
    """Names this process, also after its number was given to another one."""
    return f"{os.getpid()}@{psutil.Process().create_time():.2f}@{namespace()}"


def is_alive(owner: str) -> bool:
    """Whether the process that `this_process` named still runs, as far as can be seen from here.

    One of another container counts as alive: its leases end with their time.
    """
    pid, started, seen_from = [*owner.split("@"), "", ""][:3]
    if started and seen_from != namespace():
        return True
    try:
        process = psutil.Process(int(pid))
        return process.status() != psutil.STATUS_ZOMBIE and f"{process.create_time():.2f}" == started
    except (psutil.Error, ValueError):
        return False
