"""What came when: openings, amendments and plans in their order, and what was planned before which opening."""

import difflib
import itertools
from dataclasses import dataclass
from typing import Any

from pathoprog.errors import InputError
from pathoprog.validation.openings.lock import PARTS, SHOWN, chain_of
from pathoprog.validation.openings.register import Openings
from pathoprog.validation.plan import PRIMARY, TITLES, AnalysisPlan, parse_plan

FIELDS = (
    "title", "time_zero", "primary", "planned", "covariates", "subgroups", "horizons_years", "absolute_risk",
    "sites", "added_value", "added_value_of", "treatment", "cuts_years",
    "landmarks_years", "endpoints",
)  # fmt: skip
ITEMS = ("covariates", "subgroups", "horizons_years", "sites", "added_value", "cuts_years", "landmarks_years")
"""Fields of a plan whose items can come one by one."""


@dataclass(frozen=True)
class Opening:
    """One opening as the report shows it.

    Attributes:
        number: counted over all folders.
        utc: its date.
        here: True if it was made in this folder.
        changed: what had changed since the opening before, in words; None where that is not on record.
        amendments: numbers of this folder's amendments that say so.
        outcomes_changed: in what the outcomes had changed, in words, or empty.
        reason: given for changed outcomes.
        plan: in force, where it is known.
        result: the primary one, where the analysis came to its end.
    """

    number: int
    utc: str
    here: bool
    changed: tuple[str, ...] | None
    amendments: tuple[int, ...]
    outcomes_changed: str
    reason: str
    plan: AnalysisPlan | None
    result: dict[str, Any] | None


@dataclass(frozen=True)
class History:
    """Everything of a validation that has a date.

    Attributes:
        locked_utc: date of the lock in force; empty for a lock of an older version.
        openings: in their order; the last one is the present one.
        amendments: of the lock, in their order.
        plans: distinct texts of the plan in their order: date, number of openings before it, text.
        labels: of each analysis, and of `PRIMARY`: ``planned``, ``exploratory``, ``added after opening 1`` …
        others: how often the same outcomes were opened for other ensembles.
        notes: what is missing from the records, each a sentence.
        begun: date of the register's first line, or empty.
    """

    locked_utc: str
    openings: tuple[Opening, ...]
    amendments: tuple[dict[str, Any], ...]
    plans: tuple[tuple[str, int, str], ...]
    labels: dict[str, str]
    others: dict[str, int]
    notes: tuple[str, ...]
    begun: str

    @property
    def present(self) -> Opening:
        """The opening that this report is of."""
        return self.openings[-1]

    @property
    def plan(self) -> AnalysisPlan:
        """The plan in force."""
        assert self.present.plan is not None
        return self.present.plan

    def item_label(self, field: str, item: str | float) -> str:
        """``added after opening 1`` for an item of one of the plan's `ITEMS`; empty where it was there at first."""
        assert field in ITEMS
        label = ""
        for opening in self.openings[:-1]:
            if opening.plan is not None and item in getattr(opening.plan, field):
                return label
            label = f"added after opening {opening.number}"
        return label

    def plan_changes(self) -> list[tuple[str, str, str]]:
        """Fields of the plan that differ from those of the first opening: field, then and now."""
        first = self.openings[0].plan
        if first is None or first == self.plan:
            return []
        pairs = [(name, getattr(first, name), getattr(self.plan, name)) for name in FIELDS]
        return [(name, _said(before), _said(after)) for name, before, after in pairs if before != after]

    def record(self) -> dict[str, Any]:
        """The same as one value, for a file."""
        return {
            "locked_utc": self.locked_utc,
            "openings": [
                {
                    "opening": opening.number,
                    "utc": opening.utc,
                    "this_folder": opening.here,
                    "changed": None if opening.changed is None else list(opening.changed),
                    "outcomes_changed": opening.outcomes_changed,
                    "reason": opening.reason,
                    "result": opening.result,
                }
                for opening in self.openings
            ],
            "amendments": [
                {key: value for key, value in entry.items() if key != "replaced"} for entry in self.amendments
            ],
            "plans": [{"utc": utc, "openings_before": before, "text": text} for utc, before, text in self.plans],
            "labels": self.labels,
            "opened_for_other_ensembles": self.others,
            "register_begun": self.begun,
            "notes": list(self.notes),
        }


def history_of(locked: dict[str, Any], before: Openings, entry: dict[str, Any], more_notes: list[str]) -> History:
    """Put lock, earlier openings and the present one together.

    Args:
        locked: the lock in force.
        before: the openings before the present one.
        entry: the present one.
        more_notes: of the recording.
    """
    texts = _plans_of(locked)
    entries = [*before.entries, {**entry, "result": None}]
    openings: list[Opening] = []
    for place, one in enumerate(entries):
        earlier = entries[place - 1] if place else None
        parts = _parts(one, locked)
        text = one.get("plan") or texts.get((parts or {}).get("plan", ""), "")
        amended = [
            number
            for number, amendment in enumerate(locked["amendments"], start=1)
            if earlier is not None
            and amendment.get("after_opening") is not None
            and int(earlier["opening"]) <= amendment["after_opening"] < int(one["opening"])
        ]
        openings.append(
            Opening(
                int(one["opening"]),
                one["utc"],
                one.get("out", entry["out"]) == entry["out"],
                () if earlier is None else _changed(_parts(earlier, locked), parts),
                tuple(amended),
                one.get("outcomes_changed", ""),
                one.get("reason", ""),
                _parsed(text),
                one.get("result"),
            )
        )
    plan = openings[-1].plan
    assert plan is not None
    known_plans = [opening.plan for opening in openings if opening.plan is not None]
    analyses = [name for name in TITLES if any(one.asks_for(name) for one in known_plans)]
    earlier_plans = [(opening.number, opening.plan) for opening in openings[:-1]]
    notes = [*before.notes, *more_notes]
    unknown = [str(number) for number, known in earlier_plans if known is None]
    if unknown:
        notes.append(
            f"The plan of opening {', '.join(unknown)} is not on record: the version that made its lock kept no plan. "
            "What is planned now counts as added after it."
        )
    notes += [text for one, other in itertools.pairwise(entries) if (text := _libraries_changed(one, other))]
    return History(
        locked.get("utc", ""),
        tuple(openings),
        tuple(locked["amendments"]),
        _versions(locked, entries),
        {analysis: label_of(analysis, plan, earlier_plans) for analysis in (PRIMARY, *analyses)},
        before.others,
        tuple(notes),
        before.begun,
    )


