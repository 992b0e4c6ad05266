"""A table of abuse, each with the answer that it gets; nothing of it is a 5xx, and the service goes on."""

import json
import socket
import time
from http.client import HTTPConnection

import pytest

SUBMIT = {"route": "colon", "slide": "x"}
SCRIPT = "<script>alert(1)</script>"

# who, method, path, body, headers, the answers that are right
TABLE = [
    ("no token", "", "GET", "/v1/submissions", None, {}, {401}),
    ("no such token", "", "GET", "/v1/me", None, {"Authorization": "Bearer pp_0_" + "x" * 43}, {401}),
    ("two kinds of token", "", "GET", "/v1/me", None, {"Authorization": "Basic eDp5"}, {401}),
    ("a token in the address", "", "GET", "/v1/me?token=pp_a_" + "x" * 43, None, {}, {401}),
    ("wrong role", "viewer", "POST", "/v1/submissions", SUBMIT, {}, {403}),
    ("wrong role for release", "operator", "POST", "/v1/bundles/colon/release", None, {}, {403}),
    ("wrong role for metrics", "viewer", "GET", "/metrics", None, {}, {403}),
    ("wrong role for look-ups", "admin", "POST", "/v1/lookups", {"case": "1"}, {}, {403}),
    ("wrong role for the audit log", "operator", "GET", "/v1/audit", None, {}, {403}),
    ("wrong role for the audit log's lines", "reviewer", "GET", "/v1/audit/lines", None, {}, {403}),
    ("wrong role for undelivered events", "operator", "GET", "/v1/webhooks", None, {}, {403}),
    ("wrong role for sending again", "operator", "POST", "/v1/webhooks/lis/undelivered/send", {}, {}, {403}),
    ("a webhook that is none", "admin", "GET", "/v1/webhooks/lis/undelivered", None, {}, {404}),
    ("a webhook that is none, to send to", "admin", "POST", "/v1/webhooks/lis/undelivered/send", {}, {}, {404}),
    ("an identity header without a proxy", "", "GET", "/v1/me", None, {"X-Remote-User": "admin"}, {401}),
    ("traversal in an id", "operator", "GET", "/v1/submissions/..%2f..%2fstate", None, {}, {404, 422}),
    ("traversal in a route", "operator", "POST", "/v1/submissions", {"route": "../x", "slide": "y"}, {}, {422}),
    ("a path for a slide", "operator", "POST", "/v1/submissions", {**SUBMIT, "slide": "/etc/passwd"}, {}, {422}),
    ("another's id", "operator", "GET", "/v1/submissions/AAAAAAAAAAAA/result", None, {}, {404}),
    ("a slide that is none", "operator", "POST", "/v1/submissions", SUBMIT, {}, {404}),
    ("malformed JSON", "operator", "POST", "/v1/submissions", b"{", {}, {422}),
    ("not UTF-8", "operator", "POST", "/v1/submissions", b"\xff\xfe{}", {}, {400, 422}),
    ("deep JSON", "operator", "POST", "/v1/submissions", b"[" * 30000 + b"]" * 30000, {}, {400, 422}),
    ("a further key", "operator", "POST", "/v1/submissions", {**SUBMIT, "path": "/x"}, {}, {422}),
    ("a body that is too large", "operator", "POST", "/v1/submissions", b"x" * 70000, {}, {413}),
    ("a length that is none", "operator", "POST", "/v1/submissions", None, {"Content-Length": "-5"}, {400, 413}),
    ("a method that is none", "operator", "DELETE", "/v1/submissions", None, {}, {405}),
    ("script in a field", "operator", "GET", f"/v1/submissions?slide={SCRIPT}", None, {}, {200, 422}),
    ("control characters", "operator", "GET", "/v1/submissions?slide=%0d%0aSet-Cookie:%20a=b", None, {}, {422}),
    ("a number that is none", "operator", "GET", "/v1/submissions?before=-1", None, {}, {422}),
    ("a page that is too large", "operator", "GET", "/v1/submissions?limit=100000", None, {}, {422}),
    ("a trait without the right", "operator", "POST", "/v1/submissions",
     {**SUBMIT, "traits": {"organ": "colon"}}, {}, {403, 404}),
    ("a long Idempotency-Key", "operator", "POST", "/v1/submissions", SUBMIT, {"Idempotency-Key": "k" * 300}, {422}),
    ("an export since no time", "operator", "GET", "/v1/results?since=yesterday", None, {}, {409, 422}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("number", "who", "method", "path", "body", "headers", "right"),
    [(number, *row[1:]) for number, row in enumerate(TABLE, 1)],
    ids=[row[0] for row in TABLE],
)
def test_abuse_is_answered_in_words(service, number, who, method, path, body, headers, right):
    """Each from an address of its own: after a wrong token an address must wait."""
    connection = HTTPConnection("127.0.0.1", service.port, timeout=30, source_address=(f"127.0.1.{number}", 0))
    try:
        given = dict(headers)
        if who:
            given["Authorization"] = f"Bearer {service.tokens[who]}"
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        if data is not None:
            given.setdefault("Content-Type", "application/json")
        connection.request(method, path, data, given)
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    assert answer.status in right, (answer.status, text)
    assert answer.headers["X-Content-Type-Options"] == "nosniff" or answer.status == 400
    if answer.status >= 400 and answer.headers["Content-Type"] == "application/problem+json":
        found = json.loads(text)
        assert found["detail"] and found["status"] == answer.status
    assert b"Traceback" not in text and str(service.folder).encode() not in text and b"site-packages" not in text
    assert service.tokens["admin"].encode() not in text


def cookie(answer):
    return answer.headers["set-cookie"].partition(";")[0]


def test_a_browser_needs_the_csrf_token_for_what_changes_something(service):
    logged_in = service.ask("POST", "/v1/session", {"token": service.tokens["operator"]}, role="")
    assert logged_in.status == 200
    said = logged_in.headers["set-cookie"].lower()
    assert "httponly" in said and "samesite=strict" in said
    browser = {"Cookie": cookie(logged_in)}
    assert service.ask("GET", "/v1/me", role="", **browser).json["role"] == "operator"
    refused = service.ask("POST", "/v1/submissions", SUBMIT, role="", **browser)
    assert refused.status == 403 and "CSRF" in refused.json["detail"]
    forged = service.ask("POST", "/v1/submissions", SUBMIT, role="", **browser, X_CSRF_Token="0" * 64)
    assert forged.status == 403
    right = service.ask("POST", "/v1/submissions", SUBMIT, role="", **browser, X_CSRF_Token=logged_in.json["csrf"])
    assert right.status == 404, "the slide is none, but the request is taken"
    out = service.ask("DELETE", "/v1/session", role="", **browser, X_CSRF_Token=logged_in.json["csrf"])
    assert out.status == 204 and service.ask("GET", "/v1/me", role="", **browser).status == 401


def test_a_slow_client_is_cut_off_and_holds_nobody_up(service):
    """Twenty clients that send a byte a second; others are answered meanwhile."""
    slow = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(20)]
    try:
        for one in slow:
            one.sendall(b"GET /v1/me HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        began = time.monotonic()
        assert service.ask("GET", "/health", role="").status == 200
        assert time.monotonic() - began < 5
        for one in slow:
            one.settimeout(30)
            assert one.recv(4096) == b"", "the head did not come: the connection is closed without a word"
    finally:
        for one in slow:
            one.close()


def test_guessing_is_slowed_down_and_put_on_record(bundle, tmp_path, service):
    """From an address of its own, so that the other tests' is not locked out."""
    answers = []
    for number in range(8):
        connection = HTTPConnection("127.0.0.1", service.port, timeout=10, source_address=("127.0.0.9", 0))
        body = json.dumps({"token": f"pp_guess{number}_" + "x" * 43})
        connection.request("POST", "/v1/session", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answers.append((answer.status, answer.headers["Retry-After"]))
        connection.close()
    assert answers[0][0] == 401 and answers[-1][0] == 429 and int(answers[-1][1]) >= 1
    assert service.ask("GET", "/v1/me").status == 200, "others are not locked out"
    log = (service.state / "audit.jsonl").read_text()
    assert "login_failed" in log and "127.0.0.9" in log and "pp_guess" not in log
    assert service.ask("GET", "/v1/audit", role="admin").json["whole"]


def test_a_revoked_token_is_refused_at_once(service):
    from pathoprog.inference.service.access.roles import Role
    from pathoprog.inference.service.access.tokens import TokenStore

    store = TokenStore(service.state / "tokens.json")
    _, secret = store.add("for-a-day", Role.VIEWER, 1, str)
    headers = {"Authorization": f"Bearer {secret}"}
    assert service.ask("GET", "/v1/me", role="", **headers).status == 200
    store.revoke("for-a-day", str)
    refused = service.ask("GET", "/v1/me", role="", **headers)
    assert refused.status == 401
