"""Settings of the reader processes."""

from dataclasses import dataclass

from pathoprog.settings import setting


@dataclass
class StreamSettings:
    """How slides are read: processes, threads, and the limits that keep one slide from ending the rest."""

    workers: int = setting(0, "reader processes (0: one per core)", low=0, high=256)
    threads: int = setting(1, "threads inside each reader", low=1, high=64)
    batch_tiles: int = setting(64, "largest number of tiles in one batch", low=1, high=4096)
    buffer_mib: int = setting(128, "shared memory of each reader for tiles, MiB", low=1, high=65536)
    timeout_s: float = setting(120.0, "end a reader that makes no progress for this many seconds", low=0.1, high=86400)
    memory_mib: int = setting(4096, "memory limit of each reader, MiB (0: none)", low=0)
