"""The engine's lines to its workers: as processes of this machine, or through Ray on the nodes of a cluster.

On both the worker is the same process (`pathoprog.inference.engine.worker`), told and heard in the same messages. Ray
places it, and carries ids, settings and results' texts; it tries nothing again.
"""

import contextlib
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

import pathoprog
from pathoprog import __version__
from pathoprog.ensemble.bundle import read_manifest
from pathoprog.ensemble.tuning_basis import locked_precision
from pathoprog.errors import ConfigError
from pathoprog.inference.config import ScoreConfig
from pathoprog.system.machine.cores import cores
from pathoprog.system.machine.device_choice import choose_device, worker_devices
from pathoprog.text.plain_text import log_end

POLL_S = 0.25
LOG_CHARS = 600
LOG_BYTES = 16 << 10  # that are looked at for them: tracebacks take most
PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from pathoprog.inference.engine.worker import main; main(int(sys.argv[2]))"
)

Message = Any
"""`Start` first, then tuples of a kind and its values: see `pathoprog.inference.engine.worker.Worker`."""


class WorkerLink(Protocol):
    """To one worker."""

    def send(self, message: Message) -> None:
        """Tell it something; if it has died, the next hearing says so."""

    def end(self) -> str:
        """End it at once, and say how it ended and what it last wrote."""


class Transport(Protocol):
    """Starts workers and hears them.

    Attributes:
        devices: one per worker.
        cores: CPU cores that each may use.
    """

    devices: list[str]
    cores: int

    def start(self) -> WorkerLink:
        """Start a worker; what it is to do is the first thing to tell it."""

    def hear(self, lines: Sequence[Any], timeout_s: float) -> list[tuple[Any, Message]]:
        """What workers said, or None where one is gone; waits for the first word up to `timeout_s`."""


