"""Settings: ranges, required values, and their way into plain dicts."""

import math
from dataclasses import dataclass
from enum import Enum

import pytest

from pathoprog.errors import ConfigError
from pathoprog.settings import as_dict, check, flat, setting


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
