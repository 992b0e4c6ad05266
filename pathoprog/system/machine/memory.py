"""How much memory this machine has for this process: what the system says, and no more than its container's share."""

from pathlib import Path

MEMINFO = Path("/proc/meminfo")
CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")
STATUS = Path("/proc/self/status")
UNLIMITED = 2**62
"""Version 1 of control groups writes a number like this where there is no limit."""


def memory_bytes(meminfo: Path = MEMINFO, cgroups: Path = CGROUPS, own_groups: Path = OWN_GROUPS) -> tuple[int, int]:
    """All the memory there is for this process, and how much of it is free or can be freed; (0, 0) if nobody says.

    The system's are ``MemTotal`` and ``MemAvailable`` (proc(5)); a container's are its control groups' limit and what
    is left of it (the Linux kernel's admin guide, "Control Group v2": ``memory.max``, ``memory.current``; version 1:
    ``memory.limit_in_bytes``, ``memory.usage_in_bytes``). The least of them counts.

    Args:
        meminfo: the system's figures.
        cgroups: where control groups are mounted.
        own_groups: the kernel's list of this process's groups.
    """
    try:
        rows = dict(line.split(":", 1) for line in meminfo.read_text(encoding="ascii").splitlines() if ":" in line)
        total, free = (1024 * int(rows[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
    except (OSError, ValueError, KeyError, IndexError):  # no Linux
        return 0, 0
    for group in _groups(cgroups, own_groups):
        for most, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            limit = _number(group / most)
            if limit is not None and limit < UNLIMITED:
                total = min(total, limit)
                free = min(free, max(0, limit - (_number(group / used) or 0)))
    return total, free


def peak_bytes(status: Path = STATUS) -> int:
    """The most memory that this process has held so far, ``VmHWM`` of proc(5); 0 if nobody says.

    (`getrusage` would count what the parent held when it started this process.)
    """
    try:
        rows = dict(line.split(":", 1) for line in status.read_text(encoding="ascii", errors="replace").splitlines())
        return 1024 * int(rows["VmHWM"].split()[0])
    except (OSError, ValueError, KeyError, IndexError):  # no Linux
        return 0


def _groups(cgroups: Path, own_groups: Path) -> list[Path]:
    """The control groups that this process's memory is counted in."""
    try:
        lines = own_groups.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        root = cgroups / "memory" if controllers else cgroups
        own = Path(path.lstrip("/"))
        found += [root / part for part in (own, *own.parents)]
    return found


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # not there, or "max"
        return None
