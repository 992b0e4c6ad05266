"""Settings: ranges, required values, and their way into plain dicts."""

import math
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import pytest

from pathoprog.errors import ConfigError
from pathoprog.settings import as_dict, built_by_hand, check, flat, setting


class Colour(Enum):
    """Values that are no Python names."""

    TEN = "10x"


@dataclass
class Inner:
    """Nested settings."""

    share: float = setting(0.5, "share", low=0.0, high=1.0)
    names: list[str] = setting(["a"], "names", choices=("a", "b"))


@dataclass
class Settings:
    """One field of each kind of rule."""

    n: int = setting(1, "count", low=1)
    step: float = setting(1.0, "step", low=0.0, open_low=True)
    free: float = setting(0.0, "any number")
    out: str = setting("x", "folder", kind="path", required=True)
    flag: bool = setting(True, "a switch", low=5)
    inner: Inner = setting(Inner(), "nested")
    resolution: Colour = setting(Colour.TEN, "resolution")
    thresholds: dict[str, float] = setting({"10x": 0.5}, "cuts")


def test_defaults_pass_and_bounds_are_inclusive() -> None:
    for settings in (Settings(), Settings(inner=Inner(share=0.0)), Settings(inner=Inner(share=1.0), free=math.inf)):
        before = as_dict(settings)
        check(settings)
        assert as_dict(settings) == before, "a check changes nothing"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings(n=0), "n=0: must be at least 1"),
        (Settings(step=0.0), "step=0: must be above 0"),
        (Settings(step=math.nan), "step=nan: must be above 0"),
        (Settings(step=math.inf), "step=inf: must be above 0"),
        (Settings(inner=Inner(share=1.01)), "inner.share=1.01: must be at least 0 and at most 1"),
        (Settings(inner=Inner(names=["a", "c"])), "inner.names='c': must be one of a, b"),
        (Settings(out=""), "out is missing: give out=… (folder)"),
    ],
)
def test_a_wrong_value_is_named_with_its_full_key(settings: Settings, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(settings)
    assert str(caught.value) == message


def test_mutable_defaults_are_copied() -> None:
    first, second = Settings(), Settings()
    first.inner.names.append("b")
    first.thresholds["40x"] = 0.1
    assert second.inner.names == ["a"] and second.thresholds == {"10x": 0.5}


def test_settings_become_plain_and_flat() -> None:
    plain = as_dict(Settings())
    assert plain["resolution"] == "10x" and plain["inner"] == {"share": 0.5, "names": ["a"]}
    assert flat(plain)["inner.share"] == 0.5 and flat(plain)["thresholds.10x"] == 0.5
    assert flat({"empty": {}}) == {"empty": {}}


def test_settings_built_in_python_get_the_types_of_their_fields():
    given = Settings(n=np.int64(3), step=2, out=Path("a/b"), inner=Inner(share=np.float32(0.5), names=("a", "b")))
    own = built_by_hand(given, Settings)
    assert (own.n, own.step, own.out, own.inner.share, own.inner.names) == (3, 2.0, "a/b", 0.5, ["a", "b"])
    assert [type(value) for value in (own.n, own.out, own.inner.share)] == [int, str, float]
    assert given.out == Path("a/b") and own.inner is not given.inner, "the caller's own are left alone"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (Settings(n="3"), r"n='3' \(str\): must be a whole number"),
        (Settings(n=3.0), r"n=3\.0 \(float\): must be a whole number"),
        (Settings(n=True), r"n=True \(bool\): must be a whole number"),
        (Settings(step=None), r"step=None \(NoneType\): must be a number"),
        (Settings(flag="no"), r"flag='no' \(str\): must be True or False"),
        (Settings(out=3), r"out=3 \(int\): must be a text"),
        (Settings(inner=Inner(names="a")), r"inner\.names: must be a list, each a text, not 'a'"),
        (Settings(inner=Inner(names=["a", 1])), r"inner\.names=1 \(int\): must be a text"),
        (Settings(inner={"share": 1}), r"inner: must be Inner, not \{'share': 1\} \(dict\)"),
        ({"n": 3}, "settings: must be Settings, not"),
    ],
)
def test_settings_of_wrong_types_are_refused_by_their_key(wrong, said):
    with pytest.raises(ConfigError, match=said):
        built_by_hand(wrong, Settings)
