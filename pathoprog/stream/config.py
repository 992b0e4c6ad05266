"""Settings of the reader processes."""

from dataclasses import dataclass

from pathoprog.settings import setting


@dataclass
class StreamSettings:
    """How slides are read: processes, threads, and the limits that keep one slide from ending the rest."""

    workers: int = setting(0, "reader processes (0: one per core)", low=0, high=256)
    threads: int = setting(1, "threads inside each reader", low=1, high=64)
    batch_tiles: int = setting(64, "most tiles handed over at once", low=1, high=4096)
    buffer_mib: int = setting(128, "shared memory of each reader for tiles on their way, MiB", low=1, high=65536)
    timeout_s: float = setting(120.0, "seconds without progress after which a reader is ended", low=0.1, high=86400)
    memory_mib: int = setting(4096, "memory limit of each reader, MiB (0: none)", low=0)
