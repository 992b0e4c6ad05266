"""`pathoprog deidentify`: what in slides could name a person; nothing is changed.

Read are tags, attributes and texts, by the project's own bounded readers in Python alone: no slide library opens the
file and no picture is decoded, so that no reader processes are needed.
"""

import json
from pathlib import Path
from typing import Any

from pathoprog.commands.deidentify_config import DeidentifyConfig
from pathoprog.commands.inspect import find
from pathoprog.errors import SlideError
from pathoprog.slides.identifying.kinds import SHOWN_CHARACTERS, UNREAD, Finding
from pathoprog.slides.identifying.reading import identifying_in
from pathoprog.system.console import say
from pathoprog.text.plain_text import printable


def run(settings: DeidentifyConfig) -> int:
    """List the findings of each slide; 1 where there is one, else 0."""
    paths = find(settings.paths, settings.slides)
    found = {path: _of_slide(path, settings) for path in paths}
    if settings.json:
        records = [
            {"path": path, "findings": [as_record(finding, settings.show) for finding in findings]}
            for path, findings in found.items()
        ]
        say(json.dumps(records, indent=1, ensure_ascii=False))
    else:
        for path, findings in found.items():
            say("\n".join(lines(path, findings, settings.show)))
    return 1 if any(found.values()) else 0


def _of_slide(path: str, settings: DeidentifyConfig) -> list[Finding]:
    """Findings of the wanted kinds; a slide that cannot be read is one, whatever kinds are wanted."""
    roots = (given for given in settings.paths if Path(given).is_dir() and Path(path).is_relative_to(given))
    root = next(roots, "")
    try:
        return [finding for finding in identifying_in(path, root) if finding.kind in settings.kinds]
    except SlideError as error:
        return [Finding(UNREAD, str(error).removeprefix(f"{path}: "))]


def as_record(finding: Finding, show: bool) -> dict[str, Any]:
    """A finding as plain values; what it holds only if it is to be shown."""
    record: dict[str, Any] = {
        "kind": finding.kind,
        "where": printable(finding.where),
        "characters": len(finding.value),
        "times": finding.n,
    }
    return {**record, "value": printable(finding.value[:SHOWN_CHARACTERS])} if show else record


def lines(path: str, findings: list[Finding], show: bool) -> list[str]:
    """A slide and its findings as lines of text."""
    if not findings:
        return [f"{path}: nothing found that could name a person"]
    result = [f"{path}:"]
    for finding in findings:
        record = as_record(finding, show)
        parts = [f"  {finding.kind:<7}", record["where"]]
        parts += [f"{record['characters']} characters"] if finding.value else []
        parts += [f"{finding.n} times"] if finding.n > 1 else []
        parts += [repr(record["value"])] if show and finding.value else []
        result.append(" | ".join(parts))
    return result
