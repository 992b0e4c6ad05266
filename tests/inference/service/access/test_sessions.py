"""Browser sessions: bounded in time and number, ended with their token, with cookies as strict as browsers know."""

import pytest
from made_access import NOON, Clock

from pathoprog.inference.service.access.access_config import AccessSettings
from pathoprog.inference.service.access.roles import Role
from pathoprog.inference.service.access.sessions import (
    Sessions,
    cookie_header,
    cookie_name,
    needs_secure_cookie,
)
from pathoprog.inference.service.access.tokens import TokenStore


@pytest.fixture
def clock():
    return Clock(50.0)


@pytest.fixture
def tokens(tmp_path):
    return TokenStore(tmp_path / "tokens.json", Clock(NOON))


def test_a_session_leads_to_its_token_until_it_is_closed(tokens, clock):
    sessions = Sessions(AccessSettings(), clock)
    token, _ = tokens.add("ada", Role.VIEWER, 1, str)
    opened, other = sessions.open(token), sessions.open(token)
    assert len(opened.session_id) == 43 and opened.session_id != other.session_id and opened.csrf != other.csrf
    assert sessions.holder(opened.session_id, tokens) == token
    for wrong in ("", "x", opened.session_id[:-1], opened.session_id + "A", "A" * 43, "\udcff" * 43):
        assert sessions.holder(wrong, tokens) is None
    sessions.close(opened.session_id)
    sessions.close(opened.session_id)
    assert sessions.holder(opened.session_id, tokens) is None
    assert sessions.holder(other.session_id, tokens) == token


def test_secrets_are_neither_shown_nor_kept(tokens, clock):
    sessions = Sessions(AccessSettings(), clock)
    opened = sessions.open(tokens.add("ada", Role.VIEWER, 1, str)[0])
    for text in (repr(opened), str(opened), repr(sessions), repr(vars(sessions))):
        assert opened.session_id not in text and opened.csrf not in text


def test_idle_and_old_sessions_end(tokens, clock):
    sessions = Sessions(AccessSettings(session_idle_minutes=30, session_hours=2), clock)
    token, _ = tokens.add("ada", Role.VIEWER, 1, str)
    idle, used = sessions.open(token), sessions.open(token)
    for minute in (29, 58, 87, 116):
        clock.now = 50.0 + 60 * minute
        assert sessions.holder(used.session_id, tokens) == token
    assert sessions.holder(idle.session_id, tokens) is None
    clock.now = 50.0 + 7200 - 0.001
    assert sessions.holder(used.session_id, tokens) == token
    clock.now = 50.0 + 7200
    assert sessions.holder(used.session_id, tokens) is None, "however much it was used"


def test_an_unused_session_ends_at_its_minute(tokens, clock):
    sessions = Sessions(AccessSettings(session_idle_minutes=30), clock)
    token, _ = tokens.add("ada", Role.VIEWER, 1, str)
    opened = sessions.open(token)
    clock.now += 1800
    assert sessions.holder(opened.session_id, tokens) is None
    clock.now -= 1800
    assert sessions.holder(opened.session_id, tokens) is None, "it is gone, not asleep"


def test_a_session_ends_with_its_token(tokens, clock):
    sessions = Sessions(AccessSettings(), clock)
    ada, bob = (sessions.open(tokens.add(name, Role.VIEWER, 1, str)[0]) for name in ("ada", "bob"))
    tokens.revoke("ada", str)
    assert sessions.holder(ada.session_id, tokens) is None and len(sessions) == 1
    tokens._clock.now += 86400
    assert sessions.holder(bob.session_id, tokens) is None and len(sessions) == 0


def test_sessions_are_bounded_by_token_and_in_all(tokens, clock):
    sessions = Sessions(AccessSettings(sessions_per_token=3, sessions_in_all=5), clock)
    ada, bob = (tokens.add(name, Role.VIEWER, 1, str)[0] for name in ("ada", "bob"))
    first = [sessions.open(ada) for _ in range(3)]
    assert sessions.holder(first[0].session_id, tokens) == ada  # now the second is the one unused for longest
    fourth = sessions.open(ada)
    alive = [sessions.holder(one.session_id, tokens) is not None for one in (*first, fourth)]
    assert alive == [True, False, True, True]
    for _ in range(50):
        newest = [sessions.open(bob), sessions.open(ada)]
        assert len(sessions) <= 5
        assert [sessions.holder(one.session_id, tokens) for one in newest] == [bob, ada]
    assert sessions.holder(first[0].session_id, tokens) is None


def test_the_csrf_token_is_the_session_s_own(tokens, clock):
    sessions, others = Sessions(AccessSettings(), clock), Sessions(AccessSettings(), clock)
    opened = sessions.open(tokens.add("ada", Role.VIEWER, 1, str)[0])
    assert sessions.csrf(opened.session_id) == opened.csrf, "a page that is loaded again gets the same"
    assert len({opened.csrf, sessions.csrf("A" * 43), sessions.csrf(""), others.csrf(opened.session_id)}) == 4


def test_cookies_are_as_strict_as_they_can_be():
    assert cookie_header("x" * 43, secure=True) == (
        f"__Host-pathoprog={'x' * 43}; Path=/; HttpOnly; SameSite=Strict; Secure"
    )
    assert cookie_header("x" * 43, secure=False) == f"pathoprog={'x' * 43}; Path=/; HttpOnly; SameSite=Strict"
    assert cookie_header("", secure=True) == "__Host-pathoprog=; Path=/; HttpOnly; SameSite=Strict; Secure; Max-Age=0"
    assert (cookie_name(True), cookie_name(False)) == ("__Host-pathoprog", "pathoprog")


@pytest.mark.parametrize(
    ("scheme", "host", "secure"),
    [
        ("http", "127.0.0.1", False),
        ("http", "127.8.9.1", False),
        ("http", "::1", False),
        ("http", "localhost", False),
        ("https", "127.0.0.1", True),
        ("http", "0.0.0.0", True),  # noqa: S104 - nothing is bound
        ("http", "192.168.1.5", True),
        ("https", "pathoprog.lab", True),
        ("http", "localhost.example", True),
        ("http", "", True),
    ],
)
def test_cookies_are_secure_but_on_plain_loopback(scheme, host, secure):
    assert needs_secure_cookie(scheme, host) is secure
