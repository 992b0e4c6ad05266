"""`pathoprog restore SETTINGS backup=FOLDER`: make a backup the state again, less what was forgotten since."""

import getpass
from pathlib import Path

from pathoprog.inference.service.config import RestoreConfig, settings_of
from pathoprog.inference.service.forget import offline, put_on_record
from pathoprog.inference.service.records.audit_lines import Action
from pathoprog.inference.service.records.audit_log import AUDIT_FILE, AuditLog
from pathoprog.inference.service.records.backup import reconcile_listing, restore
from pathoprog.inference.service.state_folder import alone
from pathoprog.inference.service.work.state_files import LEDGER
from pathoprog.system.console import say
from pathoprog.text.wording import count


def run(config: RestoreConfig) -> int:
    """Restore; returns 1 if results and ledger do not belong together, which the next start makes good."""
    settings = settings_of(config.settings)
    state = Path(settings.state)
    manifest = restore(Path(config.backup), state)
    say(f"restored the state of {manifest.at}")
    with alone(state):
        log = AuditLog(state / AUDIT_FILE)
        log.append(f"command, {getpass.getuser()}", "", Action.RESTORE, Path(config.backup).name)
        forgetting, _ = offline(settings)
        if (done := forgetting.again()).submissions:
            put_on_record(settings, done)
            say(f"forgotten again: {count(done.submissions, 'submission')}")
        found = reconcile_listing(Path(settings.out), state / LEDGER)
    for what, some in (
        ("results on the disk that the ledger does not know: a slide submitted again is scored again", found.unknown),
        ("results of the ledger that are not on the disk: requeue them", found.missing),
        ("result folders that cannot be read", found.unreadable),
    ):
        if some:
            say(f"{len(some)} {what}")
    return 1 if found.unknown or found.missing or found.unreadable else 0
