"""Signatures of webhooks: who knows the secret can tell that a message is ours, unchanged and young.

A receiver takes the raw body and two headers, and answers 200 once it has kept the message::

    body, headers = request.body, request.headers
    if not verify_signature(body, headers[TIMESTAMP], headers[SIGNATURE], [secret], time.time()):
        return 401
    if headers[DELIVERY] in seen:  # a repeat: we heard no answer to the first
        return 200

To change the secret: put the new one above the old one in the service's file, give it to the receiver, take the old one
out. In another language the check is ``HMAC-SHA-256(secret, timestamp + "." + body)``, hexadecimal, compared in
constant time with each ``v1=`` of the header.
"""

import hmac
import re
import stat
from collections.abc import Sequence
from pathlib import Path

from pathoprog.errors import ConfigError

EVENT, DELIVERY, TIMESTAMP, SIGNATURE = (
    "X-Pathoprog-Event", "X-Pathoprog-Delivery", "X-Pathoprog-Timestamp", "X-Pathoprog-Signature",
)  # fmt: skip
"""Headers of a delivery: the event's kind; an id that is the same each time it is tried; Unix seconds; `signature`."""
VERSION = "v1"
LEAST_SECRET_CHARACTERS = 32
MOST_SECRETS = 2
MOST_BYTES = 1 << 16
TOLERANCE_S = 300
_DIGITS = re.compile("[0-9]{1,12}", re.ASCII)


def read_secrets(path: str | Path) -> tuple[bytes, ...]:
    """The secrets of a webhook, the newest first: one, or two while the receiver changes from one to the other.

    Raises:
        ConfigError: the file cannot be read, others may read it, or it holds no secret, a short one or too many.
    """
    path = Path(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{path}: the secret of a webhook must be a file")
        if status.st_mode & 0o077:
            raise ConfigError(f"{path}: others may read the secret of a webhook; `chmod 600` it")
        with path.open("rb") as stream:
            text = stream.read(MOST_BYTES)
    except OSError as error:
        raise ConfigError(f"{path}: the secret of a webhook cannot be read ({error.strerror or error})") from error
    secrets = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not 1 <= len(secrets) <= MOST_SECRETS:
        raise ConfigError(f"{path}: {len(secrets)} secrets; give one, or two (one a line) while the receiver changes")
    if min(map(len, secrets)) < LEAST_SECRET_CHARACTERS:
        raise ConfigError(
            f"{path}: a secret shorter than {LEAST_SECRET_CHARACTERS} characters can be guessed; "
            "`openssl rand -hex 32` makes a good one"
        )
    return secrets


def signature(secret: bytes, timestamp: int, body: bytes) -> str:
    """``v1=`` and the HMAC-SHA-256 (RFC 2104) of ``timestamp.body``, hexadecimal.

    Args:
        secret: shared with the receiver.
        timestamp: Unix time, seconds.
        body: as it is sent.
    """
    return f"{VERSION}={hmac.digest(secret, f'{timestamp}.'.encode() + body, 'sha256').hex()}"


def signed_with_each(secrets: Sequence[bytes], timestamp: int, body: bytes) -> str:
    """The signature header: one signature for each secret, parted by commas, so that either verifies."""
    return ",".join(signature(secret, timestamp, body) for secret in secrets)


def verify_signature(
    body: bytes,
    timestamp: str,
    signatures: str,
    secrets: Sequence[bytes],
    now: float,
    tolerance_s: float = TOLERANCE_S,
) -> bool:
    """Whether a delivery is signed with one of the secrets, and not older than the tolerance. For receivers.

    A message that was overheard and is sent again within the tolerance has the same `DELIVERY` id: drop what was seen.

    Args:
        body: the raw bytes of the request, before anything parses them.
        timestamp: header `TIMESTAMP`.
        signatures: header `SIGNATURE`, one signature or several parted by commas.
        secrets: that the receiver accepts.
        now: Unix time, seconds.
        tolerance_s: by how much the two clocks, and the time on the way, may differ.
    """
    if not _DIGITS.fullmatch(timestamp) or abs(now - int(timestamp)) > tolerance_s:
        return False
    given = [one.strip().encode("utf-8", "replace") for one in signatures.split(",")]
    wanted = [signature(secret, int(timestamp), body).encode() for secret in secrets]
    return any(hmac.compare_digest(one, ours) for one in given for ours in wanted)
