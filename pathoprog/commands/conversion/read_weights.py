"""The process of `pathoprog convert`: reads one file of weights with torch's restricted reader, writes safetensors.

    python -m pathoprog.commands.conversion.read_weights SOURCE OUT INSIDE PREFIX

It says what it takes and what it leaves out. Exit code 2, with the reason: the file is not what it should be.
"""

import pickle
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pathoprog.errors import InputError
from pathoprog.system.console import say
from pathoprog.system.files import atomic_write, canonical_json, sha256_file
from pathoprog.text.plain_text import printable
from pathoprog.text.wording import count

SHOWN = 8
"""Names that are written out where there are many."""


def main(arguments: list[str]) -> int:
    """See the module."""
    source, out, inside, prefix = arguments
    try:
        convert(Path(source), Path(out), inside, prefix)
    except InputError as error:
        print(f"pathoprog convert: {printable(str(error), lines=True)}", file=sys.stderr)
        return 2
    return 0


def convert(source: Path, out: Path, inside: str, prefix: str) -> None:
    """Read `source`, and write its tensors to `out`.

    Args:
        source: pickle or safetensors.
        out: is written whole or not at all; one metadata key, which names the source by its SHA-256.
        inside: the way to the dictionary of tensors, its steps separated by ``/``; "": it is looked for.
        prefix: of the names to take.

    Raises:
        InputError: see `read`, `dictionary` and `chosen`.
    """
    from safetensors.torch import save

    found, way = dictionary(read(source), inside, source)
    tensors = chosen(found, prefix, source)
    facts = {"source_sha256": sha256_file(source), "inside": way, "prefix": prefix}
    with atomic_write(out) as stream:
        stream.write(save(tensors, metadata={"pathoprog": canonical_json(facts)}))
    numbers = sum(tensor.numel() for tensor in tensors.values())
    where = f" of {way}" if way else ""
    say(f"{source.name}: {count(len(tensors), 'tensor')}{where}, {numbers / 1e6:.1f} million numbers")


def read(source: Path) -> Any:
    """What the file holds, tensors on the CPU.

    Raises:
        InputError: not weights, or it would build something else than tensors and plain values.
    """
    if source.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(source)
        except (SafetensorError, OSError) as error:
            raise InputError(f"{source}: not a safetensors file ({error})") from error
    try:
        with warnings.catch_warnings(action="ignore"):  # of how it checks sparse tensors, which are refused below
            return torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        said = " ".join(str(error).split())[:300]
        raise InputError(
            f"{source}: was not opened: it is damaged, or asks for more than tensors and plain values, and such a file"
            f" could run anything. Ask its publisher for safetensors ({said})"
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise InputError(f"{source}: not a file of weights ({' '.join(str(error).split())[:300]})") from error


def dictionary(found: Any, inside: str, source: Path) -> tuple[dict[str, torch.Tensor], str]:
    """The dictionary of tensors, and the way to it.

    Raises:
        InputError: there is none of that name, none at all, or several and no name.
    """
    if inside:
        for step in inside.split("/"):
            if not isinstance(found, Mapping) or step not in found:
                there = ", ".join(map(str, found)) if isinstance(found, Mapping) else "no names"
                raise InputError(f"{source}: inside={inside}: no {step} in it; there is {there[:300]}")
            found = found[step]
        if not tensors_of(found):
            raise InputError(f"{source}: inside={inside}: holds no tensors by name")
        return told(found), inside
    if tensors_of(found):
        return told(found), ""
    below = (
        {str(name): value for name, value in found.items() if tensors_of(value)} if isinstance(found, Mapping) else {}
    )
    if not below:
        raise InputError(f"{source}: holds no tensors by name; give inside=… if they lie deeper")
    if len(below) > 1:
        names = ", ".join(f"{name} ({count(len(tensors_of(value)), 'tensor')})" for name, value in below.items())
        raise InputError(f"{source}: holds several sets of tensors; give inside=… one of {names}")
    way, value = next(iter(below.items()))
    return told(value), way


def tensors_of(found: Any) -> dict[str, torch.Tensor]:
    """The tensors of a dictionary by name; none where it is no dictionary."""
    if not isinstance(found, Mapping):
        return {}
    return {str(name): value for name, value in found.items() if isinstance(value, torch.Tensor)}


def told(found: Mapping[Any, Any]) -> dict[str, torch.Tensor]:
    """The tensors of a dictionary; what else is in it is named."""
    tensors = tensors_of(found)
    _tell("no tensors, left out", [str(name) for name in found if str(name) not in tensors])
    return tensors


def chosen(found: dict[str, torch.Tensor], prefix: str, source: Path) -> dict[str, torch.Tensor]:
    """Tensors whose names begin with `prefix`, without it, each in memory of its own; the others are named.

    Raises:
        InputError: none does, or a tensor that safetensors cannot hold.
    """
    taken = {name.removeprefix(prefix): tensor for name, tensor in found.items() if name.startswith(prefix)}
    if not taken or "" in taken:
        begins = sorted({name.partition(".")[0] for name in found})
        raise InputError(
            f"{source}: prefix={prefix}: no tensor's name begins so; they begin with {', '.join(begins)[:300]}"
        )
    if odd := [name for name, tensor in taken.items() if tensor.layout != torch.strided or tensor.is_quantized]:
        raise InputError(f"{source}: {odd[0]} is sparse or quantised, which safetensors does not hold")
    _tell(f"not under {prefix}, left out", [name for name in found if not name.startswith(prefix)])
    return {name: tensor.detach().clone().contiguous() for name, tensor in taken.items()}


def _tell(what: str, names: list[str]) -> None:
    if names:
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        say(f"  {what}: {printable(', '.join(names[:SHOWN]))}{more}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
