"""Spawned workers of the library run none of the caller's script again, guarded or not."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
print("the script runs", flush=True)
from functools import partial
import numpy as np
from pathoprog.errors import InputError
from pathoprog.survival.resampling.bootstrap import bootstrap

values = np.arange(20.0)
def mean(index): return np.array([values[index].mean()])
found = bootstrap(partial(np.take, values), 20, samples=30, workers=2)
print("drawn", found.samples.shape)
for own in (mean, partial(np.apply_along_axis, mean, 0)):
    try:
        bootstrap(own, 20, samples=30, workers=2)
    except InputError as error:
        print(error)
"""


def test_a_script_without_a_guard_does_its_work_once(tmp_path: Path) -> None:
    script = tmp_path / "plain.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    before, _, after = done.stdout.partition("drawn (30, 20)")
    assert before.count("the script runs") == 1, "workers that need nothing of the script do not run it"
    assert after.count('call it under `if __name__ == "__main__":`') == 2, "its own statistic needs it, and says so"
