"""Folders where compilers and plots keep what they may need again: one's own, private, and writable. No torch.

torch reads pickles back from its cache and writes to it even where nothing is compiled. Its default lies under a name
that anybody can guess in the folder for temporary files, and a folder that cannot be written ends the program.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

CACHES = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton"}
PLOTS = {"MPLCONFIGDIR": "matplotlib"}
TEMPORARY_PREFIX = "pathoprog-cache-"


def own_caches(environment: MutableMapping[str, str] = os.environ) -> None:
    """Point the caches of torch, Triton and matplotlib at folders that are this user's alone and can be written.

    A folder that the environment names is taken if it can be written. Otherwise it is ``pathoprog`` in the user's cache
    folder, or, where that cannot be written either (a read-only container), a temporary one that goes when the program
    ends: everything works then, and nothing compiled is kept. Must run before torch is imported.
    """
    base = environment.get("XDG_CACHE_HOME") or "~/.cache"
    home = Path(base).expanduser() / "pathoprog"
    if not _usable(home):
        home = Path()
    names = {**CACHES, **({} if home.name else PLOTS)}
    for name, folder in names.items():
        if environment.get(name) and _usable(Path(environment[name]).expanduser()):
            continue
        if not home.name:
            home = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX))
            atexit.register(shutil.rmtree, home, ignore_errors=True)
        environment[name] = str(home / folder)


def private_folder(name: str, environment: MutableMapping[str, str] = os.environ) -> Path | None:
    """A folder of this program's own in the user's cache folder, mode 0700; None where there can be none."""
    folder = Path(environment.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pathoprog" / name
    if not _usable(folder.parent) or not _usable(folder):
        return None
    folder.chmod(0o700)
    return folder


def _usable(folder: Path) -> bool:
    """Whether `folder` is there, or can be made, with mode 0700; and is nobody else's, and can be written."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = folder.stat()
    except (OSError, RuntimeError):
        return False
    private = facts.st_uid == os.getuid() and not facts.st_mode & 0o022
    return private and os.access(folder, os.W_OK | os.X_OK)
