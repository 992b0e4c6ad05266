"""Guesses a sheet's follow-up and event: which columns belong together, their unit, and what their values mean.

A column's name may lie about its values (``cens`` is 1 for the event in one well-known table), so both are looked at:
another column that says who died, and how long each value's rows were followed, since events end a follow-up early.
"""

import re
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from pathoprog.cohort_tables.endpoints import ENDPOINT_LABELS
from pathoprog.cohort_tables.guessing import field_names
from pathoprog.cohort_tables.guessing.columns import named
from pathoprog.cohort_tables.guessing.followup import (
    DEATH,
    ENDPOINTS,
    TimeColumns,
    endpoint_name,
    family_of,
    guess_times,
)
from pathoprog.cohort_tables.guessing.guess import ASKED, LIKELY, SURE, Guess, SheetView, words
from pathoprog.cohort_tables.mapping import OPEN
from pathoprog.text.plain_text import folded

_STATUS = re.compile(
    r"\b(status|event|censor\w*|cens|dead|death|died|deceased|vital|vitalstatus|alive|evt|relapse|recurrence|progression)\b"
)
_CENSOR = re.compile(r"\b(censor\w*|cens)\b")
_INVERSE = re.compile(rf"{_CENSOR.pattern}|\b(alive|living|survived|survivor|lebend|levende)\b")
"""Names whose *yes* means that there was no event."""
_FREE = re.compile(r"\bfree\b")  # "disease free: yes" is no event, "disease free survival: 1" is one
_BARE = {"0", "1", "2", "yes", "no", "true", "false"}  # say nothing without the column's name
NONE, EVENT, COMPETING = "none", "event", "competing"
_WORDS = {
    NONE: """
        0, no, false, none, no event, alive, living, live, lebend, i live, levende, censored, diseasefree, disease free,
        tumor free, alive or dead tumor free, progression free, not progressed, ned, awd
    """,
    EVENT: """
        1, yes, true, event, dead, deceased, died, death, død, verstorben, recurred/progressed, recurred, recurrence,
        progression, progressed, relapse, relapsed, dead with tumor, dod, dead of disease, died of disease, cancer death
    """,
    COMPETING: """
        2, competing, competing death, dead of other causes, dead of other cause, died of other causes, other death,
        doc, dead without tumor
    """,
}
_MEANINGS = {" ".join(word.split()): meaning for meaning, text in _WORDS.items() for word in text.split(",")}
_DEAD = ("dead", "deceased", "died", "death", "død", "verstorben")
_OWN_DISEASE = re.compile(r"cancer|tumou?r|kreft|krebs|carcinoma|malign|crc|colorect|disease|neoplas")


@dataclass(frozen=True)
class EventColumn:
    """A column that says who had an event: its values by what they mean."""

    name: str
    family: str
    meanings: dict[str, str]
    certainty: str
    reason: str

    def of(self, meaning: str) -> list[str]:
        """Its values of one meaning."""
        return [value for value, own in self.meanings.items() if own == meaning]


@dataclass(frozen=True)
class OutcomeGuess:
    """Follow-up, event and what follows from them.

    Attributes:
        endpoint: one of `ENDPOINTS`.
        called: the endpoint in words.
        guesses: for ``followup``, ``event``, ``exclude``, ``contradictions`` and ``time_zero``; further endpoints.
        days: each row's follow-up, NaN where unknown; None where no column holds it.
        others: endpoints that the sheet has beside this one.
        columns: of the sheet, that it reads.
    """

    endpoint: str
    called: str
    guesses: list[Guess]
    days: "pd.Series[float] | None"
    others: list[str]
    columns: list[str]


