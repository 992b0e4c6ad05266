"""The policy for what could name a person, and the process that looks."""

import pytest
from made_slides import texture, write_pyramid

from pathoprog.errors import SlideError
from pathoprog.inference.service.intake.identity_check import IdentityReader, IdentityVerdict, identity_verdict
from pathoprog.inference.service.intake.intake_config import IdentitySettings
from pathoprog.slides.identifying.kinds import Finding

FINDINGS = (Finding("person", "PatientName", "Nordmann^Kari"), Finding("image", "label image"))


def test_each_policy():
    assert identity_verdict(FINDINGS, IdentitySettings(identity="off")) == IdentityVerdict()
    warned = identity_verdict(FINDINGS, IdentitySettings(identity="warn"))
    refused = identity_verdict(FINDINGS, IdentitySettings(identity="refuse"))
    assert not warned.refused and refused.refused and warned.warning == refused.warning
    assert warned.warning == (
        "it holds what could name a person: 2 findings (person 1, image 1): PatientName, label image"
    )
    assert identity_verdict((), IdentitySettings(identity="refuse")) == IdentityVerdict()


def test_only_the_kinds_that_count_do():
    verdict = identity_verdict(FINDINGS, IdentitySettings(identity="refuse", kinds=["date"]))
    assert verdict == IdentityVerdict()
    verdict = identity_verdict(FINDINGS, IdentitySettings(identity="refuse", kinds=["image"]))
    assert verdict.refused and "PatientName" not in verdict.warning


def test_many_fields_are_named_shortly_and_no_value_ever():
    findings = [Finding("text", f"tag {n}", "Nordmann") for n in range(30)]
    warning = identity_verdict(findings, IdentitySettings()).warning
    assert "Nordmann" not in warning and warning.endswith("tag 7 …") and len(warning) < 200


def test_slides_are_looked_into_in_another_process(tmp_path):
    path = write_pyramid(tmp_path / "s.svs", texture(512, 512), description="Aperio|User = Nordmann")
    with IdentityReader(30.0) as reader:
        assert [one.where for one in reader.findings(str(path))] == ["ImageDescription: User"]
        with pytest.raises(SlideError) as caught:
            reader.findings(str(tmp_path / "no.svs"))
        assert caught.value.code == "missing"
        assert reader.findings(str(path)), "it goes on"


def test_a_place_that_hangs_fails_that_slide(tmp_path, monkeypatch):
    path = write_pyramid(tmp_path / "s.svs", texture(512, 512), description="Aperio|User = Nordmann")
    monkeypatch.setenv("PATHOPROG_FAULT", f"identify:1:hang:{tmp_path / 'marker'}")
    with IdentityReader(1.0) as reader:
        with pytest.raises(SlideError) as caught:
            reader.findings(str(path))
        assert caught.value.code == "hung"
        assert reader.findings(str(path))
