"""Corrected outlines as files, for the readers: the store holds them, and what is not there is written again."""

import os
from pathlib import Path

from pathoprog.inference.config import ScoreConfig
from pathoprog.inference.engine.ledger import WriteError
from pathoprog.inference.service.config import ServiceSettings
from pathoprog.inference.service.work.store import Store
from pathoprog.inference.service.work.submissions import Submission
from pathoprog.inference.slides.given_outlines import outline_in
from pathoprog.system.file_names import folder_name
from pathoprog.system.files import sync_folder

FOLDER, SUFFIX = "outlines", ".geojson"


def corrected_folder(settings: ServiceSettings) -> Path:
    """Where they lie, each called after its submission's slide id."""
    return Path(settings.state) / FOLDER


def outline_of(settings: ServiceSettings, store: Store, submission: Submission, config: ScoreConfig) -> tuple[str, str]:
    """The outline's file of a submission and a bundle: of a correction the corrected one, else see `outline_in`.

    Args:
        settings: of the service.
        store: open.
        submission: whose outline it is.
        config: of the bundle.

    Raises:
        WriteError: a corrected one is not there, and cannot be written.
    """
    if not submission.corrects:
        return outline_in(config.outlines, submission.slide_id, config.slides)
    folder = corrected_folder(settings)
    keep_outline(folder, submission.slide_id, store.outline(submission))
    return str(outline_file(folder, submission.slide_id)), ""


def outline_file(folder: Path, slide_id: str) -> Path:
    """The file of a correction's outline."""
    return folder / f"{folder_name(slide_id)}{SUFFIX}"


def keep_outline(folder: Path, slide_id: str, text: str) -> None:
    """Have the file there, for its owner alone; it never changes once it is.

    Raises:
        WriteError: the disk is full or fails.
    """
    path = outline_file(folder, slide_id)
    data = text.encode("utf-8")
    try:
        if path.is_file() and path.read_bytes() == data:
            return
        folder.mkdir(mode=0o700, exist_ok=True)
        new = path.with_name(f".{path.name}.new")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(path)
        sync_folder(folder)
    except OSError as error:
        raise WriteError(f"{folder}: a corrected outline cannot be written ({error.strerror or error})") from error


def forget_outline(folder: Path, slide_id: str) -> None:
    """Take a correction's file away, if there is one."""
    outline_file(folder, slide_id).unlink(missing_ok=True)
