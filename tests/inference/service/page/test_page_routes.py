"""The page's data routes: what each answers, to whom, and what is put on record."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from pathoprog.ensemble.clinical import ClinicalCovariate, ClinicalModel, ClinicalTerm
from pathoprog.ensemble.stage_groups import FILE, NODAL_LEVELS, PT_LEVELS
from pathoprog.inference.service.page.bundle_routes import _stage_group
from pathoprog.inference.service.work.desk import ConflictError


def rows(answer):
    assert answer.status == 200, answer.body
    return [(row["submission"]["slide_id"], row["submission"]["state"]) for row in answer.json["rows"]]


def test_the_queue_begins_with_what_failed(made):
    found = made.ask("GET", "/v1/worklist")
    states = [state for _, state in rows(found)]
    assert states == ["failed", "waiting", "not_reportable", "done"]
    assert found.json["counts"] == {"failed": 1, "waiting": 1, "not_reportable": 1, "done": 1}
    waiting = found.json["rows"][1]
    assert waiting["ahead"] == 0 and found.json["rows"][0]["ahead"] == -1
    assert found.json["rows"][0]["submission"]["reason"].startswith("truncated")


def test_the_queue_is_filtered_by_state_text_time_and_page(made):
    assert rows(made.ask("GET", "/v1/worklist?state=done&state=failed")) == [("E", "failed"), ("A", "done")]
    assert rows(made.ask("GET", "/v1/worklist?text=p1")) == [("A", "done")], "a patient's id, whatever its case"
    assert rows(made.ask("GET", f"/v1/worklist?text={made.B}")) == [("B", "not_reportable")]
    assert rows(made.ask("GET", "/v1/worklist?text=nothing")) == []
    assert rows(made.ask("GET", "/v1/worklist?route=other")) == []
    assert len(rows(made.ask("GET", "/v1/worklist?hours=1"))) == 4
    second = made.ask("GET", "/v1/worklist?skip=1&limit=2")
    assert [state for _, state in rows(second)] == ["waiting", "not_reportable"] and second.json["total"] == 4


def test_to_a_viewer_a_bundle_in_shadow_gives_nothing_away(made):
    found = made.ask("GET", "/v1/worklist", role="viewer")
    assert dict(rows(found))["B"] == "done" and "not_reportable" not in found.json["counts"]
    assert found.json["unseen"] == 0 and not [row for row in found.json["rows"] if row["seen"]]
    night = made.ask("GET", "/v1/night", role="viewer").json
    assert (night["done"], night["not_reportable"], night["classes"]) == (2, 0, {})
    assert [one["state"] for one in night["reasons"]] == ["failed"]
    for path in ("page", "strongest", "qupath"):
        assert made.ask("GET", f"/v1/submissions/{made.A}/{path}", role="viewer").status == 403
    assert made.ask("POST", f"/v1/submissions/{made.A}/seen", {}, "viewer").status == 403
    assert made.ask("GET", "/v1/patients/P1/groups", role="viewer").json["groups"] == []
    for path in ("card", "validation", "comparison?other=next", "stage_group?risk_class=good&pT=1&pN=2"):
        hidden = made.ask("GET", f"/v1/bundles/colon/{path}", role="viewer")
        unknown = made.ask("GET", f"/v1/bundles/none/{path}", role="viewer")
        assert hidden.status == unknown.status == 404
        assert hidden.json["detail"] == unknown.json["detail"].replace("none", "colon")


def test_what_was_opened_is_seen_until_it_is_another_result(made):
    before = made.ask("GET", "/v1/worklist?unseen=true")
    assert ("A", "done") in rows(before)
    first = made.ask("POST", f"/v1/submissions/{made.A}/seen", {}, "evaluator")
    assert [one["who"] for one in first.json["seen"]] == ["the-evaluator"]
    made.ask("POST", f"/v1/submissions/{made.A}/seen", {}, "evaluator")
    seen = [line for line in made.audited() if line["detail"].get("seen")]
    assert len(seen) == 1 and seen[0]["subject"] == "A", "once for each who opened it"
    after = made.ask("GET", "/v1/worklist?unseen=true")
    assert after.json["unseen"] == before.json["unseen"] - 1 and ("A", "done") not in rows(after)
    waiting = made.ask("POST", f"/v1/submissions/{made.W}/seen", {})
    assert waiting.status == 409
    assert made.ask("POST", f"/v1/submissions/{made.A}/seen", {"bundle": "none"}).status == 404


def test_what_an_evaluator_saw_in_shadow_is_seen_by_nobody_of_the_case_team(made):
    made.ask("POST", f"/v1/submissions/{made.A}/seen", {}, "evaluator")
    assert made.ask("POST", "/v1/bundles/colon/release").status == 200
    try:
        found = made.ask("GET", "/v1/worklist?text=P1", role="viewer").json["rows"][0]
        assert found["submission"]["state"] == "done" and found["seen"] == []
        seen = made.ask("POST", f"/v1/submissions/{made.A}/seen", {}, "viewer").json["seen"]
        assert [one["who"] for one in seen] == ["the-viewer"]
    finally:
        made.ask("POST", "/v1/bundles/colon/withhold")


def test_a_slide_s_page_says_what_its_report_says(made):
    found = made.ask("GET", f"/v1/submissions/{made.A}/page").json
    assert (found["said"], found["patient_id"], found["shadow"]) == ("uncertain", "P1", True)
    assert [(one["resolution"], one["score"], one["threshold"]) for one in found["rulers"]] == [
        ("10x", 0.3, 0.5),
        ("40x", 0.8, 0.5),
    ]
    assert sum(len(one["dots"]) for one in found["rulers"]) == 10
    assert found["curves"]["points"]["uncertain"][5]["n_risk"] == 50 and "North" in found["curves"]["title"]
    assert found["checks"] and "report.html" in found["files"] and "esearch use only" in found["notice"]
    beside = made.ask("GET", f"/v1/submissions/{made.A}/page?bundle=next").json
    assert beside["rulers"][0]["threshold"] == 0.2 and beside["curves"] is None
    assert made.audited()[-1]["action"] == "report_viewed"
    assert made.ask("GET", f"/v1/submissions/{made.W}/page").status == 409


def test_a_result_of_a_bundle_that_is_served_no_longer_is_still_there_for_who_sees_shadow(made, monkeypatch):
    monkeypatch.delitem(made.snapshot.bundles, "next")
    monkeypatch.delitem(made.service.plans, "next")
    for path in ("page", "result", "strongest"):
        answer = made.ask("GET", f"/v1/submissions/{made.A}/{path}?bundle=next", role="evaluator")
        assert answer.status == 200 and answer.json.get("shadow", True)
        assert made.ask("GET", f"/v1/submissions/{made.A}/{path}?bundle=next", role="viewer").status == 403
    assert made.ask("GET", "/v1/bundles/next/card", role="evaluator").status == 404


def test_failed_and_not_reportable_slides_have_no_class(made):
    failed = made.ask("GET", f"/v1/submissions/{made.E}/page").json
    assert failed["said"] == "failed" and failed["rulers"] == [] and failed["curves"] is None
    assert any("truncated" in flag["text"] for flag in failed["flags"])
    judged = made.ask("GET", f"/v1/submissions/{made.B}/page").json
    assert judged["said"] == "not_reportable" and judged["curves"] is None
    assert made.ask("GET", f"/v1/submissions/{made.E}/strongest").json["tiles"] == []


def test_the_highest_tiles_come_first(made):
    found = made.ask("GET", f"/v1/submissions/{made.A}/strongest?n=2").json
    assert [(one["resolution"], one["x0"], one["y0"]) for one in found["tiles"]] == [
        ("10x", 1100, 1100),
        ("10x", 1000, 1000),
        ("40x", 1100, 1100),
        ("40x", 1000, 1000),
    ]
    assert found["tiles"][0]["score"] == 1.0 and "Neither a cause nor a probability" in found["caption"]


def test_the_script_for_qupath_names_slide_and_size_and_no_path(made):
    script = made.ask("GET", f"/v1/submissions/{made.A}/qupath?resolution=40x")
    text = script.body.decode()
    assert script.status == 200 and "attachment" in script.headers["content-disposition"]
    assert 'slideId = "A"' in text and "width = 1200" in text and '"40x tile score"' in text
    assert "esearch use only" in text and "/scans" not in text
    assert made.ask("GET", f"/v1/submissions/{made.E}/qupath").status == 404


def test_a_bundle_s_card_tells_its_releases_and_its_validation(released):
    card = released.made.ask("GET", "/v1/bundles/colon/card", role="viewer").json
    assert not card["shadow"] and card["history"][-1]["by"] == "the-admin" and card["history"][-1]["released"]
    assert card["thresholds"] == {"10x": 0.5, "40x": 0.5}
    assert card["validation"]["cohort"] == "North" and card["validation"]["has_report"]
    report = released.made.ask("GET", "/v1/bundles/colon/validation", role="viewer")
    assert report.status == 200 and "sandbox" in report.headers["content-security-policy"]
    assert released.made.ask("GET", "/v1/bundles/next/validation").status == 404
    names = [one["name"] for one in released.made.ask("GET", "/v1/bundles", role="viewer").json["bundles"]]
    assert names == ["colon"], "of the one in shadow a viewer does not even learn the name"


def test_a_patient_with_a_slide_that_waits_has_no_verdict_yet(made):
    waits = made.ask("GET", f"/v1/submissions/{made.W}").json
    found = made.ask("GET", f"/v1/patients/{waits['patient_id']}?bundle=colon", role="evaluator").json
    assert (found["status"], found["risk_class"]) == ("waiting", "")
    assert found["reason"] == f"1 of 1 slides have not ended: {waits['slide_id']}"
    failed = made.ask("GET", "/v1/patients/E?bundle=colon", role="evaluator").json
    assert failed["status"] == "failed" and "truncated" in failed["reason"], "an end is a verdict"


def test_two_bundles_are_compared_on_the_same_slides(made):
    found = made.ask("GET", "/v1/bundles/colon/comparison?other=next", role="evaluator").json
    assert found["n"] == found["agree"] == 3
    assert found["table"]["uncertain"] == {"uncertain": 1} and found["table"]["failed"] == {"failed": 1}
    assert found["slides"][-1]["scores"] == {"10x": 0.3, "40x": 0.8}
    assert made.audited()[-1]["action"] == "export"
    assert made.ask("GET", "/v1/bundles/colon/comparison?other=colon").status == 409


def test_the_night_counts_what_ended(made):
    found = made.ask("GET", "/v1/night?hours=2").json
    assert (found["done"], found["not_reportable"], found["failed"], found["open"]) == (1, 1, 1, 1)
    assert sum(one["done"] for one in found["bins"]) == 1 and found["bin_hours"] == 1
    assert {(one["state"], one["n"]) for one in found["reasons"]} == {("failed", 1), ("not_reportable", 1)}
    assert {one["vendor"] for one in found["scanners"]} == {"made", ""}
    earlier = made.ask("GET", "/v1/night?hours=1&ago=48").json
    assert earlier["submitted"] == 0 and earlier["median_s"] is None


def test_a_patient_s_groups_are_its_bundles(made):
    found = made.ask("GET", "/v1/patients/P1/groups", role="evaluator").json["groups"]
    assert [(one["bundle"], one["beside"], one["has_stage_groups"]) for one in found] == [
        ("colon", False, False),
        ("next", True, False),
    ]
    assert made.ask("GET", "/v1/patients/nobody/groups").json["groups"] == []
    no_table = made.ask("GET", "/v1/bundles/colon/stage_group?risk_class=good&pT=3&pN=0&nodes=14")
    assert no_table.status == 404 and "no table" in no_table.json["detail"]


def test_a_class_is_combined_with_stage_by_the_bundle_s_own_table(tmp_path):
    cells = [
        {"pT": pt, "nodal": nodal, "risk_class": said, "risk_group": "high" if said == "poor" else "low"}
        for pt in PT_LEVELS
        for nodal in NODAL_LEVELS
        for said in ("good", "uncertain", "poor")
    ]
    (tmp_path / FILE).write_text(json.dumps({"cells": cells, "rule": "a rule", "in_sample": True}))
    lane = SimpleNamespace(name="colon", config=SimpleNamespace(ensemble=str(tmp_path)))
    found = _stage_group(lane, "poor", "4", "1", 9)
    assert (found.risk_group, found.pt_level, found.nodal_level) == ("high", "pT4", "pN1, 12 nodes or fewer")
    assert found.in_sample and found.rule == "a rule" and _stage_group(lane, "good", "1", "2", None).risk_group == "low"
    with pytest.raises(ConflictError, match="number of nodes"):
        _stage_group(lane, "good", "1", "0", None)


@pytest.mark.parametrize("path", ["/", "/page", "/page/", "/page/static/app.js"])
def test_the_page_needs_no_log_in_and_loads_nothing_from_elsewhere(made, path):
    answer = made.ask("GET", path, role="")
    if path in ("/", "/page"):
        assert answer.status == 307 and answer.headers["location"] == "/page/"
        return
    assert answer.status == 200 and "default-src 'none'" in answer.headers["content-security-policy"]
    again = made.ask("GET", path, role="", If_None_Match=answer.headers["etag"])
    assert again.status == 304 and not again.body


@pytest.mark.parametrize("name", ["none.js", "..%2f__init__.py", "../page_data.py", "%2e%2e/night.py"])
def test_nothing_but_the_page_s_files_is_served(made, name):
    assert made.ask("GET", f"/page/static/{name}", role="").status == 404


def test_card_and_patient_say_that_there_is_a_clinical_model_whose_number_is_not_given_here(made, monkeypatch):
    patient = "/v1/patients/E?bundle=colon"
    assert made.ask("GET", patient, role="evaluator").json["clinical"] == ""
    assert made.ask("GET", "/v1/bundles/colon/card", role="evaluator").json["clinical"] == ""
    term = {"level": "", "reference": "", "coef": 1.0, "se": 0.1, "mean": 0.0}
    model = ClinicalModel(
        covariates=(ClinicalCovariate(name="age", kind="number", typical="69", levels=("30", "95")),),
        terms=(ClinicalTerm(covariate="one_number", **term), ClinicalTerm(covariate="age", **term)),
        missing="withhold",
        n=100,
        events=50,
        n_missing=0,
        strata=("north",),
    )
    lane = made.service.plans["colon"]
    monkeypatch.setitem(made.service.plans, "colon", replace(lane, plan=replace(lane.plan, covariates=model)))
    assert made.ask("GET", "/v1/bundles/colon/card", role="evaluator").json["clinical"] == model.says()
    said = made.ask("GET", patient, role="evaluator").json["clinical"]
    assert said == model.is_not_given() and "age" in said and "its number is not given" in said
    assert "`pathoprog score` with cohort=…" in said and "pathoprog.api.clinical_number" in said
