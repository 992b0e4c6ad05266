"""The gate: each way in, and each way that must not lead in, with its answer."""

import pytest
from made_access import WRONG, made_gate

from pathoprog.errors import ConfigError
from pathoprog.inference.service.access.principal import AccessError, Principal
from pathoprog.inference.service.access.roles import Role

PROXY, ELSEWHERE = "10.9.0.1", "10.9.0.2"
BEHIND_PROXY = {
    "proxy_addresses": [PROXY],
    "identity_header": "X-Remote-User",
    "identity_roles": {"ada": "reviewer", "root@lab": "admin"},
}


def refused(call, *arguments, **more) -> AccessError:
    with pytest.raises(AccessError) as caught:
        call(*arguments, **more)
    return caught.value


def test_a_bearer_token_names_its_holder(tmp_path):
    made = made_gate(tmp_path)
    token, secret = made.token("ada", Role.OPERATOR)
    assert made.bearer(secret) == Principal("ada", Role.OPERATOR, token.token_id, "token")
    assert made.ask({"authorization": f"bearer  {secret} "}, method="DELETE").name == "ada", "no CSRF token needed"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic YTpi",
        "Bearer a b",
        "Bearer\tx",
        "{secret}",
        "Bearer {secret} x",
        "Token {secret}",
    ],
)
def test_a_header_that_is_no_bearer_token_is_401(tmp_path, value):
    made = made_gate(tmp_path)
    _, secret = made.token()
    error = refused(made.ask, {"Authorization": value.format(secret=secret)})
    assert error.status == 401 and error.headers() == {"WWW-Authenticate": "Bearer"}
    assert secret not in str(error) and len(made.lockout) == 0


class Twice(dict):
    """Headers in which one name comes twice, as web frameworks give them."""

    def items(self):
        return [*super().items(), *super().items()]


def test_two_tokens_in_one_request_are_refused(tmp_path):
    made = made_gate(tmp_path)
    _, secret = made.token()
    headers = Twice({"Authorization": f"Bearer {secret}"})
    assert refused(made.gate.authenticate, headers, {}, "10.0.0.9", "GET").status == 401


def test_nothing_at_all_is_401_and_says_what_to_send(tmp_path):
    error = refused(made_gate(tmp_path).ask)
    assert error.status == 401 and "Authorization: Bearer" in error.detail and error.title == "Not logged in"


@pytest.mark.parametrize("url", ["/api/slides?token={0}", "/x?a=1&access_token={0}&b", "/x/{0}", "/x?q={1}"])
def test_a_token_in_the_url_is_refused_even_beside_a_right_header(tmp_path, url):
    made = made_gate(tmp_path)
    _, secret = made.token()
    encoded = "".join(f"%{ord(character):02x}" for character in secret)
    error = refused(made.ask, {"Authorization": f"Bearer {secret}"}, url=url.format(secret, encoded))
    assert error.status == 401 and "never taken from a URL" in error.detail and secret not in str(error)
    assert made.ask({"Authorization": f"Bearer {secret}"}, url="/x?q=pp_7&token=").name == "ada"


def test_a_revoked_and_an_expired_token_are_401_and_no_guess(tmp_path):
    made = made_gate(tmp_path)
    _, ada = made.token("ada")
    _, bob = made.token("bob", days=1)
    made.tokens.revoke("ada", str)
    made.wall.now += 86400
    for secret, word in ((ada, "revoked"), (bob, "expired")):
        for _ in range(20):
            error = refused(made.bearer, secret)
            assert error.status == 401 and word in error.detail
    assert len(made.lockout) == 0


def test_brute_force_locks_its_address_out_and_no_other(tmp_path):
    made = made_gate(tmp_path, lockout_failures=3, lockout_seconds=60)
    _, secret = made.token()
    answers = []
    for _ in range(3):
        answers.append(refused(made.bearer, WRONG).status)
        waiting = refused(made.bearer, secret)
        answers.append((waiting.status, waiting.retry_after))
        assert waiting.headers() == {"Retry-After": str(waiting.retry_after)}
        made.clock.now += waiting.retry_after if len(answers) < 6 else 0
    assert answers == [401, (429, 1), 401, (429, 2), 401, (429, 60)]
    assert refused(made.gate.log_in, secret, {}, "10.0.0.9").status == 429, "the log-in counts the same"
    assert made.bearer(secret, host="10.0.0.8").name == "ada"
    made.clock.now += 60
    assert made.bearer(secret).name == "ada"