def guess_outcome(view: SheetView, endpoint: str = "") -> OutcomeGuess:
    """Guess follow-up and event.

    Args:
        view: the sheet.
        endpoint: one of `ENDPOINTS`, if one is wanted; default: the first that the sheet has.
    """
    times = {found.family: found for found in reversed(guess_times(view))}
    events = _events(view)
    here = [family for family in ENDPOINTS if family in times and _event_of(events, family)]
    if not here and times and events:  # a follow-up of one name and an event of another
        family = events[0].family
        times[family] = next(iter(times.values()))
        here = [family]
    chosen = endpoint or (here[0] if here else "")
    if chosen not in here:
        return _nothing(chosen, times.get(chosen) or times.get(""), events)
    time = times[chosen]
    event = _event_of(events, chosen)
    assert event is not None
    event, contradictions = _checked(view, event, events, time)
    followup = Guess("followup", time.value, time.certainty, time.reason, "")
    guesses = [_time_zero(time), followup, *_rules(view, event, _death(events, event)), *contradictions]
    read = [event.name, *(name for name in _flat(time.value) if name in view.names)]
    others = [family for family in here if family != chosen]
    further = [_further(view, family, times[family], events) for family in others if endpoint_name(family, [])]
    read += [name for family in others for name in _flat(times[family].value) if name in view.names]
    rules = next(guess.value for guess in guesses if guess.key == "event")
    if chosen in ("os", "") and any(rule["is"] == COMPETING for rule in rules):
        chosen = "css"  # deaths told apart by their cause
    called = ENDPOINT_LABELS.get(endpoint_name(chosen, read[:2]), ENDPOINTS[chosen])
    read += [one.name for one in events]
    return OutcomeGuess(chosen, called, [*guesses, *further], time.days, others, read)


def _further(view: SheetView, family: str, time: TimeColumns, events: list[EventColumn]) -> Guess:
    """An endpoint of the sheet beside the chosen one, as one entry of ``endpoints``."""
    event = _event_of(events, family)
    assert event is not None
    event, contradictions = _checked(view, event, events, time)
    parts = [*_rules(view, event, _death(events, event)), *contradictions]
    name = endpoint_name(family, [event.name, *_flat(time.value)])
    certainty = max((time.certainty, *(part.certainty for part in parts)), key=(SURE, LIKELY, ASKED).index)
    reason = "; ".join([time.reason, *(part.reason for part in parts)])
    value = {"followup": time.value, **{part.key: part.value for part in parts}}
    return Guess(name, value, certainty, reason, "endpoints")


def _nothing(endpoint: str, time: TimeColumns | None, events: list[EventColumn]) -> OutcomeGuess:
    """What is left to ask where follow-up or event were not found."""
    what = f" of {ENDPOINTS[endpoint]}" if endpoint else ""
    asked = Guess(
        "followup", {"column": OPEN}, ASKED, f"no follow-up{what} was found: which column, in which unit?", ""
    )
    followup = asked if time is None else Guess("followup", time.value, time.certainty, time.reason, "")
    there = f" (there are {', '.join(repr(event.name) for event in events)})" if events else ""
    rules = [{"when": {OPEN: ["0"]}, "is": NONE}, {"when": {OPEN: ["1"]}, "is": EVENT}]
    event = Guess(
        "event", rules, ASKED, f"no event{what} was found{there}: which column, and what do its values mean?", ""
    )
    days = None if time is None else time.days
    return OutcomeGuess(endpoint, ENDPOINTS[endpoint], [followup, event], days, [], [])


def _flat(value: dict[str, Any]) -> list[str]:
    parts = [value.get(key, []) for key in ("column", "start", "end")]
    return [name for part in parts for name in (part if isinstance(part, list) else [part])]


