"""The history on the report's first page, and its section: openings, amendments, plans, and what came after which."""

from typing import Any

import pandas as pd

from pathoprog.report.document import Section, Table, Text
from pathoprog.report.validation.findings import Findings, headed
from pathoprog.text.wording import count, listing
from pathoprog.validation.openings.history import Opening, plan_difference
from pathoprog.validation.openings.lock import OLDER, PARTS
from pathoprog.validation.plan import PRIMARY, TITLES

SHOWN_OPENINGS = 20
"""Openings shown one by one; of more, those without any change in between are counted."""


def history_facts(findings: Findings) -> list[tuple[str, str]]:
    """Lines of the box under the title: openings and amendments (of the lock, or for other outcomes), with dates."""
    history = findings.history
    openings = history.openings
    opened = f"{history.present.number}: {date(openings[0].utc)}"
    if len(openings) > 1:
        opened = f"{history.present.number}: the first {date(openings[0].utc)}, this one {date(history.present.utc)}"
    dates = [entry.get("utc", "") for entry in history.amendments]
    dates = sorted([*dates, *(opening.utc for opening in openings if opening.outcomes_changed)])
    amended = f"{len(dates)}: {listing([date(utc) for utc in dates])}" if dates else "none"
    on_record = date(history.plans[0][0]) if history.plans else "on a date not kept"
    return [
        ("Plan on record", on_record),
        ("Locked", date(history.locked_utc)),
        ("Openings", opened),
        ("Amendments", amended),
        ("Report", date(findings.written_utc)),
    ]


def history_texts(findings: Findings) -> list[Text]:
    """What a reader must know before any result: each change after an opening, with its date and both results."""
    history = findings.history
    texts = []
    for number, amendment in enumerate(history.amendments, start=1):
        texts.append(Text(amendment_text(number, amendment), "warning"))
    for earlier, opening in zip(history.openings, history.openings[1:], strict=False):
        text = _opening_text(earlier, opening, findings)
        if text:
            texts.append(Text(text, "warning"))
        if opening.utc < earlier.utc:
            texts.append(
                Text(
                    f"Opening {opening.number} is dated {date(opening.utc)}, before opening {earlier.number} "
                    f"({date(earlier.utc)}): the clock was set back.",
                    "warning",
                )
            )
    if history.labels[PRIMARY] != PRIMARY:
        texts.append(Text(f"The primary analysis was {history.labels[PRIMARY]}.", "warning"))
    after = _after(findings)
    if after:
        texts.append(Text(f"Not as planned before the first opening: {'; '.join(after)}.", "warning"))
    texts += [Text(note, "warning") for note in history.notes]
    if history.others:
        n = sum(history.others.values())
        texts.append(
            Text(
                f"The same outcomes were also opened {count(n, 'time')} for "
                f"{count(len(history.others), 'other ensemble')} "
                f"({listing([f'{name[:12]}…' for name in history.others])}).",
                "warning",
            )
        )
    times = "once" if history.present.number == 1 else f"{history.present.number} times"
    unchanged = "" if texts else "; nothing locked has changed"
    begun = date(history.begun) if history.begun else "with this opening"
    text = f"The outcomes were opened {times}{unchanged}. The user's register of openings was begun {begun}."
    return [*texts, Text(text, "note")]


def history_section(findings: Findings) -> Section:
    """Every opening with its result, every amendment, and the plan's changes line by line."""
    history = findings.history
    section = Section("history", "Openings, and what changed after them")
    section.add(
        Text(
            f"Openings are counted for the ensemble that scored and these outcomes, in whatever folder. The lock in "
            f"force was made {date(history.locked_utc)}. Records on one's own disk prove little to others: what they "
            "hold can be compared with a hash that was deposited publicly before the first opening."
        ),
        _openings_table(findings),
    )
    for number, amendment in enumerate(history.amendments, start=1):
        section.add(Text(amendment_text(number, amendment)))
    changes = history.plan_changes()
    if changes:
        section.add(
            Table(
                "plan_changes",
                "The plan at the first opening, and now.",
                headed(pd.DataFrame(changes, columns=["of the plan", "at opening 1", "now"])),
                text_columns=3,
                wrap=True,
            )
        )
    for number, (before, after) in enumerate(zip(history.plans, history.plans[1:], strict=False), start=1):
        lines = plan_difference(before[2], after[2])
        title = (
            f"Plan of {date(after[0])} (after {count(after[1], 'opening')}) against that of {date(before[0])}: lines "
            "taken out (−) and put in (+)."
        )
        frame = pd.DataFrame(lines, columns=["", "Line"])
        section.add(Table(f"plan_lines_{number}", title, frame, text_columns=2, wrap=True))
    return section


