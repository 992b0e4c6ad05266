"""The C library's thresholds: raised with glibc, left alone elsewhere."""

import subprocess
import sys

import pytest

from pathoprog.system.machine import allocator

PROGRAM = """
import resource
from pathoprog.system.machine.allocator import keep_freed_memory
import sys
if sys.argv[1] == "raised":
    assert keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    b"x" * (64 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not allocator.keep_freed_memory(), reason="another C library than glibc")
def test_memory_that_was_freed_is_used_again_without_asking_the_system():
    assert faults("raised") < faults("as it is") / 3


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(allocator.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: 1 / 0)
    assert allocator.keep_freed_memory() is False