def test_a_token_s_guesses_from_many_addresses_must_wait_and_its_holder_need_not(tmp_path):
    made = made_gate(tmp_path, lockout_failures=3, lockout_seconds=60)
    token, secret = made.token()
    guess = f"{secret[:12]}{'A' * 43}"
    statuses = []
    for n in range(6):
        statuses.append(refused(made.bearer, guess, host=f"10.0.1.{n}").status)
        made.clock.now += 5
    assert statuses == [401, 401, 401, 429, 429, 429]
    assert made.bearer(secret).token_id == token.token_id, "its id is no secret: nobody can lock the holder out"


def test_a_success_at_log_in_forgets_the_typing_errors_before(tmp_path):
    made = made_gate(tmp_path)
    _, secret = made.token()
    for wait in (1, 2):
        assert refused(made.gate.log_in, "pp_typo", {}, "10.0.0.9").status == 401
        made.clock.now += wait
    made.gate.log_in(f" {secret}\n", {}, "10.0.0.9")
    refused(made.gate.log_in, "pp_typo", {}, "10.0.0.9")
    assert refused(made.gate.log_in, secret, {}, "10.0.0.9").retry_after == 1


def test_a_browser_logs_in_reads_changes_with_csrf_and_logs_out(tmp_path):
    for secure in (False, True):
        made = made_gate(tmp_path / str(secure), secure=secure)
        token, secret = made.token("ada", Role.REVIEWER)
        seen = made.gate.log_in(secret, {}, "10.0.0.9")
        assert seen.principal == Principal("ada", Role.REVIEWER, token.token_id, "session")
        assert secret not in repr(seen) and seen.session.session_id not in repr(seen)
        for method in ("GET", "head", "OPTIONS"):
            assert made.ask(session=seen, method=method) == seen.principal
        cookies = {("__Host-" if secure else "") + "pathoprog": seen.session.session_id}
        assert made.gate.csrf_of(seen.principal, cookies) == seen.session.csrf
        for method in ("POST", "put", "PATCH", "DELETE", "TRACE", "NEW"):
            assert refused(made.ask, session=seen, method=method).status == 403
            assert made.ask({"X-CSRF-Token": seen.session.csrf}, seen, method=method) == seen.principal
        other = {"__Host-pathoprog" if not secure else "pathoprog": seen.session.session_id}
        assert refused(made.gate.authenticate, {}, other, "10.0.0.9", "GET").status == 401
        made.gate.log_out(cookies)
        assert refused(made.ask, session=seen).detail == "the session has ended; log in again"
        made.gate.log_out({})


def test_another_s_or_a_wrong_csrf_token_does_not_serve(tmp_path):
    made = made_gate(tmp_path)
    ada, bob = (made.gate.log_in(made.token(name)[1], {}, "10.0.0.9") for name in ("ada", "bob"))
    right = ada.session.csrf
    for wrong in ("", right[:-1], right.upper(), f"{right} ", bob.session.csrf, ada.session.session_id, "å", "\udcff"):
        error = refused(made.ask, {"X-CSRF-Token": wrong}, ada, method="POST")
        assert error.status == 403 and "X-CSRF-Token" in error.detail and right not in str(error)
    twice = Twice({"X-CSRF-Token": right})
    assert refused(made.gate.authenticate, twice, {"pathoprog": ada.session.session_id}, "h", "POST").status == 403


def test_a_session_ends_with_its_token_and_a_stale_cookie_is_no_guess(tmp_path):
    made = made_gate(tmp_path, lockout_failures=1)
    seen = made.gate.log_in(made.token()[1], {}, "10.0.0.9")
    assert made.ask(session=seen).name == "ada"
    made.tokens.revoke("ada", str)
    for _ in range(10):
        assert refused(made.ask, session=seen).status == 401
    assert len(made.lockout) == 0


