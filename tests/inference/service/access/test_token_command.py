"""`pathoprog token`: the secret once on standard output, the rest beside it, each action on record."""

import json
import re

import pytest
from made_access import NOON, Clock

from pathoprog import cli
from pathoprog.inference.service.access.roles import Role
from pathoprog.inference.service.access.tokens import TokenError, TokenStore
from pathoprog.inference.service.records.audit_check import verify


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


def token(state, *words):
    return cli.main(["token", *words, f"state={state}"])


def recorded(state):
    return [json.loads(line) for line in (state / "audit.jsonl").read_text().splitlines()]


def test_a_token_is_made_listed_and_revoked_beside_a_running_service(state, capsys):
    assert token(state, "add", "lab-system", "role=operator", "days=30") == 0
    said = capsys.readouterr()
    secret = said.out.removesuffix("\n")
    assert re.fullmatch(r"pp_[0-9a-f]{8}_[\w-]{43}", secret), "alone on its line, so that a script can take it"
    assert secret not in said.err and "shown this once" in said.err and "operator until" in said.err
    running = TokenStore(state / "tokens.json")
    assert running.holder(secret).role is Role.OPERATOR
    assert token(state, "add", "ada") == 0
    assert TokenStore(state / "tokens.json").tokens()[1].role is Role.VIEWER, "the least, unless said"
    assert token(state, "revoke", "lab-system") == 0
    assert "lab-system: revoked" in capsys.readouterr().err
    with pytest.raises(TokenError, match="revoked"):
        running.holder(secret)
    assert token(state, "list") == 0
    said = capsys.readouterr()
    rows = [line.split() for line in said.out.splitlines()]
    assert [(row[1], row[2], row[4]) for row in rows] == [
        ("revoked", "operator", "lab-system"),
        ("valid", "viewer", "ada"),
    ]
    assert said.err == "2 tokens: id, state, role, expires, name\n"
    lines = recorded(state)
    assert [line["action"] for line in lines] == [
        "log_started", "token_added", "token_added", "token_revoked", "tokens_listed",
    ]  # fmt: skip
    assert lines[1]["subject"] == lines[3]["subject"] == secret[3:11]
    assert lines[1]["detail"]["name"] == "lab-system" and lines[1]["detail"]["role"] == "operator"
    assert all(line["who"].startswith("user:") for line in lines[1:])
    assert verify(state / "audit.jsonl").whole
    assert secret not in (state / "audit.jsonl").read_text() + (state / "tokens.json").read_text()
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in state.iterdir()} == dict.fromkeys(
        ("audit.jsonl", "tokens.json", "tokens.json.lock"), "0o600"
    )
    assert state.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "say what to do"),
        (["add"], "say what to do"),
        (["add", "a", "b"], "say what to do"),
        (["list", "all"], "say what to do"),
        (["remove", "ada"], "say what to do"),
        (["add", "a b"], "not a name for a token"),
        (["add", "ada", "role=root"], "role='root': must be one of viewer, evaluator, operator, reviewer, admin"),
        (["add", "ada", "days=0"], "days=0: must be at least 1"),
        (["list"], "no such folder"),
        (["revoke", "ada"], "no such folder"),
    ],
)
def test_a_wrong_call_is_said_and_makes_nothing(state, capsys, words, message):
    assert token(state, *words) == 2
    said = capsys.readouterr()
    assert message in said.err and said.err.count("\n") == 1 and said.out == ""
    assert not state.exists() or not (state / "tokens.json").exists()


def test_the_state_folder_must_be_given(capsys):
    assert cli.main(["token", "list"]) == 2
    assert "state is missing" in capsys.readouterr().err


def test_a_log_that_cannot_be_written_makes_no_token_and_still_revokes(state, capsys):
    assert token(state, "add", "ada") == 0
    secret = capsys.readouterr().out.strip()
    (state / "audit.jsonl").chmod(0o660)
    assert token(state, "add", "bob") == 2
    said = capsys.readouterr()
    assert said.out == "" and "others may change the audit log" in said.err
    assert token(state, "revoke", "ada") == 2
    store = TokenStore(state / "tokens.json", Clock(NOON))
    assert [one.name for one in store.tokens()] == ["ada"]
    with pytest.raises(TokenError, match="revoked"):
        store.holder(secret)
