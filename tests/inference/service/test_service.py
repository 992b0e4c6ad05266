"""The service as a real process: slides submitted over HTTP come out as results, once, shown to whom they may be."""

import json

import pytest


@pytest.fixture(scope="module")
def submitted(service):
    """All four slides, submitted and done: submission ids by file name."""
    ids = service.listed()
    assert sorted(ids) == ["A.tif", "B.tif", "C.tif", "E.tif"]
    found = {}
    for name in ("A.tif", "B.tif", "C.tif", "E.tif"):
        answer = service.submit(ids[name])
        assert answer.status == 201, answer.body
        found[name] = answer.json["id"]
    for one in found.values():
        service.ended(one)
    return found


def test_each_slide_ends_as_the_command_would_end_it(service, submitted):
    states = {name: service.ended(one)["state"] for name, one in submitted.items()}
    assert states == {"A.tif": "done", "B.tif": "done", "C.tif": "not_reportable", "E.tif": "failed"}
    failed = service.ended(submitted["E.tif"])
    assert failed["reason"] and "/" not in failed["reason"], "no path leaves the service"


def test_results_in_shadow_are_shown_to_evaluators_and_withheld_from_viewers(service, submitted):
    path = f"/v1/submissions/{submitted['A.tif']}/result"
    seen = service.ask("GET", path, role="evaluator")
    assert seen.status == 200 and seen.json["shadow"] and seen.json["result"]["risk_class"]
    on_disk = json.loads((service.out / "colon" / "slides" / "A" / "result.json").read_text())
    assert seen.json["result"] == on_disk
    for role in ("viewer", "operator", "reviewer"):
        refused = service.ask("GET", path, role=role)
        assert refused.status == 403 and "shadow" in refused.json["detail"]
    veiled = service.ask("GET", f"/v1/submissions/{submitted['C.tif']}", role="viewer").json
    assert (veiled["state"], veiled["reason"], veiled["withheld"], veiled["works"]) == ("done", "", True, [])
    counts = service.ask("GET", "/v1/submissions", role="viewer").json["counts"]
    assert counts == {"done": 3, "failed": 1}
    assert service.ask("GET", "/v1/submissions", role="admin").json["counts"]["not_reportable"] == 1


def test_the_same_request_sent_again_adds_nothing(service, submitted):
    slide = service.listed()["A.tif"]
    body = {"route": "colon", "slide": slide}
    before = service.ask("GET", "/v1/submissions").json["counts"]
    first = service.ask("POST", "/v1/submissions", body, Idempotency_Key="k-1")
    again = service.ask("POST", "/v1/submissions", body, Idempotency_Key="k-1")
    assert first.json["id"] == again.json["id"] and again.status == 200
    other = service.ask("POST", "/v1/submissions", {**body, "priority": "urgent"}, Idempotency_Key="k-1")
    assert other.status == 409 and "Idempotency-Key" in other.json["detail"]
    assert service.ended(first.json["id"])["state"] == "done"
    after = service.ask("GET", "/v1/submissions").json["counts"]
    assert sum(after.values()) == sum(before.values()) + 1


def test_files_are_those_that_the_result_names(service, submitted):
    base = f"/v1/submissions/{submitted['A.tif']}"
    names = [one["name"] for one in service.ask("GET", f"{base}/files", role="admin").json["files"]]
    assert {"result.json", "report.html", "tiles.parquet"} <= set(names)
    page = service.ask("GET", f"{base}/report", role="admin")
    assert page.status == 200 and b"esearch use only" in page.body
    assert "sandbox" in page.headers["content-security-policy"]
    for name in ("..%2f..%2fledger.sqlite", "nothing.txt", "%2e%2e"):
        assert service.ask("GET", f"{base}/files/{name}", role="admin").status in (404, 422)


def test_a_patient_is_what_its_slides_come_to(service, submitted):
    answer = service.ask("GET", "/v1/patients/A?bundle=colon", role="admin")
    assert answer.status == 200, answer.body
    result = service.ask("GET", f"/v1/submissions/{submitted['A.tif']}/result", role="admin").json["result"]
    assert answer.json["risk_class"] == result["risk_class"] and answer.json["status"] == "scored"
    assert service.ask("GET", "/v1/patients/A?bundle=colon", role="viewer").status == 403


def test_a_failed_slide_can_be_tried_again_and_a_done_one_cannot(service, submitted):
    answer = service.ask("POST", f"/v1/submissions/{submitted['E.tif']}/requeue")
    assert answer.status == 200, answer.body
    assert service.ended(submitted["E.tif"])["state"] == "failed"
    refused = service.ask("POST", f"/v1/submissions/{submitted['A.tif']}/requeue")
    assert refused.status == 409


def test_health_and_readiness_need_no_token_and_say_little(service, submitted):
    assert service.ask("GET", "/health", role="").json["status"] == "ok"
    assert service.ask("GET", "/ready", role="").json["status"] == "ok"


def test_the_description_of_the_interface_loads_nothing_from_elsewhere(service):
    described = service.ask("GET", "/openapi.json", role="")
    assert described.status == 200 and described.json["openapi"].startswith("3.")
    assert service.ask("GET", "/docs", role="").status == 404


def test_release_is_the_admins_and_shows_results_to_all(service, submitted):
    assert service.ask("POST", "/v1/bundles/colon/release", role="operator").status == 403
    released = service.ask("POST", "/v1/bundles/colon/release", role="admin")
    assert released.status == 200 and not released.json["shadow"]
    path = f"/v1/submissions/{submitted['A.tif']}/result"
    assert service.ask("GET", path, role="viewer").status == 200
    withheld = service.ask("POST", "/v1/bundles/colon/withhold", role="admin")
    assert withheld.json["shadow"] and service.ask("GET", path, role="viewer").status == 403
