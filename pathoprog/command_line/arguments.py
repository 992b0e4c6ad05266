"""`key=value …` sorted into what Hydra's grammar is asked to read and what is taken as it stands.

Paths and names are taken literally, since that grammar refuses many characters that file and column names have. A key
that is given twice takes the last. A key that takes a list takes it without brackets too.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pathoprog.command_line.flags import WORDS
from pathoprog.command_line.near_misses import did_you_mean
from pathoprog.command_line.target import EXPERIMENT, Target
from pathoprog.errors import ConfigError

LITERAL = ("path", "paths", "name", "names")


@dataclass
class Given:
    """A command line, sorted.

    Attributes:
        overrides: in Hydra's grammar, by key.
        literal: values that are taken as they stand, by key; escaped for OmegaConf.
        experiment: what ``experiment=`` names; '' if nothing.
    """

    overrides: dict[str, str] = field(default_factory=dict)
    literal: dict[str, Any] = field(default_factory=dict)
    experiment: str = ""


def sort_arguments(target: Target, arguments: list[str]) -> Given:
    """Sort a command's arguments.

    Args:
        target: the command.
        arguments: ``key=value``, ``--flag`` for a setting that is true or false, or bare words for the positional
            setting.

    Raises:
        ConfigError: a word that is no setting, or a key that no setting has.
    """
    given, bare = Given(), list[str]()
    for argument in arguments:
        key, value, kind = _read(target, argument)
        if kind == "bare":
            bare.append(as_it_stands(value, "paths"))
        elif key == EXPERIMENT:
            given.experiment = value
        elif kind in ("path", "name"):
            given.literal[key] = as_it_stands(value, kind, key)
        elif kind in ("paths", "names"):
            given.literal[key] = [as_it_stands(item, kind, key) for item in items(value, kind)]
        elif key in target.kinds:  # each has a value already, so that Hydra's + means nothing
            given.overrides.pop(key, None)  # the last one's place counts
            given.overrides[key] = f"{key}={_bracketed(value) if kind == 'list' else value}"
        else:
            given.overrides.pop(key, None)
            given.overrides[key] = argument
    if bare:
        kind = target.kinds[target.positional]
        before = given.literal.get(target.positional, [])
        if kind in ("path", "name"):
            given.literal[target.positional] = bare[-1]
        else:
            given.literal[target.positional] = [*before, *bare]
    check_keys(target, given.overrides)
    return given


def _bracketed(value: str) -> str:
    """A list as Hydra's grammar wants it, unless that is what it is, or an interpolation, or a sweep."""
    known = re.match(r"\s*(\[|\$\{|null\s*$|(choice|shuffle|sort|tag)\()", value)
    return value if known else f"[{value}]"


def _read(target: Target, argument: str) -> tuple[str, str, str]:
    """Key, value and kind of one argument; the kind ``bare`` where it is a word for the positional setting."""
    kinds, positional = target.kinds, target.positional
    if re.match(r"~[\w.@/]+(=|$)", argument) and not exists(argument):
        raise ConfigError(f"{argument}: a setting cannot be deleted; leave it out, and its default counts")
    key, equals, value = argument.partition("=")
    key = positional if key and key == target.spelled else key
    flag = argument.removeprefix("--").replace("-", "_")
    if argument.startswith("--") and kinds.get(flag) == "flag":
        return flag, "true", ""
    plain = key.lstrip("+~")
    is_file = bool(positional) and plain not in kinds and exists(argument)
    if equals and not is_file:
        return (plain if plain in (*kinds, EXPERIMENT) else key), value, kinds.get(plain, "")
    named = argument in kinds and kinds.get(positional) != "names"  # a list of words may hold any word
    if (named or argument.startswith("--") or not positional) and not is_file:
        near = [*WORDS, *(f"--{name}" for name, kind in kinds.items() if kind == "flag")]
        hint = did_you_mean(argument, near) if argument.startswith("-") else ""
        raise ConfigError(f"{argument}: settings are given as key=value{hint} (see `pathoprog {target.name} --help`)")
    return positional, argument, "bare"


def items(value: str, kind: str) -> list[str]:
    """Split a plural value at its commas; a path that exists, and a part in double quotes, keep theirs."""
    if kind == "paths" and exists(value):
        return [value]
    if value.startswith("[") and value.endswith("]"):
        value = value[1:-1]
    parts = re.findall(r'\s*"([^"]*)"\s*(?:,|$)|([^,]+)(?:,|$)', value)
    return [item for item in (quoted or plain.strip() for quoted, plain in parts) if item]


def exists(text: str) -> bool:
    """Whether a text names a file or folder that is there."""
    try:
        return bool(text) and Path(text).exists()
    except (OSError, ValueError):  # too long, or with a null byte: no file is called so
        return False


def as_it_stands(value: str, kind: str, key: str = "") -> str:
    """A literal value for OmegaConf, which is kept from reading interpolations into it.

    Quotes around the whole of it go, as they do in Hydra's grammar. In a path ``${oc.env:NAME}`` and
    ``${oc.env:NAME,DEFAULT}`` are replaced by the environment's value, and ``~/`` by the home folder. All this unless a
    file is called so.

    Raises:
        ConfigError: no such variable.
    """
    is_path = kind in ("path", "paths")
    if is_path and exists(value):
        return escaped(value)
    if quoted := re.fullmatch(r"'([^']*)'|\"([^\"]*)\"", value):
        value = quoted[1] or quoted[2] or ""
    if is_path and value.startswith("~/"):
        value = str(Path(value).expanduser())
    if is_path and "${oc.env:" in value:
        value = re.sub(r"\$\{oc\.env:\s*(\w+)\s*(?:,([^}]*))?\}", lambda found: _variable(found, key), value)
    return escaped(value)


def _variable(found: re.Match[str], key: str) -> str:
    value = os.environ.get(found[1], found[2])
    if value is None:
        raise ConfigError(f"{key}: the environment variable {found[1]} is not set; set it, or give the path itself")
    return value


def escaped(value: str) -> str:
    """A text that OmegaConf gives back unchanged: without interpolations."""
    return re.sub(r"(\\*)\$\{", lambda found: f"{found[1] * 2}\\${{", value)


def check_keys(target: Target, overrides: dict[str, str]) -> None:
    """Refuse keys that no setting has; Hydra itself would take ``+key=…`` and nothing would ever read it.

    Raises:
        ConfigError: names the key, and those that are near.
    """
    for override in overrides.values():
        key = override.partition("=")[0].lstrip("+~")
        if re.split("[/@]", key)[0] in target.groups:
            continue
        if key.startswith("hydra."):
            raise ConfigError(f"{key}: Hydra's own settings are not taken; --config-dir DIR adds a search path")
        if not any(f"{key}.".startswith(f"{known}.") or known.startswith(f"{key}.") for known in target.kinds):
            what = "setting or file" if target.positional else "setting"
            hint = did_you_mean(key, target.words)
            raise ConfigError(f"{key}: no such {what}{hint} (see `pathoprog {target.name} --help`)")
