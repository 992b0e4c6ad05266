"""Ray: what it refuses, and a cluster of this machine that runs commands and actors and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pathoprog import __version__
from pathoprog.errors import ConfigError
from pathoprog.system import ray_cluster
from pathoprog.system.children import spawn
from pathoprog.system.console import Progress
from pathoprog.system.ray_cluster import Cluster

WAIT_S = 60


def until(holds) -> None:
    end = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def ended(command) -> int:
    until(lambda: command.poll() is not None)
    return command.poll()


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("address", ["head", "head:", ":6379", "ray://head"])
def test_an_address_needs_a_host_and_a_port(address: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        Cluster(address)


def test_another_machine_needs_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    for host in ("10.0.0.7", "head.example"):
        with pytest.raises(ConfigError, match="token authentication"):
            Cluster(f"{host}:6379")
    Cluster("127.0.0.1:6379")
    Cluster("localhost:6379")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    Cluster("10.0.0.7:6379")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(ConfigError, match="RAY_AUTH_MODE=token"):
        Cluster("10.0.0.7:6379")


def test_without_ray_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'pathoprog\[ray\]'"):
        Cluster()


def test_a_child_ends_with_its_parent_even_by_sigkill(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathoprog.system.children import spawn\n"
        "child = spawn([sys.executable, '-c', 'import time; time.sleep(600)'], 'log.txt', {})\n"
        "print(child.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        child = int(parent.stdout.readline())
    assert not gone(child)
    parent.kill()
    parent.wait()
    until(lambda: gone(child))


def test_a_child_gets_its_variables_and_writes_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import os; print(os.environ['WORD'], os.getcwd()); raise SystemExit(3)"]
    child = spawn(command, tmp_path / "log.txt", {"WORD": "tile"}, tmp_path)
    assert child.wait() == 3
    assert (tmp_path / "log.txt").read_text() == f"tile {tmp_path}\n"


def test_a_start_that_fails_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(**_: object) -> None:
        raise RuntimeError("no room")

    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):  # so that they are restored
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # the next line imports Ray, which reads it then
    monkeypatch.setattr("ray.init", fails)
    cluster = Cluster(cpus=1)
    with pytest.raises(RuntimeError, match="no room"), cluster:
        pass
    assert cluster.folder is not None and not cluster.folder.exists()
    assert os.environ["RAY_AUTH_TOKEN"] == ray_cluster.TOKEN, "for an empty one Ray would write a file at home"


def test_a_node_refuses_another_version_and_a_folder_that_it_does_not_see(tmp_path: Path) -> None:
    command, log = ["python", "-c", "raise SystemExit(5)"], str(tmp_path / "log.txt")
    code, reason = ray_cluster._run(command, log, {}, str(tmp_path), "0.0.0")
    assert code == ray_cluster.REFUSED and "started with 0.0.0" in reason
    code, reason = ray_cluster._run(command, log, {}, str(tmp_path / "elsewhere"), __version__)
    assert code == ray_cluster.REFUSED and "shared folder" in reason
    assert ray_cluster._run(command, log, {}, str(tmp_path), __version__) == (5, "")


@pytest.mark.slow
def test_a_cluster_of_this_machine_runs_commands_and_actors_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    me = psutil.Process()
    sleep = ["python", "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(600)"]
    with Cluster(cpus=2) as cluster:
        assert cluster.capacity() == {"CPU": 2, "GPU": 0} or cluster.capacity()["GPU"] > 0
        ports = [
            port.laddr.ip
            for process in [me, *me.children(recursive=True)]
            for port in process.net_connections("inet")
            if port.status == psutil.CONN_LISTEN
        ]
        assert ports and all(ip in ("127.0.0.1", "::1", "::ffff:127.0.0.1") for ip in ports)
        assert cluster.folder is not None and cluster.folder.stat().st_mode & 0o777 == 0o700

        print_word = ["python", "-c", "import os; print(os.environ['WORD'], os.getcwd()); raise SystemExit(7)"]
        assert ended(cluster.start(print_word, "log.txt", {"WORD": "bag"}, cpus=1, gpus=0)) == 7
        assert (tmp_path / "log.txt").read_text() == f"bag {tmp_path}\n"

        killed = cluster.start(sleep, "killed.txt", {}, cpus=1, gpus=0)
        until(lambda: Path("killed.txt").exists() and Path("killed.txt").read_text())
        os.kill(int(Path("killed.txt").read_text()), signal.SIGKILL)
        assert ended(killed) == -signal.SIGKILL and Path("killed.txt").read_text().count("\n") == 1

        stopped = cluster.start(sleep, "stopped.txt", {}, cpus=1, gpus=0)
        until(lambda: Path("stopped.txt").exists() and Path("stopped.txt").read_text())
        stopped.kill()
        assert ended(stopped) in (1, -signal.SIGKILL)  # whichever of the slot and its child is seen to end first
        until(lambda: gone(int(Path("stopped.txt").read_text())))

        blind = cluster.start(sleep, "nowhere/log.txt", {}, cpus=1, gpus=0)
        assert ended(blind) == 2 and "shared folder" in blind.reason

        actor = cluster.actor(Progress, "tiles", 9, "tiles", cpus=1, gpus=0)
        cluster.ray.get([actor.advance.remote(4), actor.advance.remote(3)])
        assert cluster.ray.get(actor.__ray_call__.remote(lambda counter: counter.done)) == 7
        for call in (actor.__ray_call__.remote(lambda _: os._exit(1)), actor.advance.remote()):
            with pytest.raises(cluster.ray.exceptions.RayActorError):  # not restarted, not repeated
                cluster.ray.get(call)

        last = cluster.start(sleep, "last.txt", {}, cpus=1, gpus=0)
        until(lambda: Path("last.txt").exists() and Path("last.txt").read_text())
        folder = cluster.folder
    assert last is not None and not folder.exists()
    until(lambda: gone(int(Path("last.txt").read_text())))
    until(lambda: not [child for child in me.children(recursive=True) if "ray" in child.name()])
