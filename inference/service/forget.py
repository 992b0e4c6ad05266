"""`pathoprog forget SETTINGS patient=…`: forget a patient while the service does not run."""

import getpass
from pathlib import Path

from pathoprog.errors import InputError
from pathoprog.inference.service.config import ForgetConfig, ServiceSettings, settings_of, staging_folder
from pathoprog.inference.service.intake.staging import StagingCache
from pathoprog.inference.service.names import Names
from pathoprog.inference.service.records.audit_lines import Action
from pathoprog.inference.service.records.audit_log import AUDIT_FILE, AuditLog
from pathoprog.inference.service.state_folder import IDS_KEY, alone, forgotten_file
from pathoprog.inference.service.work.desk import AbsentError
from pathoprog.inference.service.work.forgetting import Forgetting, Forgotten, Holdings
from pathoprog.inference.service.work.snapshot import Snapshot
from pathoprog.inference.service.work.state_files import open_databases
from pathoprog.inference.slides.pseudonyms import KEY, MAP, read_key
from pathoprog.system.console import say
from pathoprog.text.wording import count


def run(config: ForgetConfig) -> int:
    """Forget, and put on record that it was done."""
    settings = settings_of(config.settings)
    with alone(Path(settings.state)):
        forgetting, names = offline(settings)
        done = _patient(forgetting, names.of_patient(config.patient))
        put_on_record(settings, done)
    say(f"forgotten: {count(done.submissions, 'submission')}, {count(done.folders, 'result folder')}")
    return 0


def _patient(forgetting: Forgetting, known_as: list[str]) -> Forgotten:
    for patient_id in known_as:
        try:
            return forgetting.patient(patient_id)
        except AbsentError:
            continue
    raise InputError("no slide of such a patient; give the id that the service shows, or the one that it stands for")


def put_on_record(settings: ServiceSettings, done: Forgotten) -> None:
    """One line in the audit log, without saying whom."""
    log = AuditLog(Path(settings.state) / AUDIT_FILE)
    subject = done.hashes[0][:16] if done.hashes else ""
    who = f"command, {getpass.getuser()}"
    log.append(who, "", Action.FORGET, subject, submissions=done.submissions, folders=done.folders)


def offline(settings: ServiceSettings) -> tuple[Forgetting, Names]:
    """What forgets while no service runs; call with the state folder held."""
    state = Path(settings.state)
    names, snapshot = Names(settings.routes, state / KEY, state / MAP), Snapshot()
    store, ledger = open_databases(state, names.paths)
    for submission in store.submissions():
        snapshot.put(submission)
    staging = staging_folder(settings)
    holdings = Holdings(
        store=store,
        ledger=ledger,
        snapshot=snapshot,
        slides_folders=[Path(settings.out) / bundle.name / "slides" for bundle in settings.bundles],
        names=names.paths,
        staging=StagingCache(staging, 1 << 62) if staging.is_dir() else None,
    )
    return Forgetting(holdings, forgotten_file(settings), read_key(state / IDS_KEY)), names
