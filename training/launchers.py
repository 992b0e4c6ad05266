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
from pathoprog.system.machine.device_choice import choose_device, cuda_devices, worker_devices
from pathoprog.system.ray_cluster import Cluster
from pathoprog.training.config import CandidateSettings, TrainEnsembleConfig

NO_GPU = "{} has no GPU; leave fit.gpus out, or give device=cpu to have as many processes on the CPU"


class Running(Protocol):
    """A candidate's process, wherever it is."""

    def poll(self) -> int | None:
        """Exit code (negative for a signal), or None while it runs."""

    def kill(self) -> None:
        """End it at once."""


class Launcher(Protocol):
    """What runs candidates."""

    def slots(self) -> int:
        """How many candidates can run at once, while none does."""

    def take(self, running: int) -> str:
        """First device of a free slot while `running` candidates run, '' if there is none."""

    def start(self, module: str, arguments: list[str], log: Path, threads: int, device: str) -> Running:
        """Run a module as a process on the slot; its output is appended to `log`."""

    def free(self, device: str) -> None:
        """Give a slot back."""


class LocalEngine:
    """Processes of this machine, each on its slot's device; they end with this process."""

    def __init__(self, devices: list[str]):
        self.devices = list(devices)

    def slots(self) -> int:
        """See `Launcher`."""
        return len(self.devices)

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
    """Slots of a Ray cluster: GPUs of one node where it has any, else CPUs. Nodes that join on the way are used.

    Args:
        cluster: entered.
        device: ``auto`` or ``cpu``.
        threads: CPUs of each of a candidate's processes.
        most: candidates at once; 0 = as many as there are slots.
        together: processes of a candidate, each with a GPU where there are any.

    Raises:
        ConfigError: a slot that no node of the cluster has.
    """

    def __init__(self, cluster: Cluster, device: str, threads: int, most: int, together: int = 1):
        nodes = cluster.nodes()
        self.cluster, self.cpus, self.most = cluster, threads * together, most
        self.gpus = together if device == "auto" and any(node["GPU"] for node in nodes) else 0
        if together > 1 and device != "cpu" and not self.gpus:
            raise ConfigError(f"fit.gpus={together}: {NO_GPU.format('the Ray cluster')}")
        if not self.slots():
            largest = {name: max((node[name] for node in nodes), default=0) for name in ("CPU", "GPU")}
            wanted = f"{self.cpus} CPUs" + (f" and {self.gpus} GPUs" if self.gpus else "")
            raise ConfigError(
                f"fit.threads={threads}, fit.gpus={together}: a candidate needs {wanted} of one node, and the Ray"
                f" cluster's largest have {largest['CPU']} CPUs and {largest['GPU']} GPUs"
            )

    def slots(self) -> int:
        """See `Launcher`."""
        there = 0
        for node in self.cluster.nodes():
            by_cpus = node["CPU"] // self.cpus
            there += min(by_cpus, node["GPU"] // self.gpus) if self.gpus else by_cpus
        return min(there, self.most) if self.most else there

    def take(self, running: int) -> str:
        """See `Launcher`."""
        if running >= max(1, self.slots()):  # at least one waits for nodes that are gone for the moment
            return ""
        return "cuda:0" if self.gpus else "cpu"  # of those that the slot shows

    def start(self, module: str, arguments: list[str], log: Path, threads: int, device: str) -> Running:
        """See `Launcher`."""
        return self.cluster.start(
            ["python", "-m", module, *arguments], log, process_variables(threads, not self.gpus), self.cpus, self.gpus
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
        fit = settings.fit
        yield LocalEngine(local_devices(settings.device, settings.workers, fit.threads, fit.gpus))
        return
    if settings.device not in ("auto", "cpu"):
        raise ConfigError(f"device={settings.device}: Ray deals out the devices; give device=auto or device=cpu")
    with Cluster(settings.ray.address) as cluster:
        yield RayEngine(cluster, settings.device, settings.fit.threads, settings.workers, settings.fit.gpus)


def settle_devices(settings: CandidateSettings) -> None:
    """Turn `fit.gpus=0` into the number of GPUs, and refuse a number that is not there.

    Raises:
        ConfigError: names the keys.
    """
    if isinstance(settings, TrainEnsembleConfig) and settings.engine == "ray":
        if settings.fit.gpus == 0:
            raise ConfigError("fit.gpus=0: with engine=ray say how many GPUs of a node each candidate takes")
    elif settings.fit.gpus != 1:
        settings.fit.gpus = len(devices_together(settings.device, settings.fit.gpus))


def devices_together(device: str, gpus: int) -> list[str]:
    """The devices of this machine that train one candidate together.

    Args:
        device: the setting; ``cuda:N`` is the first of them, the others follow.
        gpus: how many; 0: all from the first on, and one process on a CPU. With ``cpu`` itself: processes.

    Raises:
        ConfigError: more than there are.
    """
    first = choose_device(device)
    if first == "cpu":
        if gpus > 1 and device != "cpu":
            raise ConfigError(f"fit.gpus={gpus}: {NO_GPU.format('this machine')}")
        return ["cpu"] * max(1, gpus)
    start, there = int(first.partition(":")[2]), cuda_devices()
    if start + gpus > there:
        where = f" from {first} on" if start else ""
        raise ConfigError(
            f"fit.gpus={gpus}: this machine has {there - start} GPUs{where}; give at most as many, or 0 for all of them"
        )
    return [f"cuda:{index}" for index in range(start, start + gpus if gpus else there)]


def local_devices(device: str, workers: int, threads: int, gpus: int = 1) -> list[str]:
    """The first device of each worker of this machine.

    Args:
        device: the setting.
        workers: how many; 0: one for each `gpus` GPUs, or for each `threads` times `gpus` cores.
        threads: of each process.
        gpus: devices that each worker takes, next to one another.

    Raises:
        ConfigError: devices that are not there.
    """
    on_cpu = max(1, cores() // (threads * gpus))
    if gpus == 1:
        return worker_devices(device, workers, on_cpu)
    first = devices_together(device, gpus)[0]
    if first == "cpu" or device != "auto":
        return [first] * (workers or (on_cpu if first == "cpu" else 1))
    apart = cuda_devices() // gpus
    return [f"cuda:{index % apart * gpus}" for index in range(workers or apart)]


def process_variables(threads: int, on_cpu: bool) -> dict[str, str]:
    """Environment of a candidate: equal settings give equal bits only with equal threads."""
    variables = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    if on_cpu:  # glibc would give large activations back at once and fetch zeroed pages anew; the bits stay the same
        variables |= {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**34)}
    return variables


def how_ended(code: int, process: Running | None = None) -> str:
    """How a process ended, in words; it may have a reason of its own."""
    if code < 0:
        return f"signal {signal.Signals(-code).name}"
    return getattr(process, "reason", "") or f"exit code {code}"
