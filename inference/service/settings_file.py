"""A settings file: YAML read into typed dataclasses, the environment on top; what is wrong is named by its full key."""

import dataclasses
import difflib
from collections.abc import Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml

from pathoprog.errors import ConfigError
from pathoprog.settings import check
from pathoprog.text.plain_text import printable

Settings = TypeVar("Settings")
MOST_BYTES = 1 << 20
LEVELS = "__"
"""Between the parts of a key in a variable's name: ``PATHOPROG_SERVE__LISTEN__PORT``."""


class _OnceLoader(yaml.SafeLoader):
    """A key that is given twice is an error: the reader of the file cannot know which of them counts."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """See `yaml.SafeLoader`."""
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in seen:
                raise yaml.MarkedYAMLError(problem=f"{key} is given twice", problem_mark=key_node.start_mark)
            seen.add(key if isinstance(key, str) else None)
        return super().construct_mapping(node, deep)


def read_settings(kind: type[Settings], path: Path, environment: Mapping[str, str], prefix: str) -> Settings:
    """Read and check a settings file.

    Args:
        kind: the settings dataclass.
        path: of the YAML file; paths in it are relative to its folder.
        environment: variables that start with `prefix` and `LEVELS` stand above the file, their values in YAML.
        prefix: of the variables.

    Raises:
        ConfigError: the file cannot be read, is no YAML, or a key or value is wrong; the text names the key.
    """
    where = printable(str(path))
    try:
        with path.open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{where}: the settings cannot be read ({error.strerror or error})") from error
    if len(data) > MOST_BYTES:
        raise ConfigError(f"{where}: larger than {MOST_BYTES >> 20} MiB: no settings file")
    values = _yaml(data, where)
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: not a list of `key: value`")
    try:
        for name, text in sorted(environment.items()):
            if name.startswith(f"{prefix}{LEVELS}"):
                keys = name.removeprefix(f"{prefix}{LEVELS}").lower().split(LEVELS)
                _put(values, keys, _yaml(text.encode(), name), name)
        settings: Settings = _built(kind, values, "", path.resolve().parent)
        check(settings)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    return settings


def _yaml(data: bytes, where: str) -> Any:
    try:
        return yaml.load(data, _OnceLoader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{where}: no YAML{line}: {error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: no YAML ({type(error).__name__})") from error


def _put(values: dict[str, Any], keys: list[str], value: Any, name: str) -> None:
    """Set a nested value."""
    *above, last = keys
    for key in above:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{name}: {key} has no settings below it that a variable could set")
    values[last] = value


def _built(kind: Any, value: Any, key: str, folder: Path) -> Any:
    """A value as the type that the dataclass declares for it."""
    if dataclasses.is_dataclass(kind):
        return _built_dataclass(kind, value, key, folder)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is UnionType or NoneType in inner:
        (some,) = (one for one in inner if one is not NoneType)
        return None if value is None else _built(some, value, key, folder)
    if origin is list:
        items = [] if value is None else value if isinstance(value, list) else [value]
        return [_built(inner[0], item, f"{key}[{number}]", folder) for number, item in enumerate(items, 1)]
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{key}: must be a list of `name: value`")
        return {str(name): _built(inner[1], item, f"{key}.{name}", folder) for name, item in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is str and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, kind) or (kind in (int, float) and isinstance(value, bool)):
        names = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
        hint = " (in quotes)" if kind is str else ""
        raise ConfigError(f"{key}: must be {names.get(kind, kind.__name__)}{hint}, not {value!r}"[:300])
    return value


def _built_dataclass(kind: Any, value: Any, key: str, folder: Path) -> Any:
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise ConfigError(f"{key}: must be a list of `key: value`")
    types = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    given = {}
    for name, item in value.items():
        inner = f"{key}.{name}" if key else str(name)
        if name not in fields:
            near = difflib.get_close_matches(str(name), list(fields), n=2)
            hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(fields)}"
            raise ConfigError(f"{inner}: no such setting; {hint}")
        built = _built(types[name], item, inner, folder)
        how = fields[name].metadata.get("kind", "")
        if how == "path" and built:
            built = str(folder / built)
        elif how == "paths":
            built = [str(folder / one) for one in built]
        given[name] = built
    return kind(**given)
