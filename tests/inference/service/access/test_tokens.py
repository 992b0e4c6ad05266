"""Tokens: made once, kept by hash, expiring, revoked while in use, in a file that is private and whole or refused."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_access import NOON, Clock

from pathoprog.errors import ConfigError
from pathoprog.inference.service.access.roles import Role
from pathoprog.inference.service.access.tokens import TokenError, TokenStore

DAY = 86400.0


@pytest.fixture
def wall() -> Clock:
    return Clock(NOON)


@pytest.fixture
def store(tmp_path: Path, wall: Clock) -> TokenStore:
    return TokenStore(tmp_path / "state" / "tokens.json", wall)


def test_a_token_is_made_kept_by_hash_and_found_by_its_secret(store, wall):
    recorded = []
    token, secret = store.add("lab-system", Role.OPERATOR, 90, recorded.append)
    head, token_id, random = secret.split("_", 2)
    assert (head, token_id, len(random)) == ("pp", token.token_id, 43)
    assert recorded == [token] == store.tokens()
    assert (token.name, token.role) == ("lab-system", Role.OPERATOR)
    assert token.made_at == "2026-12-01T12:00:00+00:00" and token.expires_at == "2027-03-01T12:00:00+00:00"
    assert store.holder(secret) == token == store.still_valid(token.token_id)
    kept = store.path.read_text()
    assert secret not in kept and random not in kept
    assert json.loads(kept)["tokens"][0]["sha256"] == hashlib.sha256(secret.encode()).hexdigest()
    assert store.path.stat().st_mode & 0o777 == 0o600
    assert Path(f"{store.path}.lock").stat().st_mode & 0o777 == 0o600
    assert store.path.parent.stat().st_mode & 0o777 == 0o700
    other, second = store.add("ola@lab.no", Role.VIEWER, 1, recorded.append)
    assert second != secret and other.token_id != token.token_id and store.holder(secret) == token


def test_no_secret_is_in_any_text(store):
    token, secret = store.add("ada", Role.VIEWER, 90, str)
    with pytest.raises(TokenError) as caught:
        store.holder(f"{secret[:-1]}{'a' if secret[-1] != 'a' else 'b'}")
    texts = [repr(token), str(token), repr(store), str(caught.value), repr(caught.value), repr(store.tokens())]
    for text in texts:
        assert secret[12:] not in text and token.sha256 not in text
    assert caught.value.guessed and caught.value.token_id == token.token_id


@given(st.text(max_size=80) | st.from_regex(r"pp_[0-9a-f]{8}_[A-Za-z0-9_-]{40,46}", fullmatch=True))
def test_nothing_else_opens(tmp_path_factory, text):
    store = TokenStore(tmp_path_factory.getbasetemp() / "nothing-else" / "tokens.json", Clock(NOON))
    if not store.tokens():
        store.add("ada", Role.ADMIN, 3650, str)
    with pytest.raises(TokenError, match="no such token"):
        store.holder(text)


def test_an_expired_token_stays_expired_while_the_service_runs(store, wall):
    token, secret = store.add("ada", Role.VIEWER, 1, str)
    wall.now = NOON + DAY - 1
    assert store.holder(secret) == token
    wall.now = NOON + DAY
    with pytest.raises(TokenError, match="expired at 2026-12-02T12:00:00") as caught:
        store.holder(secret)
    assert not caught.value.guessed
    wall.now = NOON  # the clock is set a day back
    with pytest.raises(TokenError, match="expired"):
        store.holder(secret)
    with pytest.raises(TokenError, match="expired"):
        store.still_valid(token.token_id)
    assert store.state(token) == "expired"
    assert TokenStore(store.path, wall).holder(secret) == token, "a new start looks at the clock afresh"


def test_a_running_store_sees_what_another_process_changes(store, wall):
    token, secret = store.add("ada", Role.VIEWER, 90, str)
    other = TokenStore(store.path, wall)
    assert other.holder(secret) == token
    _, second = other.add("bob", Role.ADMIN, 90, str)
    assert store.holder(second).name == "bob"
    revoked = other.revoke("ada", str)
    assert revoked.revoked_at and store.state(revoked) == "revoked"
    with pytest.raises(TokenError, match="was revoked at 2026-12-01"):
        store.holder(secret)
    with pytest.raises(TokenError, match="was revoked"):
        store.still_valid(token.token_id)
    store.path.unlink()
    with pytest.raises(TokenError, match="no such token"):
        store.holder(second)
    with pytest.raises(TokenError, match="is gone"):
        store.still_valid(token.token_id)


def test_a_name_has_one_valid_token(store, wall):
    store.add("ada", Role.VIEWER, 1, str)
    with pytest.raises(ConfigError, match="ada: has a valid token; revoke it first"):
        store.add("ada", Role.ADMIN, 1, str)
    wall.now += DAY
    store.add("ada", Role.ADMIN, 1, str)
    store.revoke("ada", str)
    with pytest.raises(ConfigError, match="'ada': no valid token has this name"):
        store.revoke("ada", str)
    assert [store.state(token) for token in store.tokens()] == ["expired", "revoked"]


@pytest.mark.parametrize("name", ["", " ada", "ada b", "a\nb", "a\x1b[2J", "-x", ".x", "a/b", "=1", "å", "x" * 65])
def test_names_are_plain_ids(store, name):
    with pytest.raises(ConfigError, match="not a name for a token") as caught:
        store.add(name, Role.VIEWER, 1, str)
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)
    assert not store.path.exists()


def fails(token):
    raise ConfigError("no room on the disk")


def test_no_token_is_made_without_a_record_and_a_revoked_one_is_revoked_all_the_same(store):
    with pytest.raises(ConfigError, match="no room"):
        store.add("ada", Role.VIEWER, 1, fails)
    assert store.tokens() == []
    _, secret = store.add("ada", Role.VIEWER, 1, str)
    with pytest.raises(ConfigError, match="no room"):
        store.revoke("ada", fails)
    with pytest.raises(TokenError, match="revoked"):
        store.holder(secret)


def test_a_file_that_others_may_read_is_refused_and_nobody_gets_in(store):
    _, secret = store.add("ada", Role.VIEWER, 90, str)
    assert store.holder(secret)
    for mode in (0o640, 0o604, 0o660):
        store.path.chmod(mode)
        for call in (store.tokens, lambda: store.holder(secret), lambda: store.add("bob", Role.VIEWER, 1, str)):
            with pytest.raises(ConfigError, match=r"others may read the tokens; `chmod 600`"):
                call()
    store.path.chmod(0o600)
    assert store.holder(secret)
    store.path.unlink()
    store.path.mkdir()
    with pytest.raises(ConfigError, match=r"tokens cannot be read|must be in a file"):
        store.holder(secret)


def changed(text: str, **changes: object) -> str:
    value = json.loads(text)
    value["tokens"][0] |= changes
    return json.dumps(value)


DAMAGED = {
    "cut": lambda text: text[: len(text) // 2],
    "empty": lambda text: "",
    "other": lambda text: "[1, 2]",
    "bytes": lambda text: "\x00" * 100,
    "no list": lambda text: '{"format": 1, "tokens": 7}',
    "nested": lambda text: "[" * 100_000,
    "other format": lambda text: text.replace('"format": 1', '"format": 2'),
    "unknown role": lambda text: changed(text, role="root"),
    "hash cut": lambda text: changed(text, sha256="ab"),
    "hash no text": lambda text: changed(text, sha256=7),
    "time no time": lambda text: changed(text, expires_at="soon"),
    "time without zone": lambda text: changed(text, expires_at="2026-12-01T12:00:00"),
    "revoked null": lambda text: changed(text, revoked_at=None),
    "name": lambda text: changed(text, name="a\nb"),
    "id": lambda text: changed(text, id="../../x"),
    "one id twice": lambda text: json.dumps(json.loads(text) | {"tokens": 2 * json.loads(text)["tokens"]}),
    "key missing": lambda text: text.replace('"made_at"', '"made"'),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_refused_in_words_and_comes_back_when_restored(store, damage):
    _, secret = store.add("ada", Role.VIEWER, 90, str)
    whole = store.path.read_text()
    store.path.write_text(DAMAGED[damage](whole))
    for _ in range(2):  # not once only
        with pytest.raises(ConfigError, match=r"damaged, and no token in it is taken|tokens of format 2") as caught:
            store.holder(secret)
        assert secret not in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(ConfigError):
        store.add("bob", Role.VIEWER, 1, str)
    assert store.path.read_text() == DAMAGED[damage](whole), "a damaged file is not written over"
    store.path.write_text(whole)
    assert store.holder(secret)


def test_a_file_that_cannot_be_written_says_so(store, monkeypatch):
    store.add("ada", Role.VIEWER, 90, str)
    before = store.path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match=r"tokens.json: cannot be written \(No space left on device\)"):
        store.add("bob", Role.VIEWER, 90, str)
    assert store.path.read_bytes() == before
    assert sorted(path.name for path in store.path.parent.iterdir()) == ["tokens.json", "tokens.json.lock"]
    (store.path.parent / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be read or changed"):
        TokenStore(store.path.parent / "file" / "tokens.json").add("bob", Role.VIEWER, 1, str)


PROGRAM = """
import sys
from pathlib import Path
from pathoprog.inference.service.access.roles import Role
from pathoprog.inference.service.access.tokens import TokenStore
store = TokenStore(Path(sys.argv[1]))
sys.stdin.read(1)
for n in range(25):
    store.add(f"{sys.argv[2]}-{n}", Role.VIEWER, 1, str)
"""


def test_two_commands_at_once_lose_nothing(store):
    line = [sys.executable, "-c", PROGRAM, str(store.path)]
    both = [subprocess.Popen([*line, name], stdin=subprocess.PIPE) for name in ("a", "b")]
    for process in both:
        assert process.stdin is not None
        process.stdin.close()
    assert [process.wait(60) for process in both] == [0, 0]
    names = {token.name for token in TokenStore(store.path).tokens()}
    assert names == {f"{name}-{n}" for name in "ab" for n in range(25)}
