"""Caches are the user's own and can be written, whatever the environment says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pathoprog.system.caches import own_caches


def test_caches_lie_in_the_user_s_cache_folder_and_are_private(tmp_path: Path) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path)}
    own_caches(environment)
    assert environment["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "pathoprog" / "inductor")
    assert environment["TRITON_CACHE_DIR"] == str(tmp_path / "pathoprog" / "triton")
    assert "MPLCONFIGDIR" not in environment
    assert (tmp_path / "pathoprog").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_the_user_names_is_kept(tmp_path: Path) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path), "TRITON_CACHE_DIR": str(tmp_path / "mine")}
    own_caches(environment)
    assert environment["TRITON_CACHE_DIR"] == str(tmp_path / "mine")


@pytest.mark.parametrize("spoilt", ["a file", "everybody's"])
def test_a_folder_that_cannot_be_trusted_is_replaced(spoilt: str, tmp_path: Path) -> None:
    folder = tmp_path / "spoilt"
    if spoilt == "a file":
        folder.write_text("")
    else:
        folder.mkdir()
        folder.chmod(0o777)
    environment = {"XDG_CACHE_HOME": str(tmp_path), "TORCHINDUCTOR_CACHE_DIR": str(folder)}
    own_caches(environment)
    assert environment["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "pathoprog" / "inductor")


def test_without_a_home_torch_starts_and_nothing_is_left_behind(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    nowhere = tmp_path / "file"
    nowhere.write_text("")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    program = (
        "from pathoprog.system.caches import own_caches; own_caches()\n"
        "import os, torch\n"
        "torch.optim.AdamW(torch.nn.Linear(2, 2).parameters())\n"  # makes its cache folder
        "print(os.environ['TORCHINDUCTOR_CACHE_DIR'], os.environ['MPLCONFIGDIR'])\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TORCH", "TRITON", "MPL"))}
    environment |= {"HOME": str(nowhere), "XDG_CACHE_HOME": str(nowhere / "cache"), "TMPDIR": str(temporary)}
    environment["TORCHINDUCTOR_CACHE_DIR"] = str(nowhere / "inductor")
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert all(path.startswith(f"{temporary}/pathoprog-cache-") for path in result.stdout.split())
    assert not list(temporary.glob("pathoprog-cache-*"))