def test_an_address_locked_out_keeps_its_open_sessions(tmp_path):
    made = made_gate(tmp_path, lockout_failures=1)
    seen = made.gate.log_in(made.token()[1], {}, "10.0.0.9")
    assert refused(made.bearer, WRONG).status == 401
    assert refused(made.bearer, WRONG).status == 429
    assert made.ask(session=seen).name == "ada"


def test_a_damaged_file_of_tokens_lets_nobody_in_and_says_so_without_its_path(tmp_path):
    made = made_gate(tmp_path)
    _, secret = made.token()
    seen = made.gate.log_in(secret, {}, "10.0.0.9")
    made.tokens.path.write_text("{")
    for call in (lambda: made.bearer(secret), lambda: made.ask(session=seen),
                 lambda: made.gate.log_in(secret, {}, "10.0.0.9")):  # fmt: skip
        error = refused(call)
        assert error.status == 503 and error.headers() == {"Retry-After": "60"} and str(tmp_path) not in str(error)
    assert len(made.lockout) == 0


def test_requests_are_limited_by_name_and_those_turned_away_by_address(tmp_path):
    made = made_gate(tmp_path, requests_at_once=3, requests_per_minute=60)
    _, ada = made.token("ada")
    _, bob = made.token("bob")
    assert [refused(made.ask).status for _ in range(5)] == [401, 401, 401, 429, 429]
    assert refused(made.ask).retry_after == 1
    assert [made.bearer(ada).name for _ in range(3)] == ["ada"] * 3, "who is known is not counted with the others"
    error = refused(made.bearer, ada)
    assert (error.status, error.retry_after) == (429, 1) and "requests of this name" in error.detail
    assert made.bearer(bob).name == "bob"
    assert refused(made.gate.log_in, ada, {}, "10.0.0.9").status == 429, "log-ins are counted by address"
    made.clock.now += 1
    assert made.bearer(ada).name == "ada"


def test_a_lock_out_says_its_own_wait_also_where_requests_are_too_many(tmp_path):
    made = made_gate(tmp_path, requests_at_once=1, requests_per_minute=60, lockout_failures=1, lockout_seconds=200)
    assert refused(made.bearer, WRONG).status == 401
    assert [refused(made.bearer, WRONG).retry_after for _ in range(3)] == [200, 200, 200]


def test_the_proxy_s_name_has_the_role_of_the_settings(tmp_path):
    made = made_gate(tmp_path, **BEHIND_PROXY)
    assert made.ask({"x-remote-user": "ada"}, host=PROXY) == Principal("ada", Role.REVIEWER, "", "proxy")
    assert made.ask({"X-Remote-User": " root@lab "}, host=f"::ffff:{PROXY}").role is Role.ADMIN
    assert refused(made.ask, host=PROXY).status == 401, "the proxy itself is nobody"


@pytest.mark.parametrize("name", ["", "Ada", "eve", "ada,root@lab", "\udcff"])
def test_a_name_without_a_role_is_403(tmp_path, name):
    made = made_gate(tmp_path, **BEHIND_PROXY)
    error = refused(made.ask, {"X-Remote-User": name}, host=PROXY)
    assert error.status == 403 and "no role" in error.detail


def test_a_forged_identity_header_refuses_the_request_whatever_else_it_holds(tmp_path):
    made = made_gate(tmp_path, **BEHIND_PROXY)
    _, secret = made.token("bob", Role.ADMIN)
    seen = made.gate.log_in(secret, {}, ELSEWHERE)
    forged = {"X-Remote-User": "ada"}
    for host in (ELSEWHERE, "", "testclient", "127.0.0.1", f"{PROXY}.evil.example"):
        for headers in (forged, forged | {"Authorization": f"Bearer {secret}"}, forged | {"X-Forwarded-For": PROXY}):
            assert refused(made.ask, headers, seen, host=host).status == 403, (host, headers)
    assert made.ask(session=seen, host=ELSEWHERE).name == "bob"
    twice = Twice(forged)
    assert "twice" in refused(made.gate.authenticate, twice, {}, PROXY, "GET").detail


def test_an_identity_header_that_nothing_names_means_nothing(tmp_path):
    made = made_gate(tmp_path)
    _, secret = made.token("bob")
    assert made.ask({"X-Remote-User": "ada", "Authorization": f"Bearer {secret}"}).name == "bob"
    assert refused(made.ask, {"X-Remote-User": "ada"}).status == 401


