"""What tests of webhooks share."""

from functools import partial

import pytest
from made_sender import made_sender

from pathoprog.inference.service.outbound.log_lines import ServiceLog
from pathoprog.inference.service.outbound.outbound_config import LogSettings


@pytest.fixture
def sender(tmp_path):
    """Makes senders that tell the time `NOW` and take pauses in full."""
    (tmp_path / "state").mkdir()
    log = ServiceLog(tmp_path / "state" / "service.log", LogSettings())
    yield partial(made_sender, tmp_path, log)
    log.close()
