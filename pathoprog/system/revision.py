"""Which code this is: the package's version, with the git commit where it runs from a checkout."""

import subprocess
from functools import cache
from pathlib import Path

from pathoprog import __version__


@cache
def git_commit() -> str:
    """The checkout's commit, 40 digits; empty where there is no checkout, or no git."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    try:
        found = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""


def source_tags(command: str) -> dict[str, str]:
    """Which code a run is of, under the names that MLflow's pages show."""
    commit = git_commit()
    return {
        "mlflow.source.name": f"pathoprog {command}".strip(),
        "mlflow.source.type": "LOCAL",
        "software_version": __version__,
        **({"mlflow.source.git.commit": commit} if commit else {}),
    }


def code_version() -> str:
    """The package's version, and behind a plus the first twelve digits of the commit, where there is one."""
    commit = git_commit()
    return f"{__version__}+{commit[:12]}" if commit else __version__
