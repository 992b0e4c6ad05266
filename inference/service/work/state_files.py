"""The two databases of the state folder, opened: what older versions wrote in them of paths goes to the map."""

from pathlib import Path

from pathoprog.inference.service.intake.path_names import PathNames
from pathoprog.inference.service.work.service_ledger import ServiceLedger
from pathoprog.inference.service.work.store import Store
from pathoprog.system.console import warn
from pathoprog.text.wording import count

LEDGER, STORE = "ledger.sqlite", "service.sqlite"


def open_databases(state: Path, names: PathNames) -> tuple[Store, ServiceLedger]:
    """The store and the ledger of a state folder.

    What the map does not know is said, and no reason to stop: a backup may have been restored without it.

    Raises:
        InputError: one of them cannot be used.
        ConfigError: the map of pseudonyms cannot be written.
        WriteError: the disk is full or fails.
    """
    store = Store(state / STORE, names)
    try:
        ledger = ServiceLedger(state / LEDGER, names)
    except BaseException:
        store.close()
        raise
    ledger.hide_known(lambda: store.slides_of(names.open_routes))
    if lost := sum(not names.path(file) for file in store.files()):
        warn(
            f"{names.pseudonyms.file}: the map of pseudonyms does not know where {count(lost, 'slide')} of "
            f"{store.path.name} lie: their results stay, they cannot be opened again, and files of watched folders "
            "are taken in anew; with the map and the key of that time all is as it was"
        )
    return store, ledger
