"""Results since a time, as CSV or JSON lines, given out row by row.

The last record is no result: it says how many there were, how many are withheld and where the next export begins. An
export without it was cut.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pathoprog import RESEARCH_USE_ONLY
from pathoprog.errors import InputError
from pathoprog.inference.service.events import line_json
from pathoprog.scoring.results import result_columns
from pathoprog.slides.resolutions import METHOD_RESOLUTIONS, RESOLUTIONS
from pathoprog.system.csv_files import CsvLines

BEFORE_COLUMNS = ("record", "seq", "at")
"""`record` is ``result``, or ``end`` for the last one; `seq` and `at` are of the event that the result came with."""
RESULT, END = "result", "end"
MOST_DIGITS = 18  # of an event's number: a database holds no longer one
_NUMBERS: Mapping[str, Callable[[str], float]] = {
    **{f"score_{name}": float for name in RESOLUTIONS},
    **{f"n_tiles_{name}": int for name in RESOLUTIONS},
    "seconds": float,
}
_SWITCHES = {"true": True, "false": False, "": None}


@dataclass(frozen=True)
class ExportRow:
    """A result that is done.

    Attributes:
        seq: number of the event that it came with; of its release where it was withheld before, so that who exports
            step by step gets it then.
        at: time of the event, UTC, ISO 8601.
        withheld: who asks may not see it.
        row: as `pathoprog.scoring.results.slide_row` gives it.
    """

    seq: int
    at: str
    withheld: bool
    row: Mapping[str, Any]


@dataclass(frozen=True)
class Since:
    """Where an export begins: after the event `seq`, and not before the time `at` (None: at any time)."""

    seq: int = 0
    at: datetime | None = None

    def reached(self, row: ExportRow) -> bool:
        """Whether a row belongs to the export."""
        return row.seq > self.seq and (self.at is None or datetime.fromisoformat(row.at) >= self.at)


def since_of(text: str) -> Since:
    """Where an export begins: empty (with the first result), an event's number or a time.

    Args:
        text: a number (digits alone) is the `next_since` of an earlier export, which goes on from there without gap or
            repeat; a time is in ISO 8601 with hyphens, UTC where it names no zone.

    Raises:
        InputError: neither.
    """
    text = text.strip()
    if not text:
        return Since()
    if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS:
        return Since(seq=int(text))
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            f"since={text[:40]!r}: must be an event's number or a time as 2026-12-01T08:00:00Z (in an address a + is "
            "written as %2B)"
        ) from error
    return Since(at=at.replace(tzinfo=UTC) if at.tzinfo is None else at)


class _Tail:
    """Counts what an export gives, for its last record."""

    def __init__(self, since: Since):
        self.since, self.results, self.withheld, self.next_since = since, 0, 0, since.seq

    def shown(self, rows: Iterable[ExportRow]) -> Iterator[ExportRow]:
        """The rows that belong to the export and may be seen."""
        for row in rows:
            self.next_since = max(self.next_since, row.seq)
            if not self.since.reached(row):
                continue
            if row.withheld:
                self.withheld += 1
            else:
                self.results += 1
                yield row


def export_columns(resolutions: Collection[str] = METHOD_RESOLUTIONS) -> tuple[str, ...]:
    """Columns of an export of bundles with these resolutions; a bundle's rows are empty where it has not one."""
    return (*BEFORE_COLUMNS, *result_columns(resolutions))


def export_csv(
    rows: Iterable[ExportRow], since: Since, resolutions: Collection[str] = METHOD_RESOLUTIONS
) -> Iterator[str]:
    """A CSV table line by line, as safe for a spreadsheet as results.csv.

    Args:
        rows: in the order of their numbers.
        since: where the export begins.
        resolutions: of the bundles whose results they are.
    """
    text: list[str] = []
    table = CsvLines(text.append, export_columns(resolutions))
    tail = _Tail(since)
    for row in tail.shown(rows):
        table.add({"record": RESULT, "seq": row.seq, "at": row.at, **_columns(row, resolutions)})
        yield "".join(text)
        text.clear()
    reason = (
        f"{tail.results} results; {tail.withheld} withheld; go on with since={tail.next_since}. {RESEARCH_USE_ONLY}"
    )
    table.add({"record": END, "seq": tail.next_since, "reason": reason})
    yield "".join(text)


def export_json_lines(
    rows: Iterable[ExportRow], since: Since, resolutions: Collection[str] = METHOD_RESOLUTIONS
) -> Iterator[str]:
    """JSON records, one a line; numbers are numbers, and what is not known is null.

    Args:
        rows: in the order of their numbers.
        since: where the export begins.
        resolutions: of the bundles whose results they are.
    """
    tail = _Tail(since)
    for row in tail.shown(rows):
        values = {name: _typed(name, value) for name, value in _columns(row, resolutions).items()}
        yield f"{line_json({'record': RESULT, 'seq': row.seq, 'at': row.at, **values})}\n"
    end = {
        "record": END,
        "results": tail.results,
        "withheld": tail.withheld,
        "next_since": tail.next_since,
        "research_use_only": RESEARCH_USE_ONLY,
    }
    yield f"{line_json(end)}\n"


def _columns(row: ExportRow, resolutions: Collection[str]) -> dict[str, Any]:
    return {name: row.row.get(name, "") for name in result_columns(resolutions)}


def _typed(name: str, value: Any) -> Any:
    if name == "borderline":
        return _SWITCHES[value]
    if name in _NUMBERS:
        return None if value == "" else _NUMBERS[name](value)
    return value
