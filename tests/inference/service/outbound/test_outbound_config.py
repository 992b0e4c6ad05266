"""Settings of what leaves the service: their ranges, and what only shows when they are seen together."""

from dataclasses import replace

import pytest

from pathoprog.errors import ConfigError
from pathoprog.inference.service.outbound.outbound_config import (
    AlarmSettings,
    AuditHeadSettings,
    OutboundSettings,
    WebhookSettings,
    check_outbound,
)

LIS = WebhookSettings("lis", "https://lis.example/", False, "lis.secret")


def test_defaults_and_a_webhook_pass():
    check_outbound(OutboundSettings())
    check_outbound(OutboundSettings(webhooks=[LIS, replace(LIS, name="other")]))
    assert LIS.kinds == ["done", "not_reportable", "failed", "withdrawn", "alarm"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (OutboundSettings(webhooks=[LIS, replace(LIS, url="")]), "outbound.webhooks[2].url is missing"),
        (OutboundSettings(webhooks=[replace(LIS, secret_file="")]), "outbound.webhooks[1].secret_file is missing"),
        (OutboundSettings(webhooks=[replace(LIS, kinds=["finished"])]), "outbound.webhooks[1].kinds='finished'"),
        (OutboundSettings(webhooks=[LIS, LIS]), "outbound.webhooks[2].name='lis': another webhook"),
        (OutboundSettings(alarms=AlarmSettings(waiting_hours=0)), "outbound.alarms.waiting_hours=0: must be above 0"),
        (OutboundSettings(webhooks=[LIS], audit_head=AuditHeadSettings(event=True)), "no webhook takes it"),
    ],
)
def test_a_wrong_setting_is_named(settings, message):
    with pytest.raises(ConfigError) as caught:
        check_outbound(settings)
    assert message in str(caught.value)


def test_the_head_may_go_to_a_webhook_that_takes_it():
    takes = replace(LIS, kinds=["audit_head"])
    check_outbound(OutboundSettings(webhooks=[takes], audit_head=AuditHeadSettings(event=True)))
