"""How many cores this process may use: those of its affinity, and no more than its container's share of CPU time."""

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


def cores() -> int:
    """Cores for this process, at least 1; a share of 1.5 cores counts as 2."""
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # no Linux
        allowed = os.cpu_count() or 1
    share = quota(CGROUPS, OWN_GROUPS)
    return allowed if math.isinf(share) else max(1, min(allowed, math.ceil(share)))


def quota(cgroups: Path, own_groups: Path) -> float:
    """The least share of CPU time, in cores, that a control group above this process sets; infinite where none does.

    Version 2 keeps it in ``cpu.max``, version 1 in ``cpu.cfs_quota_us`` and ``cpu.cfs_period_us`` (the Linux kernel's
    admin guide, "Control Group v2" and "CFS Bandwidth Control"). In a container the path that the kernel names may lie
    outside of what is mounted; the mount's own root is then the container's group.

    Args:
        cgroups: where control groups are mounted.
        own_groups: the kernel's list of this process's groups, a line ``id:controllers:path`` each.
    """
    try:
        lines = own_groups.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return math.inf
    found = [math.inf]
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            root, read = cgroups, _share_v2
        elif "cpu" in controllers.split(","):
            root, read = cgroups / ("cpu" if (cgroups / "cpu").is_dir() else controllers), _share_v1
        else:
            continue
        own = Path(path.lstrip("/"))
        found += [read(root / part) for part in (own, *own.parents)]
    return min(found)


def _share_v2(group: Path) -> float:
    try:
        limit, period = (group / "cpu.max").read_text(encoding="ascii").split()
        return math.inf if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def _share_v1(group: Path) -> float:
    try:
        limit = int((group / "cpu.cfs_quota_us").read_text(encoding="ascii"))
        period = int((group / "cpu.cfs_period_us").read_text(encoding="ascii"))
        return limit / period if limit > 0 else math.inf
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
