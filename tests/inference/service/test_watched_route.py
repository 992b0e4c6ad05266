"""A watched folder with pseudonyms, two bundles and a webhook: a slide comes in, results go out, no name with them."""

import json
import re
import shutil
import threading
import time
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
from made_bundle import made_bundle
from made_service import MadeService
from made_slides import aperio_description, texture, write_pyramid

from pathoprog.inference.service.outbound.signatures import read_secrets, verify_signature

NAMES = ("LINDQVIST", "26H04711", "PLANTED-NOTE")
PATTERN = r"(?P<patient>\d{2}H\d{5})-(?P<block>[A-Z]\d).*"


class Receiver(BaseHTTPRequestHandler):
    """Keeps what it is sent, headers and body."""

    got: ClassVar[list[tuple[dict[str, str], bytes]]] = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append((dict(self.headers.items()), body))
        self.send_response(200)
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
    incoming = made.slides / "LINDQVIST"
    incoming.mkdir()
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
        }
    ]
    made.settings["watch"] = [{"folder": str(incoming), "route": "colon", "poll_s": 0.2, "settle_s": 4}]
    address = f"http://127.0.0.1:{receiver.server_address[1]}/hook"
    hook = {"name": "lis", "url": address, "plain_http": True, "secret_file": str(secret)}
    made.settings["outbound"] = {"webhooks": [hook]}
    made.start()
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
    line = [text for text in (made.state / "audit.jsonl").read_text().splitlines() if '"lookup"' in text][-1]
    assert "the-reviewer" in line and "26H04711" not in line and found.json["patient_ids"][0] in line


def test_no_planted_name_is_outside_the_private_map(watched):
    """Every byte that was written or sent; paths and names are in the ledger, the store and the map alone (0600)."""
    made, _, _ = watched
    private = {made.state / name for name in ("ledger.sqlite", "service.sqlite", "pseudonyms.csv")}
    for path in private:
        assert path.stat().st_mode & 0o077 == 0
    sent = [b"".join([repr(headers).encode(), body]) for headers, body in Receiver.got]
    for one in submissions(made, 3):
        for path in ("", "/result", "/files", "/files/run.json", "/report", "/files/tiles.geojson"):
            for bundle in ("colon", "candidate"):
                asked = made.ask("GET", f"/v1/submissions/{one['id']}{path}?bundle={bundle}", role="admin")
                sent += [repr(asked.headers).encode(), asked.body]
    for path in ("/v1/results", "/v1/results?format=jsonl", "/metrics", "/v1/slides?root=scans", "/v1/bundles"):
        role = "admin"
        sent.append(made.ask("GET", path, role=role).body)
    sent.append(events(made))
    written = [path for top in (made.state, made.out) for path in top.rglob("*") if path.is_file()]
    everything = sent + [path.read_bytes() for path in written if path not in private]
    everything += [str(path).encode() for path in written] + [made.said().encode()]
    for name in NAMES:
        assert not [data[:200] for data in everything if name.encode() in data], name
    assert any(NAMES[1].encode() in path.read_bytes() for path in private), "else this test finds nothing anyhow"


def events(made, after=0):
    """What the stream of events says from a number on, until it falls silent."""
    connection = HTTPConnection("127.0.0.1", made.port, timeout=1.5)
    headers = {"Authorization": f"Bearer {made.tokens['admin']}", "Last-Event-ID": str(after)}
    connection.request("GET", "/v1/events", headers=headers)
    answer, said = connection.getresponse(), b""
    assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/event-stream")
    try:
        while data := answer.readline():
            said += data
    except TimeoutError:
        pass
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
    assert before[-1]["withheld"] == 3 and before[-1]["results"] == 0
    made.ask("POST", "/v1/bundles/colon/release", role="admin")
    since = before[-1]["next_since"]
    path = f"/v1/results?format=jsonl&since={since}"
    after = [json.loads(line) for line in made.ask("GET", path, role="viewer").body.splitlines()]
    assert sorted(row["status"] for row in after[:-1]) == ["failed", "scored", "scored"]
    text = made.ask("GET", "/v1/results", role="viewer").body.decode()
    assert text.splitlines()[0].startswith("record,seq,at,slide_id")
