"""Which engine runs networks over tiles: the setting ``runtime=auto|openvino|torch``. No torch.

An engine is a line in `ENGINES` and a class with the methods of `engines.tile_networks.NetworkEngine`.
"""

import platform
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from pathoprog.errors import ConfigError


@dataclass(frozen=True)
class EngineFacts:
    """One line of `ENGINES`: the distribution that holds the engine, its device, and where its class is."""

    distribution: str
    devices: tuple[str, ...]
    module: str
    class_name: str


ENGINES = {
    "openvino": EngineFacts("openvino", ("cpu",), "pathoprog.networks.engines.openvino_engine", "OpenVinoEngine"),
    "torch": EngineFacts("torch", ("cpu", "cuda"), "pathoprog.networks.engines.torch_engine", "TorchEngine"),
}
"""In the order in which ``auto`` takes them, where they are installed and serve the device."""
RUNTIMES = ("auto", *ENGINES)
RUNTIME_HELP = "what computes networks: auto is torch on CUDA, OpenVINO on a CPU where installed, else torch"
FALLBACK = "torch"
BF16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")
"""What a CPU that computes bf16 says of it: Intel's and AMD's, and Arm's."""


@dataclass(frozen=True)
class Runtime:
    """An engine by name and version: a part of every result's key."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return {"name": self.name, "version": self.version}


def installed(name: str) -> Runtime | None:
    """The engine as it is installed here; None where it is not. Nothing is imported."""
    from importlib.metadata import PackageNotFoundError, version  # takes a while, and --help needs none of it

    facts = ENGINES[name]
    try:
        return Runtime(name, version(facts.distribution)) if find_spec(facts.distribution) else None
    except PackageNotFoundError:
        return None


def choose_runtime(wanted: str, device: str, dtype: str = "fp32") -> Runtime:
    """The engine of a run.

    Args:
        wanted: ``auto``: torch on CUDA and for bf16; on a CPU in fp32 OpenVINO, if it is installed; else torch.
        device: ``cpu`` or ``cuda``.
        dtype: ``fp32`` or ``bf16``.

    Raises:
        ConfigError: an unknown name, or an engine that is not installed here or does not serve the device.
    """
    if wanted not in RUNTIMES:
        raise ConfigError(f"runtime={wanted!r}: must be one of {', '.join(RUNTIMES)}")
    for name, facts in ENGINES.items():
        if wanted not in ("auto", name):
            continue
        found = installed(name)
        why = ""
        if found is None:
            why = f"{facts.distribution} is not installed here"
        elif device not in facts.devices:
            why = f"it computes on {' and '.join(facts.devices)} only, and the device is {device}"
        elif name != FALLBACK and dtype == "bf16" and not cpu_flags() & set(BF16_FLAGS):
            why = "this CPU does not compute bf16"
        elif name != FALLBACK and dtype == "bf16" and wanted == "auto":
            continue  # on a CPU its bf16 is taken only if it is asked for by name: nobody has measured its error yet
        if found is not None and not why:
            return found
        if wanted != "auto":
            raise ConfigError(f"runtime={wanted}: {why}; leave runtime out, or give runtime={FALLBACK}")
    raise ConfigError("no engine for networks is installed here: install torch")


@cache
def cpu_flags() -> frozenset[str]:
    """What this machine's CPU says that it can do (Linux; elsewhere its kind alone)."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    found = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return frozenset([*found.partition(":")[2].split(), platform.machine()])