def test_a_bearer_token_goes_before_the_proxy_s_name_and_that_before_a_cookie(tmp_path):
    made = made_gate(tmp_path, **BEHIND_PROXY)
    _, secret = made.token("bob", Role.VIEWER)
    seen = made.gate.log_in(secret, {}, PROXY)
    assert made.ask({"X-Remote-User": "ada", "Authorization": f"Bearer {secret}"}, host=PROXY).name == "bob"
    assert made.ask({"X-Remote-User": "ada"}, seen, host=PROXY).how == "proxy"


def test_what_changes_something_needs_the_csrf_token_behind_a_proxy_too(tmp_path):
    made = made_gate(tmp_path, **BEHIND_PROXY)
    ada = made.ask({"X-Remote-User": "ada"}, host=PROXY)
    right = made.gate.csrf_of(ada, {})
    assert refused(made.ask, {"X-Remote-User": "ada"}, host=PROXY, method="POST").status == 403
    assert made.ask({"X-Remote-User": "ada", "X-CSRF-Token": right}, host=PROXY, method="POST") == ada
    other = {"X-Remote-User": "root@lab", "X-CSRF-Token": right}
    assert refused(made.ask, other, host=PROXY, method="POST").status == 403
    assert made.gate.csrf_of(Principal("bob", Role.VIEWER, "0" * 8, "token"), {}) == ""


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("1.1.1.1, 192.0.2.7", "192.0.2.7"),
        ("1.1.1.1,192.0.2.7 ", "192.0.2.7"),
        ("192.0.2.7:5123", "192.0.2.7"),
        ("[2001:db8::5]:443", "2001:db8::5"),
        ("2001:db8::5", "2001:db8::5"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("unknown", PROXY),
        ("192.0.2.7, ", PROXY),
        ("", PROXY),
        ("[", PROXY),
        ("<script>", PROXY),
    ],
)
def test_the_address_behind_the_proxy_is_its_last_hop(tmp_path, forwarded, address):
    made = made_gate(tmp_path, proxy_addresses=["10.9.0.0/31"])
    assert made.gate.client_address({"X-Forwarded-For": forwarded}, PROXY) == address
    assert made.gate.client_address({"X-Forwarded-For": forwarded}, ELSEWHERE) == ELSEWHERE
    assert made_gate(tmp_path).gate.client_address({"X-Forwarded-For": forwarded}, PROXY) == PROXY


def test_lock_out_behind_the_proxy_is_of_the_client_and_not_of_all(tmp_path):
    made = made_gate(tmp_path, proxy_addresses=[PROXY], lockout_failures=1)
    _, secret = made.token()
    bad = {"X-Forwarded-For": "192.0.2.7", "Authorization": f"Bearer {WRONG}"}
    assert [refused(made.ask, bad, host=PROXY).status for _ in range(2)] == [401, 429]
    bad["X-Forwarded-For"] = "8.8.8.8, 192.0.2.7"
    assert refused(made.ask, bad, host=PROXY).status == 429, "a hop that the client made up changes nothing"
    good = {"X-Forwarded-For": "192.0.2.8", "Authorization": f"Bearer {secret}"}
    assert made.ask(good, host=PROXY).name == "ada"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"proxy_addresses": ["nginx"]}, "access.proxy_addresses='nginx': not an IP address or network"),
        ({"proxy_addresses": ["0.0.0.0/0"]}, "access.proxy_addresses='0.0.0.0/0': names every address"),
        ({"identity_header": "X-User"}, "access.proxy_addresses must say from where it is taken"),
        ({"identity_roles": {"ada": "viewer"}}, "access.identity_header must name the header"),
        (BEHIND_PROXY | {"identity_roles": {"ada": "root"}}, "access.identity_roles.ada='root': must be one of viewer"),
        (BEHIND_PROXY | {"identity_roles": {"a b": "viewer"}}, "not a name in access.identity_roles"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(tmp_path, settings, message):
    with pytest.raises(ConfigError) as caught:
        made_gate(tmp_path, **settings)
    assert message in str(caught.value)