def label_of(analysis: str, plan: AnalysisPlan, earlier: list[tuple[int, AnalysisPlan | None]]) -> str:
    """What an analysis is called in tables and figures.

    Args:
        analysis: one of `TITLES`, or `PRIMARY`.
        plan: in force.
        earlier: number and plan of each opening before; a plan that is not known planned nothing.

    Returns:
        ``planned`` (or ``primary``) if the first opening's plan had it, in the same way; ``added after opening N`` if
        it came then; ``changed after opening N`` if what defines it did; ``exploratory`` if it is not planned.
    """
    mine = plan.definition(analysis)
    then = [(number, None if known is None else known.definition(analysis)) for number, known in earlier]
    if mine is None:
        planned = [number for number, definition in then if definition is not None]
        return f"exploratory: taken out of the plan after opening {max(planned)}" if planned else "exploratory"
    before = []
    for number, definition in then:
        if definition == mine:
            break
        before.append((number, definition))
    if not before:
        return PRIMARY if analysis == PRIMARY else "planned"
    word = "added" if all(definition is None for _, definition in before) else "changed"
    return f"{word} after opening {before[-1][0]}"


def plan_difference(before: str, after: str) -> list[tuple[str, str]]:
    """Lines that two plans do not share: ``−`` or ``+``, and the line."""
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    signs = {"- ": "−", "+ ": "+"}
    return [(signs[line[:2]], line[2:]) for line in lines if line[:2] in signs and line[2:].strip()]


def _plans_of(locked: dict[str, Any]) -> dict[str, str]:
    """The plans that the lock keeps, by their hash."""
    kept = [entry["replaced"] for entry in locked["amendments"] if "replaced" in entry]
    return {one["hashes"]["plan"]: one["plan"] for one in [*kept, locked] if one.get("plan")}


def _parts(entry: dict[str, Any], locked: dict[str, Any]) -> dict[str, str] | None:
    """Hashes of what an opening rested on: its own, or, of an older version's entry, those of its lock."""
    if "parts" in entry:
        parts: dict[str, str] = entry["parts"]
        return parts
    kept = {one["replaces"]: one["replaced"]["hashes"] for one in locked["amendments"] if "replaced" in one}
    return {**kept, locked["sha256"]: locked["hashes"]}.get(entry["lock"])


def _changed(before: dict[str, str] | None, after: dict[str, str] | None) -> tuple[str, ...] | None:
    if before is None or after is None:
        return None
    known = {**PARTS, **SHOWN}
    return tuple(text for part, text in known.items() if part in before and before[part] != after.get(part))


def _libraries_changed(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Which of the libraries that compute had another version than at the opening before, as a sentence."""
    old, new = before.get("libraries", {}), after.get("libraries", {})
    names = [name for name in new if name in old and old[name] != new[name]]
    if not names:
        return ""
    now, then = (", ".join(f"{name} {one[name]}" for name in names) for one in (new, old))
    return f"Opening {after['opening']} was computed with {now}, opening {before['opening']} with {then}."


def _parsed(text: str) -> AnalysisPlan | None:
    if not text:
        return None
    try:
        return parse_plan(text, "plan")
    except InputError:  # of a version that planned other things
        return None


def _versions(locked: dict[str, Any], entries: list[dict[str, Any]]) -> tuple[tuple[str, int, str], ...]:
    """Texts of the plan in their order, equal neighbours once."""
    found: list[tuple[int, str, str]] = []
    after = 0
    for amendment in locked["amendments"]:
        kept = amendment.get("replaced", {})
        if kept.get("plan"):
            found.append((after, kept.get("utc", ""), kept["plan"]))
        after = amendment.get("after_opening", after)
    found.append((after, locked.get("utc", ""), locked.get("plan", "")))
    own = set(chain_of(locked))
    found += [
        (int(entry["opening"]) - 1, entry["utc"], entry["plan"])
        for entry in entries
        if entry.get("plan") and entry["lock"] not in own
    ]
    found.sort(key=lambda item: item[:2])
    versions: list[tuple[str, int, str]] = []
    for before, utc, text in found:
        if text and (not versions or versions[-1][2] != text):
            versions.append((utc, before, text))
    return tuple(versions)


def _said(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(f"{item:g}" if isinstance(item, float) else str(item) for item in value) or "nothing"
    if hasattr(value, "contrast"):
        worse, better = value.contrast
        return f"{worse} vs {better} in {value.cohort}, {value.test}, {value.horizon_years:g} years; {value.endpoint}"
    return str(value) or "nothing"
