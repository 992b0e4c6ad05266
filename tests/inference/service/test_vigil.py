"""What the service looks after by itself: figures that count on, receivers that are asked for by name."""

from types import SimpleNamespace

import pytest

from pathoprog.inference.service.config import ServiceSettings
from pathoprog.inference.service.outbound.dead_letters import DEAD_LETTERS, DeadLetter, DeadLetters
from pathoprog.inference.service.outbound.outbound_config import OutboundSettings, WebhookSettings
from pathoprog.inference.service.vigil import Vigil
from pathoprog.inference.service.work.desk import AbsentError
from pathoprog.inference.service.work.snapshot import Snapshot


@pytest.fixture
def vigil(tmp_path):
    """Not started: its threads have nothing to do."""
    secret = tmp_path / "secret"
    secret.write_text("s" * 32)
    secret.chmod(0o600)
    hooks = [WebhookSettings("lis", "http://localhost:9/", secret_file=str(secret))]
    settings = ServiceSettings(state=str(tmp_path), out=str(tmp_path), outbound=OutboundSettings(hooks))
    dead = DeadLetters(tmp_path / DEAD_LETTERS)
    for seq, name in ((2, "lis"), (1, "lis"), (3, "gone")):
        dead.add(DeadLetter("2026-12-01T08:00:00+00:00", name, f"d{seq}", seq, "done", 3, 404))
    made = Vigil(settings, tmp_path, SimpleNamespace(snapshot=Snapshot()), [], tmp_path / "audit.jsonl", None)
    yield made
    made.stop()


def test_worker_deaths_are_counted_without_end_though_only_the_last_times_are_kept(vigil):
    snapshot = vigil._snapshot
    for n in range(2500):
        snapshot.worker_died(float(n))
    assert vigil.figures().worker_restarts == 2500
    assert len(snapshot.deaths) < 2500 and snapshot.deaths[-1] == 2499.0


def test_a_receiver_is_asked_to_take_its_letters_by_its_name(vigil):
    assert [one.seq for one in vigil.undelivered("lis")] == [1, 2] and len(vigil.undelivered()) == 3
    assert vigil.send_again("lis", "d2") == 1 and [one.again for one in vigil.webhooks()] == [1]
    assert vigil.send_again("lis", "") == 2 and [one.again for one in vigil.webhooks()] == [2]
    for name, delivery, said in (("gone", "", "no webhook 'gone'"), ("lis", "d3", "no such delivery")):
        with pytest.raises(AbsentError, match=said):
            vigil.send_again(name, delivery)
    assert [one.seq for one in vigil.undelivered("gone")] == [3], "kept though the settings have it no more"
