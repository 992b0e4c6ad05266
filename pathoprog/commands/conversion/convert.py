"""`pathoprog convert FILE out=…`: published weights, or a folder of features, to safetensors: the way in for pickles.

A pickle may hold anything, so it is opened in a process of its own that does nothing else, and there by torch's
restricted reader alone (`torch.load(weights_only=True)`), which builds tensors and refuses whatever else is named.
"""

import sys
from pathlib import Path

from pathoprog.commands.conversion.convert_config import ConvertConfig
from pathoprog.errors import ConfigError, InputError
from pathoprog.system.children import spawn
from pathoprog.system.console import say
from pathoprog.system.files import sha256_file

READER, FEATURES_READER = "pathoprog.commands.conversion.read_weights", "pathoprog.commands.conversion.read_features"


def run(settings: ConvertConfig) -> int:
    """Convert one file; exit code 2 if it holds no tensors, or something else than tensors has to be built for it.

    Of a folder all ``.pt`` files of features; exit code 1 if some could not be converted.
    """
    source, out = Path(settings.file), Path(settings.out)
    if source.is_dir():
        return _folder(settings, source, out)
    if not source.is_file():
        raise ConfigError(f"file={source}: no such file")
    if out.exists():
        raise ConfigError(f"out={out}: exists; give another name, or remove it")
    if out.suffix != ".safetensors":
        raise ConfigError(f"out={out}: must end with .safetensors")
    if not out.parent.is_dir():
        raise ConfigError(f"out={out}: no such folder")
    code = _read_by(READER, source, out, settings.inside, settings.prefix)
    if code == 2:  # it has said why
        return 2
    if code or not out.is_file():
        raise InputError(f"{source}: the process that read it ended with {_how(code)}; nothing was written")
    say(f"{out}: SHA-256 {sha256_file(out)}")
    say(f"  it is used as weights={out}; {source.name} is not needed any more")
    return 0


def _folder(settings: ConvertConfig, source: Path, out: Path) -> int:
    if settings.inside or settings.prefix:
        raise ConfigError("inside and prefix are for a file of weights; leave them out for a folder of features")
    if not out.parent.is_dir() or (out.exists() and not out.is_dir()):
        raise ConfigError(f"out={out}: must be a folder, in one that is there")
    if out.resolve() == source.resolve():
        raise ConfigError(f"out={out}: give another folder than the pickles'")
    code = _read_by(FEATURES_READER, source, out)
    if code not in (0, 1, 2):
        raise InputError(f"{source}: the process that read it ended with {_how(code)}; what is in {out} is whole")
    if code != 2:
        say(
            f"  it is given as data.features_10x={out}, or at another resolution; the .pt files are not needed any more"
        )
    return code


def _read_by(reader: str, source: Path, out: Path, *more: str) -> int:
    """Run the process that opens pickles; returns its exit code."""
    child = spawn([sys.executable, "-m", reader, str(source), str(out), *more], None, {})
    try:
        return child.wait()
    except BaseException:
        child.kill()
        child.wait()
        raise


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
