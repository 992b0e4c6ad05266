"""The process of `pathoprog convert FOLDER`: reads ``.pt`` files of features with torch's restricted reader.

    python -m pathoprog.commands.conversion.read_features SOURCE OUT

CLAM keeps a tensor [n, d] in each, TRIDENT a NumPy array, for which the reader is told of NumPy's plain arrays of
floating point and of nothing else. One bad file never stops the others. Exit code 1: some could not be converted, each
named; 2: nothing was done.
"""

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pathoprog.commands.conversion.read_weights import read
from pathoprog.errors import InputError
from pathoprog.networks.foreign.folder import PICKLE_SUFFIX
from pathoprog.networks.foreign.maker import SLIDE, TILE, model_of_folder
from pathoprog.networks.foreign.tensors import KIND, METADATA, SUFFIX, said_of
from pathoprog.system.console import progress, say, warn
from pathoprog.system.files import atomic_write, canonical_json, sha256_file
from pathoprog.text.plain_text import printable
from pathoprog.text.wording import count

NAMES = ("features", "feats")
"""Of the values, in a file that holds a dictionary."""
_RECONSTRUCT = np.ndarray(0).__reduce__()[0]  # what a pickled array names; NumPy 1 had it in another module
_ARRAYS: list[Any] = [
    _RECONSTRUCT, (_RECONSTRUCT, "numpy.core.multiarray._reconstruct"), np.ndarray, np.dtype,
    *(type(np.dtype(name)) for name in ("float16", "float32", "float64")),
]  # fmt: skip


def main(arguments: list[str]) -> int:
    """See the module."""
    source, out = map(Path, arguments)
    try:
        return convert_all(source, out)
    except InputError as error:
        print(f"pathoprog convert: {printable(str(error), lines=True)}", file=sys.stderr)
        return 2


def convert_all(source: Path, out: Path) -> int:
    """Convert every ``.pt`` directly in a folder; what was converted before and is unchanged stays.

    Raises:
        InputError: there is none.
    """
    files = sorted(path for path in source.iterdir() if path.suffix == PICKLE_SUFFIX)
    if not files:
        raise InputError(f"{source}: no {PICKLE_SUFFIX} file there")
    out.mkdir(exist_ok=True)
    model, failed, kept = model_of_folder(source), 0, 0
    with progress("features", len(files), "files") as counter:
        for path in files:
            target = out / f"{path.stem}{SUFFIX}"
            try:
                kept += convert(path, target, model)
            except InputError as error:
                warn(printable(str(error)))
                failed += 1
            counter.advance()
    before = f", {kept} of them before" if kept else ""
    say(f"{out}: features of {count(len(files) - failed, 'slide')}{before}; {count(failed, 'file')} not converted")
    return 1 if failed else 0


def convert(source: Path, target: Path, model: str) -> bool:
    """Convert one file; True where it was before.

    Raises:
        InputError: it holds no features; or another file was converted to that name.
    """
    from safetensors.numpy import save

    digest = sha256_file(source)
    if target.exists():
        if said_of(target).get("source_sha256") != digest:
            raise InputError(f"{target}: is of another file; give out=… another folder, or remove it")
        return True
    values, level = features_in(source)
    facts = {"kind": KIND, "source_sha256": digest, "level": level, "model": model}
    with atomic_write(target) as stream:
        stream.write(save({"features": values}, metadata={METADATA: canonical_json(facts)}))
    return False


def features_in(source: Path) -> tuple[np.ndarray, str]:
    """Values [n, d] of one file, float16 or float32, and whether they are of tiles or of the whole slide.

    Raises:
        InputError: see `read_weights.read`; or no features of floating point, or NaN or infinity.
    """
    with torch.serialization.safe_globals(_ARRAYS):
        found = read(source)
    if isinstance(found, Mapping):
        names = [name for name in NAMES if name in found]
        if not names:
            raise InputError(f"{source}: holds {', '.join(map(str, found))[:200] or 'nothing'}, and no {NAMES[0]}")
        found = found[names[0]]
    if isinstance(found, torch.Tensor):
        found = found.detach().float() if found.dtype is torch.bfloat16 else found.detach()
        with contextlib.suppress(TypeError, RuntimeError):  # of sparse ones
            found = found.numpy()
    if not isinstance(found, np.ndarray) or found.dtype not in (np.float16, np.float32, np.float64):
        raise InputError(f"{source}: no features of floating point")
    values = found[0] if found.ndim == 3 and len(found) == 1 else found
    level = SLIDE if values.ndim == 1 and len(values) else TILE
    if values.ndim == 1:
        values = values.reshape(min(1, len(values)), -1) if len(values) else values.reshape(0, 0)
    if values.ndim != 2:
        raise InputError(f"{source}: features {found.shape}, must be [n, d], or [d] of a whole slide")
    values = np.ascontiguousarray(values, np.float16 if values.dtype == np.float16 else np.float32)
    if not np.isfinite(values).all():
        raise InputError(f"{source}: features hold NaN or infinity")
    return values, level


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
