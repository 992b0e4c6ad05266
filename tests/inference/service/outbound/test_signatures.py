"""Signatures of webhooks: a changed byte, a wrong secret or an old message does not verify."""

import hashlib
import hmac

import pytest

from pathoprog.errors import ConfigError
from pathoprog.inference.service.outbound.signatures import (
    read_secrets,
    signature,
    signed_with_each,
    verify_signature,
)

NEW, OLD = b"n" * 32, b"o" * 32
BODY = b'{"kind":"done","slide_id":"S1"}'
T = 1_800_000_000


def secret_file(tmp_path, text, mode=0o600):
    path = tmp_path / "secret"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_signature_is_the_hmac_of_time_and_body():
    digest = hmac.new(NEW, b"1800000000." + BODY, hashlib.sha256).hexdigest()
    assert signature(NEW, T, BODY) == f"v1={digest}"
    # printf '1.x' | openssl dgst -sha256 -hmac key
    assert signature(b"key", 1, b"x") == "v1=fc4913c41a7bf793267e2a384f3261c9436ec2cd097bd745e7b0d99113f510ec"


def test_it_fails_on_any_changed_byte():
    header = signature(NEW, T, BODY)
    assert verify_signature(BODY, str(T), header, [NEW], T)
    for place in range(len(BODY)):
        changed = BODY[:place] + bytes([BODY[place] ^ 1]) + BODY[place + 1 :]
        assert not verify_signature(changed, str(T), header, [NEW], T)
    for place in range(len(header)):
        changed = header[:place] + ("0" if header[place] != "0" else "1") + header[place + 1 :]
        assert not verify_signature(BODY, str(T), changed, [NEW], T)
    assert not verify_signature(BODY, str(T + 1), header, [NEW], T)
    assert not verify_signature(BODY + b" ", str(T), header, [NEW], T)


def test_either_of_two_secrets_verifies_while_they_are_changed():
    header = signed_with_each([NEW, OLD], T, BODY)
    for known in ([NEW], [OLD], [OLD, NEW]):
        assert verify_signature(BODY, str(T), header, known, T)
    assert not verify_signature(BODY, str(T), header, [b"x" * 32], T)
    assert not verify_signature(BODY, str(T), header, [], T)


@pytest.mark.parametrize(("late_s", "verifies"), [(0, True), (300, True), (-300, True), (301, False), (-301, False)])
def test_an_old_message_or_one_of_the_future_does_not_verify(late_s, verifies):
    assert verify_signature(BODY, str(T), signature(NEW, T, BODY), [NEW], T + late_s) is verifies


@pytest.mark.parametrize("timestamp", ["", "now", "-1", "1e9", "1800000000 ", "٣", "9" * 5000])
def test_a_timestamp_that_is_none_does_not_verify(timestamp):
    assert not verify_signature(BODY, timestamp, signature(NEW, T, BODY), [NEW], T)


@pytest.mark.parametrize("header", ["", ",", "v2=00", "v1=", "v1=é"])
def test_a_signature_that_is_none_does_not_verify(header):
    assert not verify_signature(BODY, str(T), header, [NEW], T)


def test_secrets_are_read_newest_first(tmp_path):
    assert read_secrets(secret_file(tmp_path, f"{'n' * 32}\n\n {'o' * 40} \n")) == (b"n" * 32, b"o" * 40)


@pytest.mark.parametrize(
    ("text", "mode", "message"),
    [
        ("n" * 32, 0o640, "others may read the secret"),
        ("n" * 32, 0o604, "others may read the secret"),
        ("", 0o600, "0 secrets"),
        ("\n".join("abc"[k] * 32 for k in range(3)), 0o600, "3 secrets"),
        ("n" * 31, 0o600, "shorter than 32 characters"),
    ],
)
def test_a_secret_that_is_none_is_refused(tmp_path, text, mode, message):
    with pytest.raises(ConfigError, match=message) as caught:
        read_secrets(secret_file(tmp_path, text, mode))
    assert "nnn" not in str(caught.value), "a message shows no secret"


def test_a_secret_that_is_not_there_or_no_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_secrets(tmp_path / "none")
    with pytest.raises(ConfigError, match="must be a file"):
        read_secrets(tmp_path)
