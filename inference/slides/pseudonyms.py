"""Names for slides and patients that say nothing: a keyed hash of what they were called, and one private map back.

The key lies in a file of its own and the map in another, both for their owner alone (0600). The same key gives the same
slide the same name in every run, wherever its file lies; without the key nobody can compute a name from an id.
"""

import hmac
import os
import secrets
import stat
from dataclasses import replace
from pathlib import Path

from pathoprog.errors import ConfigError
from pathoprog.inference.slides.inputs import Found
from pathoprog.system.csv_files import csv_text, read_frame
from pathoprog.system.files import write_text

KEY, MAP = "pseudonyms.key", "pseudonyms.csv"
"""Names of the two files in the result folder, unless another key is given."""
KEY_BYTES = 32
HEX_DIGITS = 20  # 80 bits: two of a billion ids share a name with a chance of 1 in 2 million
COLUMNS = ("pseudonym", "kind", "id", "path")


def pseudonym(key: bytes, kind: str, given: str) -> str:
    """The name of a slide or patient: HMAC-SHA-256 (RFC 2104) under the key, its first digits.

    Args:
        key: secret.
        kind: ``slide`` or ``patient``.
        given: its id.
    """
    digest = hmac.digest(key, f"{kind}\0{given}".encode(errors="surrogateescape"), "sha256").hex()
    return f"{kind[0].upper()}{digest[:HEX_DIGITS]}"


def with_pseudonyms(found: Found, key_file: Path, map_file: Path) -> Found:
    """What a call names, under pseudonyms; the map is written, and goes on from that of an earlier run.

    Where each slide is its own patient, the two have one name.

    Args:
        found: slides and faults under their given ids.
        key_file: made if it is not there.
        map_file: pseudonym, kind, id and path.

    Raises:
        ConfigError: the key cannot be made or read, is none, or others may read it; the map cannot be written.
    """
    key = read_key(key_file)
    rows = _known(map_file)
    slides = []
    own_patient = all(slide.patient_id == slide.slide_id for slide in found.slides)
    for slide in found.slides:
        name = pseudonym(key, "slide", slide.slide_id)
        patient = name if own_patient else pseudonym(key, "patient", slide.patient_id)
        rows[name] = {"pseudonym": name, "kind": "slide", "id": slide.slide_id, "path": slide.path}
        if not own_patient:
            rows[patient] = {"pseudonym": patient, "kind": "patient", "id": slide.patient_id, "path": ""}
        slides.append(
            replace(
                slide, slide_id=name, patient_id=patient, given_id=slide.slide_id, given_patient_id=slide.patient_id
            )
        )
    faults = []
    for fault in found.faults:
        name = pseudonym(key, "slide", fault.slide_id)
        rows.setdefault(name, {"pseudonym": name, "kind": "slide", "id": fault.slide_id, "path": ""})
        faults.append(replace(fault, slide_id=name, reason=fault.reason.replace(fault.slide_id, name)))
    try:
        write_text(map_file, csv_text([rows[name] for name in sorted(rows)], COLUMNS), private=True)
    except OSError as error:
        raise ConfigError(f"{map_file}: the map of pseudonyms cannot be written ({error.strerror or error})") from error
    return replace(found, slides=slides, faults=faults)


def read_key(path: Path) -> bytes:
    """The secret key, made if the file is not there.

    Raises:
        ConfigError: see `with_pseudonyms`.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            pass
        else:
            with os.fdopen(handle, "w") as stream:
                stream.write(secrets.token_hex(KEY_BYTES) + "\n")
                stream.flush()
                os.fsync(stream.fileno())
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{path}: the key of the pseudonyms must be a file; give ids_key=… another place")
        if status.st_mode & 0o077:
            raise ConfigError(f"{path}: others may read the key of the pseudonyms; `chmod 600` it")
        text = path.read_text(encoding="ascii")
        key = bytes.fromhex(text)
    except OSError as error:
        raise ConfigError(
            f"{path}: the key of the pseudonyms cannot be read or made ({error.strerror or error})"
        ) from error
    except ValueError:  # no ASCII, or no hexadecimal digits
        key = b""
    if len(key) < KEY_BYTES:
        raise ConfigError(
            f"{path}: not a key for pseudonyms ({2 * KEY_BYTES} hexadecimal digits or more); without it old names "
            "cannot be made again: put the right file there, or give ids_key=… a new place for another key"
        )
    return key


def _known(path: Path) -> dict[str, dict[str, str]]:
    """The map of an earlier run, by pseudonym.

    Raises:
        ConfigError: something else lies there.
    """
    if not path.exists():
        return {}
    try:
        table = read_frame(path)
        return {str(row["pseudonym"]): {name: str(row[name]) for name in COLUMNS} for row in table.to_dict("records")}
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{path}: not a map of pseudonyms; move it away ({type(error).__name__})") from error
