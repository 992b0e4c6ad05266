"""Ray Core for one run: a cluster of this machine's or a running one, commands on its slots, actors; nothing hidden.

Ray never tries anything again by itself here: whoever starts work counts the attempts. Ray is imported when a cluster
is entered, never before.
"""

import ipaddress
import logging
import os
import secrets
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any

from pathoprog import __version__
from pathoprog.errors import ConfigError, InputError
from pathoprog.system.children import spawn
from pathoprog.system.machine.cores import cores
from pathoprog.system.machine.extras import how_to_install, installed

OBJECT_STORE_BYTES = 80 * 2**20
"""Ids, paths and settings are all that travels; Ray takes a file in /tmp where /dev/shm is too small for this."""
FIRST_WITH_TOKENS = (2, 52)
TOKEN = secrets.token_hex(32)
"""Of the clusters that this process starts; one for all of them, since Ray reads it once."""
REFUSED = 2
"""Exit code of a command that a node could not start, as of one whose input is wrong: trying again changes nothing."""


class Cluster:
    """A Ray cluster while a run lasts: ``with Cluster(settings.ray.address) as cluster: …``.

    Args:
        address: ``HOST:PORT`` of a running cluster that this machine is part of; empty starts one of this machine
            alone, on the loopback interface, with a token of its own, and ends it with the run.
        cpus: slots of a cluster started here; 0 = the cores this process may use.

    Raises:
        ConfigError: Ray is not installed; an address without a port, or beyond this machine without a token.
        InputError: no cluster at the address (on entering).
    """

    def __init__(self, address: str = "", cpus: int = 0):
        if not installed("ray"):
            raise ConfigError(f"engine=ray, but Ray is not installed: {how_to_install('ray')}, or give engine=local")
        self.address = address
        self.cpus = cpus or cores()
        self.folder: Path | None = None
        self.ray: Any = None
        if address:
            _check_address(address)

    def __enter__(self) -> "Cluster":
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            self._join() if self.address else self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.ray is not None:
            self.ray.shutdown()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> None:
        # Ray's own switch (named after the systems where it is the default) for a node on 127.0.0.1 alone. It is read
        # when Ray is imported; so is the rest.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        os.environ["RAY_OBJECT_STORE_ALLOW_SLOW_STORAGE"] = "1"
        os.environ["RAY_AUTH_MODE"] = "token"
        # For an empty one Ray would take, or write, a file at home.
        os.environ["RAY_AUTH_TOKEN"] = os.environ.get("RAY_AUTH_TOKEN") or TOKEN
        import ray

        self.ray = ray
        # Ray's logs hold paths: for the owner alone (Ray opens its own folder to all), and gone with the run.
        base = tempfile.gettempdir()
        short = base if len(base) <= 12 else "/tmp"  # noqa: S108  # mkdtemp makes 0700; a socket's path has 107 bytes
        self.folder = Path(tempfile.mkdtemp(prefix="pathoprog-ray-", dir=short))
        ray.init(
            address="local",
            num_cpus=self.cpus,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=str(self.folder / "ray"),
        )
        found = self.ray.util.get_node_ip_address()
        if not ipaddress.ip_address(found).is_loopback:  # Ray was imported before, without the switch
            raise ConfigError(f"Ray listens on {found}, not on the loopback interface: start the command anew")

    def _join(self) -> None:
        import ray

        self.ray = ray
        version = tuple(int(part) for part in ray.__version__.split(".")[:2])
        if not _is_loopback(self.address.rpartition(":")[0]) and version < FIRST_WITH_TOKENS:
            raise ConfigError(f"Ray {ray.__version__} knows no tokens: beyond one machine Ray 2.52 or newer is needed")
        try:
            ray.init(address=self.address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            raise InputError(
                f"ray.address={self.address}: cannot be joined from here ({' '.join(str(error).split())[:300]});"
                " `ray status` tells whether it runs; this machine must be one of its nodes, with its token"
            ) from error

    def capacity(self) -> dict[str, int]:
        """CPUs and GPUs of the nodes that are there now: ``{"CPU": n, "GPU": m}``."""
        found = self.ray.cluster_resources()
        return {name: int(found.get(name, 0)) for name in ("CPU", "GPU")}

    def nodes(self) -> list[dict[str, int]]:
        """CPUs and GPUs of each node that is there now: ``[{"CPU": n, "GPU": m}, …]``."""
        alive = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        return [{name: int(found.get(name, 0)) for name in ("CPU", "GPU")} for found in alive]

    def start(
        self, command: list[str], log: str | Path, environment: dict[str, str], cpus: int, gpus: int
    ) -> "RunningCommand":
        """Run a command on a slot of some node, as a process of its own that ends with the slot's.

        It runs in this process's current folder and writes `log`, which must exist on the node under the same names
        (a shared folder), as must this version of pathoprog.

        Args:
            command: program and arguments; the program ``python`` is the node's.
            log: file that its output is appended to.
            environment: further variables.
            cpus: CPUs of the slot.
            gpus: GPUs of the slot; the command sees no others.
        """
        task = self.ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(_run)
        reference = task.remote(command, str(Path(log).absolute()), environment, str(Path.cwd()), __version__)
        return RunningCommand(self.ray, reference)

    def actor(self, cls: type, *arguments: Any, cpus: int, gpus: int) -> Any:
        """An actor of a class on a slot of some node, never restarted by Ray, none of its calls repeated.

        Returns:
            Ray's handle: ``cluster.ray.get(handle.method.remote(…))``; `cluster.ray.kill` ends it.
        """
        made = self.ray.remote(num_cpus=cpus, num_gpus=gpus, max_restarts=0, max_task_retries=0)(cls)
        return made.remote(*arguments)


class RunningCommand:
    """A command that a cluster runs, with the face of `subprocess.Popen`: `poll`, `kill`.

    Attributes:
        reason: where it ended without an exit code of its own, why (its node was lost, say).
    """

    def __init__(self, ray: Any, reference: Any):
        self.ray, self.reference = ray, reference
        self.reason = ""

    def poll(self) -> int | None:
        """Exit code, negative for a signal, 1 where its slot was lost; None while it runs or waits for a slot."""
        done, _ = self.ray.wait([self.reference], timeout=0)
        if not done:
            return None
        try:
            code, self.reason = self.ray.get(self.reference)
        except self.ray.exceptions.RayError as error:
            self.reason = f"Ray: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
            return 1
        return int(code)

    def kill(self) -> None:
        """End it at once."""
        self.ray.cancel(self.reference, force=True)


def _run(command: list[str], log: str, environment: dict[str, str], folder: str, version: str) -> tuple[int, str]:
    """On the node: run a command to its end; returns its exit code, and the reason where it could not start."""
    import sys

    where = socket.gethostname()
    if version != __version__:
        return REFUSED, f"{where}: has pathoprog {__version__}, the run was started with {version}"
    if not Path(folder).is_dir() or not Path(log).parent.is_dir():
        return REFUSED, f"{where}: does not see {folder} and {Path(log).parent}: every node needs the shared folder"
    program = [sys.executable if command[0] == "python" else command[0], *command[1:]]
    return spawn(program, log, environment, folder).wait(), ""


def _check_address(address: str) -> None:
    """Refuse an address that is none, or that leads beyond this machine without a token."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(f"ray.address={address!r}: must be HOST:PORT, as `ray start --head` prints it")
    if _is_loopback(host):
        return
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    mode = os.environ.setdefault("RAY_AUTH_MODE", "token")
    if mode != "token" or not (os.environ.get("RAY_AUTH_TOKEN") or path.is_file()):
        raise ConfigError(
            f"ray.address={address}: a cluster beyond this machine needs token authentication: RAY_AUTH_MODE=token and"
            " the cluster's token in RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token (docs/cluster.md)"
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
