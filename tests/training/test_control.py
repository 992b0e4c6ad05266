"""The control's verdict, and one seed of it from end to end."""

import pytest

pytest.importorskip("torch")

from pathoprog.cli import compose
from pathoprog.training.control import run, verdict


def test_the_verdict_needs_half_within_two_standard_errors(capsys):
    assert verdict([0.48, 0.52, 0.50, 0.51], "none") == 0
    assert "control passed" in capsys.readouterr().out
    assert verdict([0.60, 0.61, 0.62, 0.61], "none") == 1
    assert "control FAILED" in capsys.readouterr().out
    assert verdict([0.60, 0.61, 0.62, 0.61], "both") == 0  # not a control: 0.5 need not lie there
    text = capsys.readouterr().out
    # mean 0.61, SD 0.008165, SE 0.004082 by hand
    assert "mean 0.610, SD 0.008, SE of the mean 0.004" in text


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_seeds_run_and_finished_ones_are_kept(tmp_path, capsys):
    small = [f"out={tmp_path}", "seeds=2", "development_patients=40", "external_patients=20", "fit.steps=2"]
    settings = compose("control", [*small, "fit.evaluate_every=2", "fit.recalibrate=1", "fit.tiles_per_patient=2"])
    assert run(settings) in (0, 1)
    first = capsys.readouterr().out
    assert "[1/2] seed 101" in first and "external c over 2 seeds" in first
    assert not (tmp_path / "seed101" / "tiles").exists()
    run(settings)
    again = capsys.readouterr().out
    assert "[1/2]" not in again and "external c over 2 seeds" in again