def _events(view: SheetView) -> list[EventColumn]:
    """Every column that says who had an event."""
    found = []
    for name in view.names:
        text, values = words(name), view.values(name)
        family = family_of(name)
        alone = bool(family) and len(text.split()) == 1  # TCGA-CDR's OS, DSS, DFI, PFI
        if (
            not (_STATUS.search(text) or alone)
            or not 2 <= len(values) <= 6
            or re.search(r"\b(margin|tumou?r|menopause)\b", text)
        ):
            continue
        if re.search(r"\bcause\b", text):
            continue
        meanings = {value: _meaning(value) for value in values}
        if "" in meanings.values():
            if set(values) != {"1", "2"}:
                continue
            meanings = {"1": NONE, "2": EVENT}
        bare = {folded(value) for value in values} <= _BARE
        sure = LIKELY if bare else SURE
        if set(values) == {"1", "2"}:
            meanings, said = {"1": NONE, "2": EVENT}, f"{name!r} holds 1 and 2: 2 taken as the event"
        elif _INVERSE.search(text) and bare and len(values) == 2:
            meanings = _turned(meanings)
            one = next(value for value in values if meanings[value] == NONE)
            said = f"{name!r} is named after {_after(text)}: {one} taken as no event"
        else:
            said = f"{name!r} holds {', '.join(map(repr, values))}"
        if not family and any(folded(value) in _DEAD for value in values):
            family = "os"
        if EVENT in meanings.values():
            found.append(EventColumn(name, family, meanings, sure, said))
    return found


def _after(text: str) -> str:
    """What a column whose name is one of `_INVERSE` is named after."""
    return "censoring" if _CENSOR.search(text) else "being alive"


def _meaning(value: str) -> str:
    """What a value says: by cBioPortal's digit before the colon, else by its words; empty where it says nothing."""
    numbered = re.fullmatch(r"([01]):.+", value)
    return (NONE, EVENT)[int(numbered[1])] if numbered else _MEANINGS.get(folded(value), "")


def _event_of(events: list[EventColumn], family: str) -> EventColumn | None:
    """The family's event: one named after it before one that any death column is."""
    own = [event for event in events if event.family == family]
    own.sort(key=lambda event: bool(DEATH.search(words(event.name)) or "vital" in words(event.name)))
    return own[0] if own else None


def _death(events: list[EventColumn], event: EventColumn) -> EventColumn | None:
    """For cancer-specific survival: the column that says who died at all."""
    return _event_of(events, "os") if event.family == "css" else None


def _checked(
    view: SheetView, event: EventColumn, events: list[EventColumn], time: TimeColumns
) -> tuple[EventColumn, list[Guess]]:
    """An event whose codes were compared with another column that says the same, and with the follow-up.

    Returns:
        The event, and a contradiction for rows in which the two columns differ.
    """
    if event.certainty == SURE:
        return event, []
    others = [other for other in events if other.family == event.family and other.name != event.name]
    for other in sorted(others, key=lambda one: one.certainty != SURE):
        cells, known = view.frame[event.name], view.frame[other.name]
        both = (cells != "") & (known != "")
        same = cells.isin(event.of(EVENT)) == known.isin(other.of(EVENT))
        agree = int((same & both).sum())
        if both.sum() and agree >= 0.9 * both.sum():
            said = f"{event.reason}; agrees with {other.name!r} in {agree} of {int(both.sum())} rows"
            found = [_contradiction(event, other)] if agree < both.sum() else []
            return replace(event, certainty=SURE, reason=said), found
        if both.sum() and agree <= 0.1 * both.sum():
            turned = _turned(event.meanings)
            said = f"{event.name!r} is turned: its values agree with {other.name!r} the other way round"
            return replace(event, meanings=turned, certainty=SURE, reason=said), []
    means = {
        meaning: float(time.days[view.frame[event.name].isin(event.of(meaning))].median()) for meaning in (NONE, EVENT)
    }
    said = f"rows with the event are followed for {means[EVENT]:.0f} days (median), the others for {means[NONE]:.0f}"
    if means[EVENT] <= means[NONE]:
        text = words(event.name)
        free = _FREE.search(text) and not set(event.meanings) <= {"0", "1", "2"}
        by_name = _INVERSE.search(text) or free or set(event.meanings) == {"1", "2"}
        certainty = ASKED if by_name else LIKELY
        return replace(event, certainty=certainty, reason=f"{event.reason}; {said}, as it should be"), []
    if _INVERSE.search(words(event.name)) and len(event.meanings) == 2:
        turned = _turned(event.meanings)
        one, zero = event.of(NONE)[0], event.of(EVENT)[0]
        said = (
            f"{event.name!r} is named after {_after(words(event.name))}, but its {one} is taken as the event: rows with"
            f" {one} are followed for {means[NONE]:.0f} days (median), those with {zero} for {means[EVENT]:.0f}, and"
            f" events end a follow-up early; what does {one} mean?"
        )
        return replace(event, meanings=turned, certainty=ASKED, reason=said), []
    said = f"{event.reason}; but {said}: is it the other way round?"
    return replace(event, certainty=ASKED, reason=said), []


