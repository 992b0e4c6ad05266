"""Text of `pathoprog COMMAND --help`: every setting with its value in force, its help and its range."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from pathoprog import RESEARCH_USE_ONLY
from pathoprog.command_line.target import Target

FURTHER = (
    "experiment=FILE takes a YAML file of settings from anywhere, such as the config.yaml of an earlier run.",
    "--cfg job [--resolve] prints the settings in force; --config-dir DIR adds a folder with experiment/NAME.yaml.",
)
SWEPT = "--multirun runs every combination of key=a,b; --search lets Optuna choose values; --help with them says more."


def help_text(target: Target, summary: str, settings: Any, may_sweep: bool = False) -> str:
    """The text.

    Args:
        target: the command.
        summary: what it does, in a line.
        settings: those in force.
        may_sweep: it takes --multirun and --search.
    """
    bare = f" [{(target.spelled or target.positional).upper()} …]" if target.positional else ""
    lines = [f"pathoprog {target.name}{bare} [key=value …]", f"  {summary}", "", "settings (value in force):"]
    rows = [
        (target.spelled if target.spelled and key == target.positional else key, value, text)
        for key, value, text in _rows(settings)
    ]
    width = min(max((len(key) for key, _, _ in rows), default=0), 44)
    lines += [f"  {key:<{width}}  {text}\n  {'':<{width}}  = {value}" for key, value, text in rows]
    lines.append("")
    if target.experiments:
        lines.append(f"experiment=… one of: {', '.join(target.experiments)}")
    lines += [*FURTHER, *([SWEPT] if may_sweep else []), "", RESEARCH_USE_ONLY]
    return "\n".join(lines)


def _rows(settings: Any, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            yield from _rows(value, f"{prefix}{field.name}.")
            continue
        text = field.metadata.get("help", "")
        if field.metadata.get("choices"):
            text += f" ({' | '.join(field.metadata['choices'])})"
        if field.metadata.get("required"):
            text += " [required]"
        yield f"{prefix}{field.name}", str(getattr(value, "value", value)), text
