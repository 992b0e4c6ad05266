"""Records in JSON: frozen dataclasses to plain values and back, checked, so that what was read is written unchanged.

One rule for what may be absent: a field of a `Record` whose default is None. None is absent, and is not written. Any
other field that may be None is null in the file, and must be there. A field with the metadata ``kept=False`` is not in
the file.
"""

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, Union, cast

from pathoprog.settings import as_dict

T = TypeVar("T")
S = TypeVar("S")
SHOWN_CHARACTERS = 60
MOST = 2.0**1023
"""A whole number beyond it is no float."""
WORDS: dict[Any, str] = {
    str: "text", bool: "true or false", int: "a whole number", float: "a finite number", Mapping: "a record",
    tuple: "a list", list: "a list",
}  # fmt: skip


class RecordError(ValueError):
    """A value is not the record that it should be; the message begins with where in it."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """Base of what is kept in a file; `unknown` holds keys that this version does not know, and writes back."""

    unknown: Mapping[str, Any] = field(default_factory=dict, metadata={"kept": False})


@dataclass(frozen=True)
class Saved(Generic[S]):
    """Settings as a file keeps them.

    Attributes:
        settings: with the defaults of those that are younger than the file.
        younger: their names; they are not written.
        unknown: settings that this version does not know, as they are; whoever uses `settings` must refuse them.
    """

    settings: S
    younger: frozenset[str] = frozenset()
    unknown: Mapping[str, Any] = field(default_factory=dict)


def plain(record: Any) -> dict[str, Any]:
    """Plain JSON values of a record, or of several by name."""
    found = _plain(record)
    assert isinstance(found, dict)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Saved):
        kept = {name: item for name, item in as_dict(value.settings).items() if name not in value.younger}
        return {**kept, **value.unknown}
    if isinstance(value, Record):
        kept_fields = [one for one in dataclasses.fields(value) if one.metadata.get("kept", True)]
        said = {one.name: getattr(value, one.name) for one in kept_fields}
        absent = {one.name for one in kept_fields if one.default is None and said[one.name] is None}
        return {**{name: _plain(item) for name, item in said.items() if name not in absent}, **value.unknown}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: _plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def record_of(kind: type[T], value: Any, where: str = "", nan: bool = False) -> T:
    """A record from plain JSON values.

    Args:
        kind: a dataclass. A `Record` takes keys that it does not know into `unknown`; any other refuses them.
        value: what JSON gave.
        where: what the value is, for messages.
        nan: null stands for a number that is not known, as `pathoprog.system.files.write_json` writes NaN.

    Raises:
        RecordError: a key is missing or a value is of another type; says which, and what it must be.
    """
    found: T = _dataclass(kind, value, where, nan)
    return found


def saved_of(kind: type[S], value: Any, where: str = "") -> Saved[S]:
    """Settings from plain JSON values; those that are absent have their defaults.

    Raises:
        RecordError: no record, or a value of another type.
    """
    said = _said(value, where)
    known = _hints(cast(Any, kind))
    given = {name: _value(known[name], item, _at(where, name), False) for name, item in said.items() if name in known}
    unknown = {name: item for name, item in said.items() if name not in known}
    return Saved(kind(**given), frozenset(known.keys() - said.keys()), unknown)


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    """Types of the fields that a file has."""
    hints = typing.get_type_hints(kind)
    return {one.name: hints[one.name] for one in dataclasses.fields(kind) if one.metadata.get("kept", True)}


def _at(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _wrong(where: str, value: Any, wanted: str) -> RecordError:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    short = text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]} …"
    return RecordError(f"{where or 'it'}: {short}, must be {wanted}")


def _said(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(where, value, WORDS[Mapping])
    return value


def _dataclass(kind: Any, value: Any, where: str, nan: bool) -> Any:
    said = _said(value, where)
    hints = _hints(kind)
    may_lack = {one.name for one in dataclasses.fields(kind) if issubclass(kind, Record) and one.default is None}
    if missing := [name for name in hints if name not in may_lack and name not in said]:
        raise RecordError(f"{where}: lacks {', '.join(missing)}" if where else f"lacks {', '.join(missing)}")
    unknown = {name: item for name, item in said.items() if name not in hints}
    wanted = {name: _there(hint) if name in may_lack else hint for name, hint in hints.items() if name in said}
    given = {name: _value(hint, said[name], _at(where, name), nan) for name, hint in wanted.items()}
    if issubclass(kind, Record):
        return kind(**given, unknown=unknown)
    if unknown:
        raise RecordError(f"{where or 'it'}: holds what this version does not know: {', '.join(sorted(unknown))}")
    return kind(**given)


def _there(hint: Any) -> Any:
    """X of ``X | None``."""
    parts = typing.get_args(hint) if typing.get_origin(hint) in (Union, types.UnionType) else (hint,)
    return next(part for part in parts if part is not type(None))


def _value(hint: Any, value: Any, where: str, nan: bool) -> Any:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return None if value is None else _value(_there(hint), value, where, nan)
    if origin is Saved:
        return saved_of(parts[0], value, where)
    if origin is Mapping:
        return {str(name): _value(parts[1], item, _at(where, name), nan) for name, item in _said(value, where).items()}
    if origin in (tuple, list):
        return _sequence(origin, parts, value, where, nan)
    if dataclasses.is_dataclass(hint):
        return _dataclass(hint, value, where, nan)
    return _single(hint, value, where, nan)


def _sequence(origin: Any, parts: tuple[Any, ...], value: Any, where: str, nan: bool) -> Any:
    if not isinstance(value, list | tuple):
        raise _wrong(where, value, WORDS[origin])
    fixed = origin is tuple and parts[-1] is not Ellipsis
    if fixed and len(value) != len(parts):
        raise _wrong(where, value, f"a list of {len(parts)}")
    kinds = parts if fixed else (parts[0],) * len(value)
    return origin(
        _value(kind, item, f"{where}[{number}]", nan)
        for number, (kind, item) in enumerate(zip(kinds, value, strict=True))
    )


def _single(hint: Any, value: Any, where: str, nan: bool) -> Any:
    if hint is float and value is None and nan:
        return math.nan
    if hint is float:
        right = isinstance(value, int | float) and not isinstance(value, bool) and (
            abs(value) < MOST if isinstance(value, int) else nan or math.isfinite(value)
        )  # fmt: skip
    else:
        right = isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
    if not right:
        raise _wrong(where, value, WORDS[hint])
    return value
