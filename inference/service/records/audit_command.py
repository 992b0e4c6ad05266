"""`pathoprog audit verify FILE` and `pathoprog audit head FILE`: is the audit log whole, and where does it end?"""

from pathlib import Path

from pathoprog.errors import ConfigError
from pathoprog.inference.service.records.audit_check import AuditReport, verify
from pathoprog.inference.service.records.audit_lines import BrokenLogError
from pathoprog.inference.service.records.audit_log import head
from pathoprog.inference.service.records.records_config import AuditConfig
from pathoprog.system.console import say
from pathoprog.text.wording import count


def run(settings: AuditConfig) -> int:
    """Do it, and say it; exit code 0 whole, 1 broken."""
    if len(settings.action) != 2 or settings.action[0] not in ("verify", "head"):
        raise ConfigError(
            "say what to do: `audit verify FILE`, with head=SEQ:HASH where one was noted, or `audit head FILE`"
        )
    action, path = settings.action[0], Path(settings.action[1])
    if action == "verify":
        return _say_report(path, verify(path, settings.head), bool(settings.head))
    if settings.head:
        raise ConfigError("head=… is for `audit verify`")
    try:
        say(str(head(path)))
    except BrokenLogError as error:
        say(str(error))
        return 1
    return 0


def _say_report(path: Path, report: AuditReport, known: bool) -> int:
    if not report.whole:
        say(f"{path}: BROKEN at {report.fault}")
        say(f"  whole lines before it: {report.lines}")
    else:
        files = f" in {report.files} files" if report.files > 1 else ""
        say(f"{path}: whole, {count(report.lines, 'line')}{files}")
    if report.torn:
        places = ", ".join(map(str, report.torn))
        say(f"  an unfinished line was taken off before line {places} (a crash or a full disk)")
    if report.head is not None:
        say(f"  head: {report.head}")
    if report.whole and not known:
        say("  that its end was not cut shows only with a head that was noted elsewhere: head=SEQ:HASH")
    return 0 if report.whole else 1