def _turned(meanings: dict[str, str]) -> dict[str, str]:
    """Values by what they mean, with event and none the other way round."""
    return {value: {NONE: EVENT, EVENT: NONE}.get(own, own) for value, own in meanings.items()}


def _contradiction(event: EventColumn, other: EventColumn) -> Guess:
    """Rows in which two columns that should say the same do not."""
    rules = [
        {"reason": f"{event.name} and {other.name} contradict each other", "when": {event.name: one, other.name: two}}
        for one, two in ((event.of(EVENT), other.of(NONE)), (event.of(NONE), other.of(EVENT)))
    ]
    return Guess(
        "contradictions", rules, LIKELY, "both say who had the event; rows in which they differ are rejected", ""
    )


def _rules(view: SheetView, event: EventColumn, death: EventColumn | None) -> list[Guess]:
    """``event``, and for cancer-specific survival what a death of another cause is; contradictions of two columns."""
    none, had, competing = (event.of(meaning) for meaning in (NONE, EVENT, COMPETING))
    certainty = event.certainty
    rules = [{"when": {event.name: had}, "is": EVENT}]
    more: list[Guess] = []
    reason = event.reason
    if death is not None and not competing:
        rules += [
            {"when": {death.name: death.of(NONE)}, "is": NONE},
            {"when": {event.name: none, death.name: death.of(EVENT)}, "is": COMPETING},
        ]
        reason += f"; dead by {death.name!r} without it: a competing death"
        unknown = int(((view.frame[event.name] == "") & view.frame[death.name].isin(death.of(EVENT))).sum())
        if unknown:
            when = {event.name: {"missing": True}, death.name: death.of(EVENT)}
            said = f"{unknown} died, and {event.name!r} is empty: whether of the cancer is not known"
            more.append(Guess("exclude", [{"code": "cause of death not known", "when": when}], LIKELY, said, ""))
    elif cause := _cause(view, event):
        name, own = cause
        rules = [
            {"when": {event.name: none}, "is": NONE},
            {"when": {event.name: had, name: own}, "is": EVENT},
            {"when": {event.name: had, name: {"missing": False}}, "is": COMPETING},
        ]
        certainty = ASKED
        reason += f"; of the cancer where {name!r} is {', '.join(map(repr, own))}, else a competing death: is that so?"
    else:
        rules.append({"when": {event.name: none}, "is": NONE})
        if competing:
            rules.append({"when": {event.name: competing}, "is": COMPETING})
            certainty = ASKED if certainty == ASKED else LIKELY
    guesses = [Guess("event", rules, certainty, reason, "")]
    return [*guesses, *more]


def _cause(view: SheetView, event: EventColumn) -> tuple[str, list[str]] | None:
    """A column with causes of death, and its values that are the patient's own cancer."""
    if event.family not in ("os", ""):
        return None
    for name, _ in named(view, field_names.CAUSE):
        own = [value for value in view.values(name) if _OWN_DISEASE.search(folded(value))]
        if own and len(own) < len(view.values(name)):
            return name, own
    return None


def _time_zero(time: TimeColumns) -> Guess:
    if "start" in time.value:
        return Guess(
            "time_zero", str(time.value["start"]), LIKELY, "where the follow-up begins; its words stand in reports", ""
        )
    return Guess(
        "time_zero", "diagnosis", ASKED, "the sheet does not say from when on it counts: surgery, or diagnosis?", ""
    )