def amendment_text(number: int, amendment: dict[str, Any]) -> str:
    """One amendment as a sentence."""
    after = amendment.get("after_opening")
    when = f"{date(amendment.get('utc', ''))}, " + (
        "not known after which opening"
        if after is None
        else f"after opening {after}"
        if after
        else "before any opening"
    )
    details = "; ".join(amendment.get("differences", {}).values())
    return (
        f"Amendment {number} ({when}): {listing(amendment['changed'])} changed{f' ({details})' if details else ''}. "
        f"Reason given: {amendment['reason'].rstrip('.')}."
    )


def _opening_text(earlier: Opening, opening: Opening, findings: Findings) -> str:
    """What had changed between two openings that no amendment of this folder says; empty where nothing had."""
    amendments = findings.history.amendments
    said = {text for number in opening.amendments for text in amendments[number - 1]["changed"]}
    said |= {PARTS["code"]} if OLDER in said else set()
    where = "this one" if opening is findings.history.present else "in this folder" if opening.here else "elsewhere"
    head = f"Opening {opening.number} ({date(opening.utc)}, {where})"
    before = f"opening {earlier.number} ({date(earlier.utc)})"
    parts = []
    if opening.changed is None:
        parts.append(f"{head}: whether anything locked had changed since {before} is not on record.")
    changed = [text for text in opening.changed or () if text not in said]
    if changed:
        parts.append(f"{head}: {listing(changed)} differed from {before}, without a reason given.")
    if opening.outcomes_changed:
        reason = opening.reason.rstrip(".") or "none"
        parts.append(
            f"{head}: the outcomes had changed since {before}: {opening.outcomes_changed}. Reason given: {reason}. "
            f"Primary result under the earlier outcomes: {result_text(earlier.result)} Under the changed ones: "
            f"{result_text(_result(opening, findings))}"
        )
    elif changed and earlier.result is not None:
        parts.append(f"Primary result of opening {earlier.number}: {result_text(earlier.result)}")
    return " ".join(parts)


def _after(findings: Findings) -> list[str]:
    labels = findings.history.labels
    groups: dict[str, list[str]] = {}
    for analysis, words in TITLES.items():
        if labels.get(analysis, "exploratory") not in ("planned", "exploratory"):
            groups.setdefault(labels[analysis].removeprefix("exploratory: "), []).append(words)
    return [f"{label}: {listing(words)}" for label, words in groups.items()]


def _result(opening: Opening, findings: Findings) -> dict[str, Any] | None:
    return findings.result if opening is findings.history.present else opening.result


def result_text(result: dict[str, Any] | None) -> str:
    """A primary result in one sentence."""
    if result is None:
        return "not on record."
    return f"{count(result['n'], 'patient')}, {count(result['events'], 'event')}; {result['sentence']}"


def _openings_table(findings: Findings) -> Table:
    history = findings.history
    openings = list(history.openings)
    note = ""
    if len(openings) > SHOWN_OPENINGS:
        kept = [
            one for one in openings if one in (openings[0], openings[-1]) or one.changed != () or one.outcomes_changed
        ]
        note = f"{count(len(openings) - len(kept), 'opening')} before which nothing had changed are not shown."
        openings = kept
    rows = []
    for opening in openings:
        changed = ["not on record"] if opening.changed is None else list(opening.changed)
        if opening.outcomes_changed:
            changed.append(f"the outcomes ({opening.outcomes_changed})")
        rows.append(
            (
                str(opening.number),
                date(opening.utc),
                "here" if opening.here else "elsewhere",
                listing(changed) or ("–" if opening is history.openings[0] else "nothing"),
                result_text(_result(opening, findings)),
            )
        )
    columns = ["Opening", "Date", "Folder", "Changed since the one before", "Primary result"]
    return Table(
        "openings", "Openings on record.", pd.DataFrame(rows, columns=columns), note=note, text_columns=5, wrap=True
    )


def date(utc: str) -> str:
    """``2026-11-27 20:31 UTC``."""
    return f"{utc[:16].replace('T', ' ')} UTC" if utc else "on a date not kept"
