"""The wheel, built from a copy of what is tracked."""

import shutil
import subprocess
import sys
from pathlib import Path

from house import DOORS, ROOT, tracked

VIEWER = Path("inference/service/page/openseadragon")
"""Not tracked: there if it was fetched (`make viewer`)."""


def call(*arguments: str | Path, cwd: Path) -> str:
    """Standard output of a command that must succeed."""
    result = subprocess.run([str(a) for a in arguments], cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def build_wheel(copy: Path) -> Path:
    """Build through the source distribution, in an empty folder that takes the copy."""
    for path in tracked():
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, copy / path)
    if (ROOT / VIEWER).is_dir():
        shutil.copytree(ROOT / VIEWER, copy / VIEWER)
    for door in (*DOORS, "configs"):
        (copy / "pathoprog" / door).symlink_to(f"../{door}")
    call(sys.executable, "-m", "build", "--no-isolation", "--outdir", copy / "dist", cwd=copy)
    (path,) = (copy / "dist").glob("*.whl")
    return path
