"""Whether the service lives and is ready, from the snapshot."""

import time
from typing import Literal

from pathoprog.inference.service.work.snapshot import Snapshot

SILENT_S = 60.0
"""The conductor turns every quarter of a second; a slow disk may keep it, but not for so long."""

Readiness = Literal["ok", "starting", "stopping", "trouble"]


def is_alive(snapshot: Snapshot) -> bool:
    """Whether the conductor has turned lately."""
    return time.monotonic() - snapshot.health.alive_at < SILENT_S


def readiness(snapshot: Snapshot) -> Readiness:
    """``ok`` where every bundle has a worker that is ready; slides are taken in while others still start."""
    if snapshot.health.stopping:
        return "stopping"
    if snapshot.health.trouble or not is_alive(snapshot) or any(one.trouble for one in snapshot.bundles.values()):
        return "trouble"
    return "ok" if all(one.ready for one in snapshot.bundles.values()) else "starting"
