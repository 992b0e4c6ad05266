"""How much memory there is: the system's figures, and a container's share of them."""

from pathlib import Path

from pathoprog.system.machine.memory import memory_bytes, peak_bytes

MEMINFO = "MemTotal:       8000 kB\nMemFree:        1000 kB\nMemAvailable:   6000 kB\n"


def made(folder: Path, groups: str, files: dict[str, str]) -> tuple[int, int]:
    (folder / "meminfo").write_text(MEMINFO)
    (folder / "own").write_text(groups)
    for name, text in files.items():
        path = folder / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return memory_bytes(folder / "meminfo", folder / "cgroup", folder / "own")


def test_the_system_s_where_nothing_limits(tmp_path: Path) -> None:
    assert made(tmp_path, "0::/job\n", {"job/memory.max": "max\n"}) == (8000 * 1024, 6000 * 1024)


def test_a_container_s_share_of_either_version(tmp_path: Path) -> None:
    second = {"memory.max": "4096000\n", "memory.current": "1024000\n"}
    assert made(tmp_path / "", "0::/job\n", second) == (4096000, 3072000)
    first = {"memory/job/memory.limit_in_bytes": "2048000\n", "memory/job/memory.usage_in_bytes": "48000\n"}
    assert made(tmp_path, "5:cpu,memory:/job\n", first) == (2048000, 2000000)


def test_where_nobody_says_it_is_not_known(tmp_path: Path) -> None:
    assert memory_bytes(tmp_path / "no") == (0, 0) and peak_bytes(tmp_path / "no") == 0


def test_the_peak_is_this_process_s(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("Name:\tx\nVmHWM:\t    1234 kB\nThreads:\t1\n")
    assert peak_bytes(tmp_path / "status") == 1234 * 1024
