"""Typed settings: dataclass fields that carry their help, unit and range, and the check that names a wrong one.

Each part of the library keeps its settings dataclass beside what it configures; a door's `config.py` gathers them.
This module and those imports must stay light: `pathoprog COMMAND --help` loads nothing else.
"""

import copy
import dataclasses
import math
import numbers
from enum import Enum
from pathlib import PurePath
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from pathoprog.errors import ConfigError

S = TypeVar("S")
WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "True or False"}
"""What a field's type asks for."""
KINDS = ("", "path", "paths", "name", "names")


def setting(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    open_low: bool = False,
    choices: tuple[str, ...] = (),
    kind: str = "",
    required: bool = False,
) -> Any:
    """Declare one field of a settings dataclass.

    Args:
        default: the value where none is given; lists, dicts and dataclasses are copied for each instance.
        help: one line, with the unit.
        low: smallest allowed value (inclusive unless `open_low`).
        high: largest allowed value, inclusive.
        open_low: True if `low` itself is refused.
        choices: allowed strings.
        kind: ``path``/``paths``/``name``/``names`` for values that the command line takes literally (file paths,
            column names), past Hydra's override grammar; plural kinds split at commas.
        required: True if an empty value is an error.
    """
    assert kind in KINDS
    metadata = {
        "help": help,
        "low": low,
        "high": high,
        "open_low": open_low,
        "choices": choices,
        "kind": kind,
        "required": required,
    }
    if isinstance(default, list | dict) or (dataclasses.is_dataclass(default) and not isinstance(default, type)):
        return dataclasses.field(default_factory=lambda: copy.deepcopy(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def built_by_hand(settings: Any, kind: type[S], called: str = "settings") -> S:
    """A copy of settings that a caller built in Python, each value of its field's type; `check` looks at the ranges.

    The command line composes settings whose types are right; in Python any value can be set. Paths become text.

    Args:
        settings: as given.
        kind: the dataclass that they must be of.
        called: what to call them.

    Raises:
        ConfigError: another class, or a value of another type; names the full key.
    """
    if not isinstance(settings, kind):
        raise ConfigError(f"{called}: must be {kind.__name__}, not {shown(settings)}")
    own = copy.deepcopy(settings)
    _retype(own, "")
    return own


def refuse_others(value: Any, kind: type, called: str, made_by: str) -> None:
    """Refuse what is not what a call hands out.

    Raises:
        ConfigError: says what is wanted, and who makes it.
    """
    if not isinstance(value, kind):
        raise ConfigError(f"{called}: must be what {made_by} gives, not {shown(value)}")


def shown(value: Any) -> str:
    """A value and its type, for a message."""
    return f"{value!r:.60} ({type(value).__name__})"


def _retype(settings: Any, prefix: str) -> None:
    hints = get_type_hints(type(settings))
    for field in dataclasses.fields(settings):
        key, hint, value = f"{prefix}{field.name}", hints[field.name], getattr(settings, field.name)
        if dataclasses.is_dataclass(hint):
            if not isinstance(value, hint):  # type: ignore[arg-type]
                raise ConfigError(f"{key}: must be {hint.__name__}, not {shown(value)}")  # type: ignore[union-attr]
            _retype(value, f"{key}.")
        elif hint in WORDS:
            setattr(settings, field.name, _of_type(key, hint, value))
        elif get_origin(hint) is list and (inner := get_args(hint)[0]) in WORDS:
            if not isinstance(value, list | tuple):
                raise ConfigError(f"{key}: must be a list, each {WORDS[inner]}, not {shown(value)}")
            setattr(settings, field.name, [_of_type(key, inner, item) for item in value])


def _of_type(key: str, hint: Any, value: Any) -> Any:
    if hint is str and isinstance(value, PurePath):
        return str(value)
    if hint in (int, float) and not isinstance(value, bool):
        if isinstance(value, numbers.Integral):
            return int(value)
        if hint is float and isinstance(value, numbers.Real):
            return float(value)
    if type(value) is hint or (hint is str and isinstance(value, str)):
        return value
    raise ConfigError(f"{key}={shown(value)}: must be {WORDS[hint]}")


def check(settings: Any, prefix: str = "") -> None:
    """Check every field of a settings dataclass against its declared range, nested ones and lists of them too.

    Raises:
        ConfigError: names the full key, the value and what is allowed.
    """
    for field in dataclasses.fields(settings):
        key = f"{prefix}{field.name}"
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            check(value, f"{key}.")
            continue
        if isinstance(value, list) and value and dataclasses.is_dataclass(value[0]):
            for number, item in enumerate(value, 1):
                check(item, f"{key}[{number}].")
            continue
        rule = field.metadata
        if rule.get("required") and (value is None or value == "" or value == []):
            raise ConfigError(f"{key} is missing: give {key}=… ({rule['help']})")
        if rule.get("choices"):
            for item in value if isinstance(value, list) else [value]:
                if item not in rule["choices"]:
                    raise ConfigError(f"{key}={item!r}: must be one of {', '.join(rule['choices'])}")
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int | float) and not isinstance(number, bool):
                _check_range(key, number, rule)


def _check_range(key: str, number: float, rule: Any) -> None:
    low, high, open_low = rule.get("low"), rule.get("high"), rule.get("open_low")
    wrong = not math.isfinite(number) and (low is not None or high is not None)
    wrong = wrong or (low is not None and (number <= low if open_low else number < low))
    wrong = wrong or (high is not None and number > high)
    if wrong:
        lower = "" if low is None else f"{'above' if open_low else 'at least'} {low:g}"
        upper = "" if high is None else f"at most {high:g}"
        raise ConfigError(f"{key}={number:g}: must be {' and '.join(part for part in (lower, upper) if part)}")


def as_dict(settings: Any) -> dict[str, Any]:
    """A settings dataclass as plain nested dicts (Enums as their value), for JSON and MLflow."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        if isinstance(value, Enum):
            return value.value
        if isinstance(value, dict):
            return {str(key): plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return value

    result = plain(settings)
    assert isinstance(result, dict)
    return result


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dict to dotted keys, as overrides are written: ``{"train": {"lr": 1}}`` -> ``{"train.lr": 1}``."""
    result: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            result.update(flat(value, f"{prefix}{key}."))
        else:
            result[f"{prefix}{key}"] = value
    return result
