"""The state folder: what its files are called, and that one process at a time works on it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pathoprog.errors import ConfigError, InputError
from pathoprog.inference.service.config import ServiceSettings
from pathoprog.inference.service.work.forgetting import RECORD
from pathoprog.inference.slides.pseudonyms import MAP

LOCK, IDS_KEY = "service.lock", "slide_ids.key"


def forgotten_file(settings: ServiceSettings) -> Path:
    """Where it is recorded what was forgotten."""
    return Path(settings.forgotten) if settings.forgotten else Path(settings.backups or settings.state) / RECORD


@contextmanager
def alone(state: Path) -> Iterator[None]:
    """Hold the state folder for this process.

    Raises:
        InputError: another service has it, or it cannot be used.
    """
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        state.chmod(0o700)
        handle = os.open(state / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigError(f"{state}: cannot be used as the state folder ({error.strerror or error})") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                f"{state}: another service works on this state folder; stop it first, or give this one a state=… of "
                "its own"
            ) from error
        for rest in state.glob(f".{MAP}.*.tmp"):  # the map, as it was being written anew when a kill came
            rest.unlink(missing_ok=True)
        yield
    finally:
        os.close(handle)