class WorkerProcess:
    """A worker as a child of this process; it ends when this process does."""

    def __init__(self) -> None:
        root = Path(pathoprog.__file__).resolve().parents[1]
        ours, theirs = socket.socketpair()
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by end, it lives as long as the process
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(root), str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=self.log,
                stderr=self.log,
            )
        self.connection = Connection(ours.detach())

    def send(self, message: Message) -> None:
        """See `WorkerLink`."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(message)

    def receive(self) -> Message:
        """Its next message, or None if it is gone."""
        try:
            message: Message = self.connection.recv()
        except (EOFError, ConnectionResetError, BrokenPipeError):
            return None
        return message

    def end(self) -> str:
        """See `WorkerLink`."""
        self.process.kill() if self.process.poll() is None else None
        code = self.process.wait()
        self.connection.close()
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        with self.log:
            self.log.seek(max(0, self.log.seek(0, os.SEEK_END) - LOG_BYTES))
            text = log_end(self.log.read().decode(errors="replace"), LOG_CHARS)
        return f"{how}{': … ' + text if text else ''}"


class LocalCrew:
    """Workers on this machine's devices."""

    def __init__(self, devices: list[str]):
        self.devices = devices
        self.cores = max(1, cores() // len(devices))

    def start(self) -> WorkerProcess:
        """See `Transport`."""
        return WorkerProcess()

    def hear(self, lines: Sequence[WorkerProcess], timeout_s: float) -> list[tuple[WorkerProcess, Message]]:
        """See `Transport`."""
        ready = wait([line.connection for line in lines], timeout=timeout_s)
        return [(line, line.receive()) for line in lines if line.connection in ready]


class Relay:
    """A Ray actor: on its node it starts the worker, and passes messages on."""

    def __init__(self, folder: str, version: str):
        self.refusal = ""
        where = socket.gethostname()
        if version != __version__:
            self.refusal = f"{where}: has pathoprog {__version__}, the run was started with {version}"
        elif not Path(folder).is_dir():
            self.refusal = f"{where}: does not see {folder}: every node needs the shared folder"
        else:
            os.chdir(folder)
            self.worker = WorkerProcess()

    def exchange(self, messages: list[Message]) -> list[Message]:
        """Tell the worker `messages`; returns what it has said, waiting a moment for the first word.

        The last word of one that is gone is ``died, how``.
        """
        if self.refusal:
            return [("refused", self.refusal)]
        for message in messages:
            self.worker.send(message)
        heard: list[Message] = []
        while self.worker.connection.poll(0 if heard else POLL_S):
            said = self.worker.receive()
            heard.append(("died", self.worker.end()) if said is None else said)
            if said is None:
                break
        return heard


class RayLine:
    """To a worker on some node: one call of its relay is always under way, and takes along what is to be told."""

    def __init__(self, ray: Any, relay: Any):
        self.ray, self.relay = ray, relay
        self.waiting: list[Message] = []
        self.call: Any = None
        self.how = ""

    def send(self, message: Message) -> None:
        """See `WorkerLink`."""
        self.waiting.append(message)

    def exchange(self) -> Any:
        """The call under way, begun now if there is none."""
        if self.call is None:
            self.call, self.waiting = self.relay.exchange.remote(self.waiting), []
        return self.call

    def receive(self) -> list[Message]:
        """What the finished call brought; None last if the worker is gone."""
        call, self.call = self.call, None
        try:
            messages: list[Message] = self.ray.get(call)
        except self.ray.exceptions.RayError as error:
            self.how = f"Ray: {type(error).__name__}: {log_end(str(error), LOG_CHARS)}"
            return [None]
        if messages and messages[-1] is not None and messages[-1][0] == "died":
            self.how = messages[-1][1]
            messages[-1] = None
        return messages

    def end(self) -> str:
        """See `WorkerLink`."""
        self.ray.kill(self.relay)  # the worker sees its socket close, and ends too
        return self.how or "ended by the engine"


class RayCrew:
    """Workers on the slots of a Ray cluster: a GPU each where there is any, else CPUs.

    Args:
        cluster: entered.
        workers: how many; 0: one per GPU, without any one per node.
        gpus: use GPUs.

    Raises:
        ConfigError: the cluster has not so many slots.
    """

    def __init__(self, cluster: Any, workers: int, gpus: bool):
        self.cluster, self.ray = cluster, cluster.ray
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        self.gpus = int(gpus)
        n, self.cores = slots(nodes, workers, gpus)
        self.devices = ["cuda:0" if gpus else "cpu"] * n  # of those that the slot shows

    def start(self) -> RayLine:
        """See `Transport`."""
        relay = self.cluster.actor(Relay, str(Path.cwd()), __version__, cpus=self.cores, gpus=self.gpus)
        return RayLine(self.ray, relay)

    def hear(self, lines: Sequence[RayLine], timeout_s: float) -> list[tuple[RayLine, Message]]:
        """See `Transport`."""
        calls = {line.exchange(): line for line in lines}
        first, rest = self.ray.wait(list(calls), timeout=timeout_s)
        more = self.ray.wait(rest, num_returns=len(rest), timeout=0)[0] if first and rest else []
        return [(calls[call], message) for call in (*first, *more) for message in calls[call].receive()]


def slots(nodes: list[dict[str, float]], workers: int, gpus: bool) -> tuple[int, int]:
    """How many workers a cluster takes, and how many CPUs each of them gets.

    Args:
        nodes: resources of each, ``CPU`` and ``GPU``.
        workers: how many; 0: one per GPU, without any one per node.
        gpus: a GPU each.

    Raises:
        ConfigError: more workers than slots.
    """
    if gpus:
        there = [(int(node.get("CPU", 0)), int(node["GPU"])) for node in nodes if node.get("GPU")]
        total = sum(gpu for _, gpu in there)
        n, cpus = workers or total, min(cpu // gpu for cpu, gpu in there)
    else:
        there = [(int(node.get("CPU", 0)), 0) for node in nodes if node.get("CPU")]
        total = sum(cpu for cpu, _ in there)
        n = workers or len(there)
        cpus = min(cpu for cpu, _ in there) // math.ceil(n / len(there))
    if n > total or cpus < 1:
        raise ConfigError(f"workers={workers}: the Ray cluster has {total} {'GPUs' if gpus else 'CPUs'} for them")
    return n, cpus


@contextmanager
def transport_of(config: ScoreConfig) -> Iterator[Transport]:
    """The crew that the settings ask for.

    Raises:
        ConfigError: `engine=ray` with a device of this machine, or with a precision or a runtime that only this
            machine's device would decide; see also `pathoprog.system.ray_cluster.Cluster`.
    """
    if config.engine == "local":
        yield LocalCrew(worker_devices(config.device, config.workers))
        return
    from pathoprog.system.ray_cluster import Cluster

    if config.device not in ("auto", "cpu"):
        raise ConfigError(f"device={config.device}: Ray deals out the devices; give device=auto or device=cpu")
    own_slots = max(config.workers, cores())
    with Cluster(config.ray.address, own_slots) as cluster:
        gpus = config.device == "auto" and cluster.capacity()["GPU"] > 0
        only_there = gpus and choose_device() == "cpu"
        if only_there and config.dtype == "auto" and not locked_precision(read_manifest(config.ensemble)):
            raise ConfigError(
                "dtype=auto is decided on this machine, which has no GPU, unlike the cluster: give dtype=bf16"
            )
        if only_there and config.runtime == "auto":
            raise ConfigError(
                "runtime=auto is decided on this machine, which has no GPU, unlike the cluster: give runtime=torch"
            )
        yield RayCrew(cluster, config.workers, gpus)
