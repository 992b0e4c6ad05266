"""Where candidates run: as processes on this machine's devices, or on the slots of a Ray cluster.

The command is the same on both, so are its bits.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from pathoprog.errors import ConfigError
from pathoprog.system.children import spawn
from pathoprog.system.machine.cores import cores
from pathoprog.system.machine.device_choice import worker_devices
from pathoprog.system.ray_cluster import Cluster
from pathoprog.training.config import TrainEnsembleConfig


class Running(Protocol):
    """A candidate's process, wherever it is."""

    def poll(self) -> int | None:
        """Exit code (negative for a signal), or None while it runs."""

    def kill(self) -> None:
        """End it at once."""


class Launcher(Protocol):
    """What runs candidates."""

    def take(self, running: int) -> str:
        """Device of a free slot while `running` candidates run, '' if there is none."""

    def start(self, module: str, arguments: list[str], log: Path, threads: int, device: str) -> Running:
        """Run a module as a process on the slot; its output is appended to `log`."""

    def free(self, device: str) -> None:
        """Give a slot back."""


class LocalEngine:
    """Processes of this machine, each on its slot's device; they end with this process."""

    def __init__(self, devices: list[str]):
        self.devices = list(devices)

    def take(self, running: int) -> str:
        """See `Launcher`."""
        return self.devices.pop(0) if self.devices else ""

    def start(self, module: str, arguments: list[str], log: Path, threads: int, device: str) -> Running:
        """See `Launcher`."""
        return spawn([sys.executable, "-m", module, *arguments], log, process_variables(threads, device == "cpu"))

    def free(self, device: str) -> None:
        """See `Launcher`."""
        self.devices.append(device)


class RayEngine:
    """Slots of a Ray cluster: a GPU each where it has any, else CPUs. Nodes that join on the way are used.

    Args:
        cluster: entered.
        device: ``auto`` or ``cpu``.
        threads: CPUs of a slot.
        most: candidates at once; 0 = as many as there are slots.

    Raises:
        ConfigError: a slot that the cluster does not have.
    """

    def __init__(self, cluster: Cluster, device: str, threads: int, most: int):
        capacity = cluster.capacity()
        self.cluster, self.threads, self.most = cluster, threads, most
        self.gpus = int(device == "auto" and capacity["GPU"] > 0)
        if not self._slots():
            raise ConfigError(f"fit.threads={threads}: the Ray cluster has {capacity['CPU']} CPUs")

    def _slots(self) -> int:
        capacity = self.cluster.capacity()
        there = min(capacity["CPU"] // self.threads, capacity["GPU"] if self.gpus else capacity["CPU"])
        return min(there, self.most) if self.most else there

    def take(self, running: int) -> str:
        """See `Launcher`."""
        if running >= max(1, self._slots()):  # at least one waits for nodes that are gone for the moment
            return ""
        return "cuda:0" if self.gpus else "cpu"  # of those that the slot shows

    def start(self, module: str, arguments: list[str], log: Path, threads: int, device: str) -> Running:
        """See `Launcher`."""
        return self.cluster.start(
            ["python", "-m", module, *arguments], log, process_variables(threads, not self.gpus), threads, self.gpus
        )

    def free(self, device: str) -> None:
        """See `Launcher`; Ray counts for itself."""


@contextmanager
def engine_of(settings: TrainEnsembleConfig) -> Iterator[Launcher]:
    """The engine that the settings ask for.

    Raises:
        ConfigError: `engine=ray` with a device of this machine; see also `pathoprog.system.ray_cluster.Cluster`.
    """
    if settings.engine == "local":
        yield LocalEngine(local_devices(settings.device, settings.workers, settings.fit.threads))
        return
    if settings.device not in ("auto", "cpu"):
        raise ConfigError(f"device={settings.device}: Ray deals out the devices; give device=auto or device=cpu")
    with Cluster(settings.ray.address) as cluster:
        yield RayEngine(cluster, settings.device, settings.fit.threads, settings.workers)


def local_devices(device: str, workers: int, threads: int) -> list[str]:
    """The device of each worker of this machine; by default one for each GPU, or for each `threads` cores."""
    return worker_devices(device, workers, max(1, cores() // threads))


def process_variables(threads: int, on_cpu: bool) -> dict[str, str]:
    """Environment of a candidate: equal settings give equal bits only with equal threads."""
    variables = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    if on_cpu:  # glibc would give large activations back at once and fetch zeroed pages anew; the bits stay the same
        variables |= {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**34)}
    return variables


def how_ended(process: Running, code: int) -> str:
    """How a process ended, in words."""
    if code < 0:
        return f"signal {signal.Signals(-code).name}"
    return getattr(process, "reason", "") or f"exit code {code}"
