"""torch.compile where it can work, else the same network uncompiled, and a line that says why."""

import os
import shutil
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from pathoprog.system.caches import own_caches
from pathoprog.system.console import warn

Network = TypeVar("Network", bound=nn.Module)


def why_not() -> str:
    """What torch.compile lacks on this machine: a C compiler, Python's headers; empty if nothing.

    Compiling is tried at a network's first call only, deep inside a run; these are the things it fails on there.
    """
    compiler = os.environ.get("CC") or next(filter(shutil.which, ("gcc", "clang", "cc")), "")
    if not compiler or shutil.which(compiler) is None:
        return "no C compiler (CC, gcc, clang, cc)"
    headers = sysconfig.get_path("include")
    if not (Path(headers) / "Python.h").is_file():
        return f"no Python.h in {headers} (Debian, Ubuntu: apt install python3-dev)"
    return ""


def compiled(
    network: Network, wanted: bool = True, dynamic: bool | None = None
) -> Network | Callable[..., torch.Tensor]:
    """The network to call: compiled if that is wanted and can work, else as it is.

    Args:
        network: is not changed; its parameters stay those of the result.
        wanted: the setting that asks for it.
        dynamic: False compiles for one shape alone; None lets torch see whether shapes change.
    """
    if not wanted:
        return network
    own_caches()
    reason = why_not()
    if reason:
        warn(f"not compiled: {reason}; it runs uncompiled, with the same results, more slowly")
        return network
    result: Callable[..., torch.Tensor] = torch.compile(network, dynamic=dynamic)
    return result
