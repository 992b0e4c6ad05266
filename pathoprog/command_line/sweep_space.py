"""Many runs from one line: which keys have several values, in Hydra's override grammar, and the runs that they make.

``fit.lr=1e-3,3e-4``, ``choice(a,b)``, ``range(1,4)`` for a sweep over every combination; ``interval(1e-5,1e-2)`` and
``tag(log,interval(…))`` too for a search. Hydra's own sweepers want `hydra.main`; only its grammar is used.
"""

import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pathoprog.command_line.arguments import exists, items, sort_arguments
from pathoprog.command_line.target import EXPERIMENT, Target
from pathoprog.errors import ConfigError

LITERAL_CHOICE = re.compile(r"\s*choice\((.*)\)\s*$", re.DOTALL)
GRAMMAR = "fit.lr=1e-3,3e-4, network.pooling=choice(mean,max) or seed=range(1,4)"


@dataclass(frozen=True)
class Axis:
    """A key with several values.

    Attributes:
        key: of the setting, or of a group.
        choices: the values as they are written on the command line; empty where the axis is an interval.
        low: smallest value of an interval, or of evenly spaced whole numbers.
        high: largest one.
        log: the interval is to be searched on a logarithmic scale.
        whole: only whole numbers count.
        step: between whole numbers.
    """

    key: str
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    log: bool = False
    whole: bool = False
    step: int = 1


@dataclass(frozen=True)
class Sweep:
    """Runs of one command that differ in the values of some keys.

    Attributes:
        command: that is run.
        kind: ``multirun`` (every combination) or ``search``.
        axes: the keys that have several values.
        base: the settings with the first value of each.
        compose: makes the checked settings of given values, by key as they are written on the command line.
    """

    command: str
    kind: str
    axes: tuple[Axis, ...]
    base: Any
    compose: Callable[[Mapping[str, str]], Any]

    def points(self) -> Iterator[dict[str, str]]:
        """Every combination of values by key; the last key's change fastest, as in Hydra."""
        for values in itertools.product(*(axis.choices for axis in self.axes)):
            yield dict(zip((axis.key for axis in self.axes), values, strict=True))


def read_axes(target: Target, arguments: list[str], kind: str) -> tuple[tuple[Axis, ...], list[str]]:
    """Separate keys with several values from the others.

    Args:
        target: the command.
        arguments: of the command line, without flags.
        kind: ``multirun`` or ``search``.

    Returns:
        The axes in the order of the line, and the other arguments.

    Raises:
        ConfigError: no key has several values, one is not in Hydra's grammar, or an interval without a search.
    """
    axes, others = dict[str, Axis](), list[str]()
    for argument in arguments:
        key, equals, value = argument.partition("=")
        key = key.lstrip("+")
        if equals and (key in target.kinds or re.split("[/@]", key)[0] in target.groups):
            axes.pop(key, None)  # a key that is given twice takes the last
            others = [other for other in others if other.partition("=")[0].lstrip("+") != key]
            if axis := _axis(target, key, value):
                axes[key] = axis
                continue
        others.append(argument)
    if not axes:
        sort_arguments(target, [word for word in others if not _has_commas(target, word)])  # a key that there is not
        raise ConfigError(f"--{kind}: no key has several values; give some, such as {GRAMMAR}")
    for axis in axes.values():
        if kind == "multirun" and not axis.choices:
            raise ConfigError(f"{axis.key}: an interval has no end of values; give some ({GRAMMAR}), or --search")
    return tuple(axes.values()), others


def _has_commas(target: Target, word: str) -> bool:
    """Whether a word is of a known key, whose value only looks as if it were several."""
    return word.partition("=")[0].lstrip("+") in target.kinds


def first_of(axis: Axis) -> str:
    """A value of the axis, as it is written on the command line."""
    if axis.choices:
        return axis.choices[0]
    assert axis.low is not None
    return written(axis, axis.low)


def written(axis: Axis, value: float | str) -> str:
    """A value as it is written on the command line."""
    if isinstance(value, str):
        return value
    return str(int(value)) if axis.whole else repr(float(value))


def _axis(target: Target, key: str, value: str) -> Axis | None:
    """The axis that an argument is; None where it has one value."""
    kind = target.kinds.get(key, "")
    if kind in ("path", "paths", "name", "names") or key == EXPERIMENT:
        if found := LITERAL_CHOICE.match(value):
            return Axis(key, tuple(dict.fromkeys(items(found[1], "names"))))
        several = items(value, "names") if key == EXPERIMENT and not exists(value) else []
        several = list(dict.fromkeys(several))
        return Axis(key, tuple(several)) if len(several) > 1 else None
    if kind == "list" and not re.match(r"\s*(\[.*\]\s*,\s*\[|choice\(|shuffle\(|sort\(|tag\()", value):
        return None  # commas between its items
    return _in_grammar(key, value, whole=kind == "int")


def _in_grammar(key: str, value: str, whole: bool) -> Axis | None:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Glob, IntervalSweep, RangeSweep
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(f"{key}={value}")
        if not override.is_sweep_override():
            return None
        found = override.value()
        if isinstance(found, Glob):
            raise ConfigError(f"{key}={value}: glob is not taken; name the values: {GRAMMAR}")
        if isinstance(found, IntervalSweep):
            assert found.start is not None and found.end is not None
            if not found.start < found.end:
                raise ConfigError(f"{key}={value}: an interval ends above its start")
            if whole and math.ceil(found.start) > math.floor(found.end):
                raise ConfigError(f"{key}={value}: no whole number lies in the interval")
            if "log" in found.tags and found.start <= 0:
                raise ConfigError(f"{key}={value}: on a logarithmic scale an interval starts above 0")
            return Axis(key, (), found.start, found.end, "log" in found.tags, whole)
        choices = tuple(dict.fromkeys(override.sweep_string_iterator()))  # the same twice is one trial
    except HydraException as error:
        detail = " ".join(str(error).splitlines()[0].split())
        raise ConfigError(f"{key}={value}: {detail}; a sweep is written {GRAMMAR}") from error
    if not choices:
        raise ConfigError(f"{key}={value}: has no values")
    if isinstance(found, RangeSweep) and not found.shuffle and all(_is_whole(text) for text in choices):
        numbers = [int(text) for text in choices]
        step = abs(numbers[1] - numbers[0]) if len(numbers) > 1 else 1
        return Axis(key, choices, min(numbers), max(numbers), False, True, step)
    return Axis(key, choices)


def _is_whole(text: str) -> bool:
    return re.fullmatch(r"[-+]?\d+", text) is not None
