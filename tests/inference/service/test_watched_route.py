"""Watched folders with pseudonyms, two bundles and a webhook: slides come in, results go out, no name with them."""

import json
import re
import shutil
import signal
import threading
import time
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
from made_bundle import made_bundle
from made_mirax import write_mirax
from made_service import MadeService
from made_slides import aperio_description, texture, write_pyramid

from pathoprog.inference.service.outbound.signatures import read_secrets, verify_signature

NAMES = ("LINDQVIST", "26H04711", "PLANTED-NOTE", "NORDMANN")
PATTERN = r"(?P<patient>\d{2}H\d{5})-(?P<block>[A-Z]\d).*"


class Receiver(BaseHTTPRequestHandler):
    """Keeps what it is sent, headers and body."""

    got: ClassVar[list[tuple[dict[str, str], bytes]]] = []
    status: ClassVar[int] = 200

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append((dict(self.headers.items()), body))
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def receiver():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def watched(bundle, receiver, tmp_path_factory):
    folder = tmp_path_factory.mktemp("watched")
    candidate = made_bundle(folder / "locked" / "candidate", 64, thresholds={"10x": 0.3, "40x": 0.3})
    made = MadeService(folder / "service", bundle)
    incoming, desk = made.slides / "LINDQVIST", folder / "desk of LINDQVIST"
    for one in (incoming, desk / "incoming", folder / "tmp"):
        one.mkdir(parents=True)
    planted(desk, "26H04711-R9.svs", 9)
    table = folder / "table of NORDMANN.csv"
    table.write_text("file,patient_id,organ\n26H04711-T0.svs,NORDMANN,colon\n")
    secret = folder / "secret"
    secret.write_text("0123456789abcdef0123456789abcdef\n")
    secret.chmod(0o600)
    made.settings["bundles"].append({"name": "candidate", "folder": str(candidate)})
    made.settings["routes"] = [
        {
            "name": "colon",
            "root": "scans",
            "bundles": ["colon", "candidate"],
            "patients": {"pattern": PATTERN, "unknown_patient": "fail"},
            "staged": True,
        },
        {"name": "desk", "root": "desk", "bundles": ["colon"]},
        {"name": "table", "root": "desk", "bundles": ["colon"], "patients": {"table": str(table), "settle_s": 0}},
    ]
    made.settings["roots"].append({"name": "desk", "folder": str(desk)})
    made.settings["watch"] = [
        {"folder": str(incoming), "route": "colon", "poll_s": 0.2, "settle_s": 4},
        {"folder": str(desk / "incoming"), "route": "table", "poll_s": 0.2, "settle_s": 0},
    ]
    made.settings["backups"] = str(folder / "backups")
    address = f"http://127.0.0.1:{receiver.server_address[1]}/hook"
    hook = {"name": "lis", "url": address, "plain_http": True, "secret_file": str(secret)}
    hook |= {"refusals": 1}
    made.settings["outbound"] = {"webhooks": [hook]}
    made.settings["audit"] = {"most_mib": 0.01}
    made.settings["access"] = {"requests_per_minute": 1e6}  # one admin asks everything, as fast as the machine goes
    made.start({"TMPDIR": str(folder / "tmp")})
    yield made, incoming, secret
    made.stop()


def submissions(made, n, timeout_s=90.0):
    """All submissions, once there are `n` and all are done."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        found = made.ask("GET", "/v1/submissions", role="admin").json["submissions"]
        states = [work["state"] for one in found for work in one["works"]]
        if len(found) >= n and not {"received", "waiting", "running"} & set(states):
            return found
        time.sleep(0.2)
    raise AssertionError(found)


def planted(folder, name, seed):
    """A slide whose name and description hold a person's."""
    image = texture(500, 400, seed=seed, margin=40)
    text = f"{aperio_description(500, 400, 0.25)}|User = LINDQVIST|Note = PLANTED-NOTE"
    return write_pyramid(folder / name, image, description=text)


