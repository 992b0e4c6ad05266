"""`pathoprog convert FILE out=…`: an encoder's published weights to safetensors, the one way in for a pickle.

A pickle may hold anything, so it is opened in a process of its own that does nothing else, and there by torch's
restricted reader alone (`torch.load(weights_only=True)`), which builds tensors and refuses whatever else is named.
"""

import sys
from pathlib import Path

from pathoprog.commands.convert_config import ConvertConfig
from pathoprog.errors import ConfigError, InputError
from pathoprog.system.children import spawn
from pathoprog.system.console import say
from pathoprog.system.files import sha256_file

READER = "pathoprog.commands.read_weights"


def run(settings: ConvertConfig) -> int:
    """Convert one file; exit code 2 if it holds no tensors, or something else than tensors has to be built for it."""
    source, out = Path(settings.file), Path(settings.out)
    if not source.is_file():
        raise ConfigError(f"file={source}: no such file")
    if out.exists():
        raise ConfigError(f"out={out}: exists; give another name, or remove it")
    if out.suffix != ".safetensors":
        raise ConfigError(f"out={out}: must end with .safetensors")
    if not out.parent.is_dir():
        raise ConfigError(f"out={out}: no such folder")
    child = spawn([sys.executable, "-m", READER, str(source), str(out), settings.inside, settings.prefix], None, {})
    try:
        code = child.wait()
    except BaseException:
        child.kill()
        child.wait()
        raise
    if code == 2:  # it has said why
        return 2
    if code or not out.is_file():
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        raise InputError(f"{source}: the process that read it ended with {how}; nothing was written")
    say(f"{out}: SHA-256 {sha256_file(out)}")
    say(f"  it is used as weights={out}; {source.name} is not needed any more")
    return 0
