"""Records: typed in, the same out; optional is absent; what is not known is kept, or refused by settings."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from pathoprog.system.records import Record, RecordError, Saved, plain, record_of, saved_of


@dataclass
class Settings:
    """Plain settings."""

    size: int = 4
    share: float = 0.5
    names: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Inner(Record):
    """Held by another."""

    x: float


@dataclass(frozen=True, kw_only=True)
class Outer(Record):
    """Holds one of each."""

    name: str
    pair: tuple[float, int]
    inner: Mapping[str, Inner]
    saved: Saved[Settings]
    several: tuple[Inner, ...] = ()
    note: str | None = None
    place: str = field(default="here", metadata={"kept": False})


SAID = {
    "name": "a", "pair": [1, 2], "inner": {"b": {"x": 3, "later": None}}, "saved": {"size": 8, "odd": [1]},
    "several": [{"x": 0.5}], "further": {"z": 1},
}  # fmt: skip


def test_what_is_read_is_written():
    found = record_of(Outer, SAID)
    assert plain(found) == SAID and isinstance(plain(found)["pair"][0], int), "a whole number stays one"
    assert found.unknown == {"further": {"z": 1}} and found.note is None and found.place == "here"
    assert found.saved.settings == Settings(8) and found.saved.younger == {"share", "names"}
    assert plain({"a": found.several[0]}) == {"a": {"x": 0.5}}
    assert record_of(Outer, {**SAID, "note": "n"}).note == "n"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": None}, "name: null, must be text"),
        ({"note": None}, "note: null, must be text"),
        ({"pair": [1, 2.5]}, r"pair\[1\]: 2\.5, must be a whole number"),
        ({"pair": [True, 2]}, r"pair\[0\]: true, must be a finite number"),
        ({"pair": [1]}, r"pair: \[1\], must be a list of 2"),
        ({"pair": [10**400, 1]}, r"pair\[0\]: 1000.* …, must be a finite number"),
        ({"inner": {"b": {}}}, r"inner\.b: lacks x"),
        ({"inner": {"b": {"x": math.nan}}}, r"inner\.b\.x: NaN, must be a finite number"),
        ({"saved": {"names": [1]}}, r"saved\.names\[0\]: 1, must be text"),
        ({"several": "abc"}, 'several: "abc", must be a list'),
    ],
)
def test_what_is_wrong_is_said_with_its_place(changes, said):
    with pytest.raises(RecordError, match=said):
        record_of(Outer, {**SAID, **changes})


@dataclass(frozen=True, kw_only=True)
class Measured(Record):
    """What may be null, and what may be absent."""

    value: float | None
    note: str | None = None


def test_what_may_be_null_is_there_and_what_may_be_absent_is_not_null():
    nothing = record_of(Measured, {"value": None})
    assert nothing == Measured(value=None) and plain(nothing) == {"value": None}
    assert record_of(Measured, {"value": None}, nan=True).value is None
    assert plain(record_of(Measured, {"value": 0.5, "note": "n"})) == {"value": 0.5, "note": "n"}
    with pytest.raises(RecordError, match=r"^lacks value$"):
        record_of(Measured, {})
    with pytest.raises(RecordError, match="value: true, must be a finite number"):
        record_of(Measured, {"value": True})
    with pytest.raises(RecordError, match="note: null, must be text"):
        record_of(Measured, {"value": 1.0, "note": None})


def test_missing_keys_are_all_named_and_settings_know_what_they_know():
    with pytest.raises(RecordError, match=r"^lacks name, pair, inner, saved, several$"):
        record_of(Outer, {})
    with pytest.raises(RecordError, match="it: 3, must be a record"):
        record_of(Outer, 3)
    with pytest.raises(RecordError, match="it: holds what this version does not know: odd"):
        record_of(Settings, {"size": 1, "share": 1, "names": [], "odd": 2})
    assert saved_of(Settings, {}).settings == Settings()


def test_a_number_that_is_not_known_is_null_only_where_that_is_said():
    assert math.isnan(record_of(Inner, {"x": None}, nan=True).x)
    with pytest.raises(RecordError):
        record_of(Inner, {"x": None})