def test_a_slide_that_is_copied_slowly_is_scored_once_by_both_bundles(watched, tmp_path, receiver):
    made, incoming, secret = watched
    slide = planted(tmp_path, "26H04711-A1.svs", 0).read_bytes()
    with (incoming / "26H04711-A1.svs").open("wb") as stream:
        for start in range(0, len(slide), len(slide) // 6 + 1):
            stream.write(slide[start : start + len(slide) // 6 + 1])
            stream.flush()
            time.sleep(0.5)
    (one,) = submissions(made, 1)
    assert one["state"] == "done" and one["submitted_by"] == "watch", one
    assert [work["bundle"] for work in one["works"]] == ["colon", "candidate"]
    assert re.fullmatch("S[0-9a-f]{16,}", one["slide_id"]) and one["patient_id"].startswith("P")
    time.sleep(2)
    assert len(submissions(made, 1)) == 1, "what stands still is not taken again"
    end = time.monotonic() + 20
    while not Receiver.got and time.monotonic() < end:
        time.sleep(0.1)
    headers, body = Receiver.got[0]
    said = json.loads(body)
    assert (said["kind"], said["submission"]) == ("done", one["id"]) and "risk_class" not in said, "in shadow"
    stamp, signed = headers["X-Pathoprog-Timestamp"], headers["X-Pathoprog-Signature"]
    assert verify_signature(body, stamp, signed, read_secrets(secret), time.time())


def test_a_further_slide_of_the_patient_joins_the_first(watched, tmp_path):
    made, incoming, _ = watched
    shutil.copy(planted(tmp_path, "26H04711-B2.svs", 1), incoming)
    found = submissions(made, 2)
    assert len({one["patient_id"] for one in found}) == 1 and len({one["slide_id"] for one in found}) == 2
    patient = found[0]["patient_id"]
    answer = made.ask("GET", f"/v1/patients/{patient}?bundle=colon", role="evaluator")
    assert answer.status == 200, answer.body
    assert answer.json["status"] == "scored" and answer.json["rule"] == "bag" and len(answer.json["slides"]) == 2
    for one in found:
        result = made.ask("GET", f"/v1/submissions/{one['id']}/result", role="evaluator").json["result"]
        assert result["class_level"].startswith("slide level"), "each slide alone is no patient's class any more"


def test_what_no_rule_knows_fails_in_words_and_others_go_on(watched, tmp_path):
    made, incoming, _ = watched
    shutil.copy(planted(tmp_path, "LINDQVIST-Anna.svs", 2), incoming)
    found = submissions(made, 3)
    assert found[0]["state"] == "failed" and "pattern" in found[0]["reason"]
    assert "LINDQVIST" not in json.dumps(found)


def test_a_reviewer_finds_a_case_by_its_number_and_it_is_on_record(watched):
    made, _, _ = watched
    found = made.ask("POST", "/v1/lookups", {"case": "26H04711"}, role="reviewer")
    assert found.status == 200 and len(found.json["submissions"]) == 2 and len(found.json["patient_ids"]) == 1
    assert made.ask("POST", "/v1/lookups", {"case": "26H04711"}, role="admin").status == 403
    lines = [text for file in made.state.glob("audit*.jsonl") for text in file.read_text().splitlines()]
    (line,) = [text for text in lines if '"lookup"' in text and "the-reviewer" in text]
    assert "the-reviewer" in line and "26H04711" not in line and found.json["patient_ids"][0] in line


def test_a_reviewer_finds_what_was_refused_too(watched):
    made, _, _ = watched
    found = made.ask("POST", "/v1/lookups", {"case": "LINDQVIST-Anna"}, role="reviewer").json
    assert [one["state"] for one in found["submissions"]] == ["failed"] and len(found["slide_ids"]) == 1


def test_killed_with_slides_in_hand_it_goes_on_and_takes_nothing_twice(watched, tmp_path):
    """Each slide is found again by the map: of a watched folder, of a client, of a table that did not know it yet."""
    made, incoming, _ = watched
    before = {one["id"] for one in submissions(made, 3)}
    (listed,) = made.ask("GET", "/v1/slides?root=desk").json["slides"]
    assert listed["file_name"] == ""
    asked = {"route": "desk", "slide": listed["id"], "patient": "26H04711-NORDMANN"}
    sent = {"Idempotency_Key": "26H04711-once"}
    shutil.copy(planted(tmp_path, "26H04711-T1.svs", 3), made.folder.parent / "desk of LINDQVIST" / "incoming")
    mirax = write_mirax(tmp_path / "26H04711-C3.mrxs", texture(512, 512, seed=4))
    shutil.copytree(mirax.with_suffix(""), incoming / "26H04711-C3")
    shutil.copy(mirax, incoming)
    end = time.monotonic() + 60
    while len(made.ask("GET", "/v1/submissions", role="admin").json["submissions"]) == len(before):
        assert time.monotonic() < end
        time.sleep(0.02)
    first = made.ask("POST", "/v1/submissions", asked, **sent)
    assert first.status == 201, first.body
    made.stop(signal.SIGKILL)
    assert_no_name(made, "what a kill leaves")
    table = made.folder.parent / "table of NORDMANN.csv"
    table.write_text(table.read_text() + "26H04711-T1.svs,NORDMANN,colon\n")
    made.start({"TMPDIR": str(made.folder.parent / "tmp")})
    again = made.ask("POST", "/v1/submissions", asked, **sent)
    assert (again.status, again.json["id"]) == (200, first.json["id"])
    found = submissions(made, 6)
    new = [one for one in found if one["id"] not in before]
    assert sorted(one["route"] for one in new) == ["colon", "desk", "table"]
    assert {one["state"] for one in new} <= {"done", "not_reportable"}, new
    time.sleep(5)
    assert len(submissions(made, 6)) == 6, "what stands still is not taken again after a restart"


def assert_no_name(made, when, sent=()):
    """Every byte of state, results, backups, temporary files and output, and every name of a file; but the map."""
    tops = (made.state, made.out, made.folder.parent / "tmp", made.folder.parent / "backups")
    written = [path for top in tops for path in top.rglob("*") if path.is_file()]
    private = made.state / "pseudonyms.csv"
    assert private.stat().st_mode & 0o777 == 0o600
    everything = [*sent, *(str(path).encode() for path in written), made.said().encode()]
    everything += [path.read_bytes() for path in written if path != private and not is_copy(made, path)]
    for name in NAMES:
        assert not [data[:200] for data in everything if name.encode() in data], (when, name)
        assert name == NAMES[2] or name.encode() in private.read_bytes(), "else this test finds nothing anyhow"


def is_copy(made, path):
    """Whether a file is a slide's local copy, which holds what the slide holds; its name and record are none."""
    staging = made.state / "staging"
    return path.is_relative_to(staging) and "files" in path.relative_to(staging).parts


def test_no_planted_name_is_outside_the_private_map(watched):
    """Every byte that was written or sent, a backup without the map among them."""
    made, _, _ = watched
    assert made.ask("POST", "/v1/backups", role="admin").status == 201
    sent = [b"".join([repr(headers).encode(), body]) for headers, body in Receiver.got]
    for one in submissions(made, 6):
        shown = ("/view", "/view/9/0_0.jpg", "/view/overlays", "/outline", "/page", "/strongest", "/qupath")
        for path in ("", "/result", "/files", "/files/run.json", "/report", "/files/tiles.geojson", *shown):
            for bundle in ("colon", "candidate"):
                asked = made.ask("GET", f"/v1/submissions/{one['id']}{path}?bundle={bundle}", role="admin")
                sent += [repr(asked.headers).encode(), asked.body]
        sent.append(made.ask("POST", f"/v1/submissions/{one['id']}/seen", {}, role="admin").body)
        sent.append(made.ask("GET", f"/v1/patients/{one['patient_id']}/groups", role="admin").body)
    for path in (
        *("/v1/results", "/v1/results?format=jsonl", "/metrics", "/v1/slides?root=scans", "/v1/slides?root=desk"),
        *("/v1/bundles", "/v1/roots", "/v1/audit", "/v1/patients/P0", "/v1/submissions/none"),
        *("/v1/worklist", "/v1/night", "/v1/bundles/colon/card", "/v1/bundles/colon/comparison?other=candidate"),
    ):
        sent.append(made.ask("GET", path, role="admin").body)
    sent.append(events(made))
    assert_no_name(made, "while it runs", sent)
    assert list((made.state / "staging").glob("*/files/*")), "local copies were made"


def events(made, after=0):
    """What the stream of events says from a number on, until it falls silent."""
    connection = HTTPConnection("127.0.0.1", made.port, timeout=1.5)
    headers = {"Authorization": f"Bearer {made.tokens['admin']}", "Last-Event-ID": str(after)}
    said = b""
    try:
        connection.request("GET", "/v1/events", headers=headers)
        answer = connection.getresponse()
        assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/event-stream")
        while data := answer.readline():
            said += data
    except TimeoutError:
        pass
    finally:
        connection.close()
    return said


def test_events_go_on_from_where_a_client_was(watched):
    made, _, _ = watched
    numbers = [int(line[4:]) for line in events(made).decode().splitlines() if line.startswith("id: ")]
    assert numbers == sorted(set(numbers)) and len(numbers) > 6
    later = [int(line[4:]) for line in events(made, numbers[3]).decode().splitlines() if line.startswith("id: ")]
    assert later == numbers[4:]


def test_an_export_leaves_out_what_is_withheld_and_gives_it_after_the_release(watched):
    made, _, _ = watched
    answer = made.ask("GET", "/v1/results?format=jsonl", role="viewer")
    before = [json.loads(line) for line in answer.body.splitlines()]
    assert before[-1]["withheld"] == 6 and before[-1]["results"] == 0
    made.ask("POST", "/v1/bundles/colon/release", role="admin")
    since = before[-1]["next_since"]
    path = f"/v1/results?format=jsonl&since={since}"
    after = [json.loads(line) for line in made.ask("GET", path, role="viewer").body.splitlines()]
    ends = sorted("scored" if one["state"] == "done" else one["state"] for one in submissions(made, 6))
    assert sorted(row["status"] for row in after[:-1]) == ends and ends.count("scored") >= 4
    text = made.ask("GET", "/v1/results", role="viewer").body.decode()
    assert text.splitlines()[0].startswith("record,seq,at,slide_id")


def test_what_a_receiver_refused_is_listed_and_sent_again_by_an_admin(watched, monkeypatch):
    made, _, _ = watched

    def undelivered(n):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            (hook,) = made.ask("GET", "/v1/webhooks", role="admin").json["webhooks"]
            if (hook["undelivered"], hook["waiting"], hook["sending_again"]) == (n, 0, 0):
                return made.ask("GET", "/v1/webhooks/lis/undelivered", role="admin").json
            time.sleep(0.1)
        raise AssertionError(hook)

    assert undelivered(0)["undelivered"] == []
    monkeypatch.setattr(Receiver, "status", 410)
    for _ in range(3):  # each tells that results were withdrawn
        assert made.ask("POST", "/v1/bundles/colon/withhold", role="admin").status == 200
    found = undelivered(3)["undelivered"]
    assert [(one["kind"], one["tries"], one["status"]) for one in found] == [("withdrawn", 1, 410)] * 3
    assert b'pathoprog_webhook_undelivered{webhook="lis"} 3.0' in made.ask("GET", "/metrics", role="admin").body
    page = made.ask("GET", f"/v1/webhooks/lis/undelivered?limit=2&after={found[0]['seq']}", role="admin").json
    assert page["undelivered"] == found[1:] and page["next"] == 0
    assert made.ask("GET", "/v1/webhooks/lis/undelivered?limit=1", role="admin").json["next"] == found[0]["seq"]
    monkeypatch.setattr(Receiver, "status", 200)
    before = len(Receiver.got)
    send = "/v1/webhooks/lis/undelivered/send"
    one = made.ask("POST", send, {"delivery": found[1]["delivery"]}, role="admin")
    assert one.status == 202 and one.json["deliveries"] == 1
    assert [each["seq"] for each in undelivered(2)["undelivered"]] == [found[0]["seq"], found[2]["seq"]]
    assert made.ask("POST", send, {}, role="admin").json["deliveries"] == 2 and undelivered(0)["undelivered"] == []
    came = [headers["X-Pathoprog-Delivery"] for headers, _ in Receiver.got[before:]]
    assert came == [found[place]["delivery"] for place in (1, 0, 2)]
    assert made.ask("POST", send, {"delivery": found[1]["delivery"]}, role="admin").status == 404
    lines = made.ask("GET", "/v1/audit/lines?limit=10", role="admin").json
    said = [(line["who"], line["subject"], line["detail"]) for line in lines["lines"] if line["action"] == "redeliver"]
    assert said[1:] == [
        ("the-admin", "lis", {"delivery": "all"}), ("the-admin", "lis", {"delivery": found[1]["delivery"]}),
    ]  # fmt: skip
    rest = made.ask("GET", f"/v1/audit/lines?before={lines['next']}&limit=1", role="admin").json["lines"]
    assert rest[0]["seq"] == lines["next"] - 1
    audit = made.ask("GET", "/v1/audit", role="admin").json
    assert audit["whole"] and audit["fault"] == "" and (made.state / "audit.part000001.jsonl").exists()
    again = made.ask("GET", "/v1/audit/lines?limit=1", role="admin").json["lines"]
    assert again[0]["action"] == "audit_viewed", "who reads the log is on record too"
