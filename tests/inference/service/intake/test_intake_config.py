"""Settings of what comes in: ranges, and lines of help that are understood alone."""

import dataclasses

import pytest

from pathoprog.errors import ConfigError
from pathoprog.inference.service.intake.intake_config import (
    IdentitySettings,
    PatientRule,
    StagingSettings,
    WatchSettings,
)
from pathoprog.settings import check

ALL = (
    WatchSettings(folder="/in", route="colon"),
    PatientRule(),
    StagingSettings(),
    IdentitySettings(),
)


def test_defaults_are_in_range_and_explained():
    for settings in ALL:
        check(settings)
        for field in dataclasses.fields(settings):
            assert len(field.metadata["help"]) > 15, field.name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (WatchSettings(route="colon"), "folder is missing"),
        (WatchSettings(folder="/in"), "route is missing"),
        (WatchSettings(folder="/in", route="colon", poll_s=0), "poll_s=0"),
        (WatchSettings(folder="/in", route="colon", settle_s=-1), "settle_s=-1"),
        (PatientRule(unknown_patient="guess"), "must be one of wait, own, fail"),
        (PatientRule(ids="name"), "must be one of given, pseudonym"),
        (StagingSettings(folder="/fast", max_gib=0), "max_gib=0"),
        (IdentitySettings(identity="maybe"), "must be one of refuse, warn, off"),
        (IdentitySettings(kinds=["name"]), "must be one of person"),
    ],
)
def test_a_wrong_value_is_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        check(settings)
