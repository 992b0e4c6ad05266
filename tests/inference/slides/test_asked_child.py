"""A child that hangs in the system cannot be ended: whether another may be started beside it is the asker's to say."""

import signal
import subprocess

import pytest

from pathoprog.inference.slides.inputs import SlideInput
from pathoprog.inference.slides.looks import Looker


@pytest.fixture
def unkillable(tmp_path, monkeypatch):
    """The first child hangs at its first look, and no signal reaches it until the test is over."""
    monkeypatch.setenv("PATHOPROG_FAULT", f"look:1:hang:{tmp_path / 'happened'}")
    hanging = []
    real = subprocess.Popen.kill

    def kill(process):
        if not hanging:
            hanging.append(process)
        if process is not hanging[0]:
            real(process)

    monkeypatch.setattr(subprocess.Popen, "kill", kill)
    yield hanging
    hanging[0].send_signal(signal.SIGKILL)
    hanging[0].wait(60)


@pytest.mark.slow
@pytest.mark.parametrize("one_place", [True, False])
def test_a_second_child_beside_one_that_hangs(tmp_path, unkillable, one_place):
    (tmp_path / "a.tif").write_bytes(b"slide")
    slide = SlideInput("a", str(tmp_path / "a.tif"), "a")
    with Looker(10.0, one_place) as looker:
        first = looker.look(slide, "tissue", 0.0)
        assert first.silent and not first.source and unkillable[0].poll() is None
        second = looker.look(slide, "tissue", 0.0)
        if one_place:
            assert second.silent and "hangs in the system still" in second.trouble
            unkillable[0].send_signal(signal.SIGKILL)  # the share is back
            unkillable[0].wait(60)
            second = looker.look(slide, "tissue", 0.0)
        assert second.source and not second.trouble
