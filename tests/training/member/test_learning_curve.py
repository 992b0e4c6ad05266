"""The learning curve: drawn of what there is, beside the weights, with or without MLflow."""

import json

import pytest

pytest.importorskip("torch")
from made_store import made_settings, made_store

from pathoprog.system.tracking_config import TrackingSettings
from pathoprog.training.member.learning_curve import draw_curve, log_candidate
from pathoprog.training.member.metrics import read_metrics
from pathoprog.training.tracking import Tracking
from pathoprog.training.watching.step_clock import PARTS


def lines(n: int) -> list[dict[str, float]]:
    found = []
    for step in range(1, n + 1):
        shares = {f"{part}_share": 1 / len(PARTS) for part in PARTS}
        found.append({"step": step, "loss": 1 / step, "loss_smooth": 1 / step, "grad_norm": 2.0, **shares})
    found.append({"step": n, "tuning_c": 0.6, "tuning_c_lower": 0.5, "tuning_c_upper": 0.7, "tuning_loss": 0.7})
    return found


def text_of(path) -> str:
    return path.with_suffix(".svg").read_text(encoding="utf-8")


@pytest.mark.parametrize("given", [lines(1), lines(6), [{"step": 1, "loss": 0.7}], [{"step": 4, "tuning_c": 0.5}]])
def test_it_is_drawn_of_what_there_is(tmp_path, given):
    drawn = draw_curve(given, tmp_path / "curve", clip_norm=1.0)
    assert [path.suffix for path in drawn] == [".png", ".svg"] and all(path.stat().st_size for path in drawn)


def test_equal_lines_give_equal_bytes(tmp_path):
    one, other = (draw_curve(lines(5), tmp_path / name)[1].read_bytes() for name in "ab")
    assert one == other


def test_it_lies_in_the_folder_without_mlflow_too(tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    log_candidate(Tracking(TrackingSettings(tracking="none")), "", [], out)
    assert not list(out.iterdir()), "nothing was measured, nothing is drawn"
    log_candidate(Tracking(TrackingSettings(tracking="none")), "", lines(3), out)
    assert {path.name for path in out.iterdir()} == {"learning_curve.png", "learning_curve.svg"}


@pytest.mark.slow
def test_the_command_leaves_it_beside_the_weights(tmp_path):
    from pathoprog.training.train import run

    settings = made_settings(made_store(tmp_path / "data"), tmp_path / "run", steps=4, training_sample=4)
    assert run(settings) == 0
    assert (tmp_path / "run" / "learning_curve.png").is_file()
    judged = [line for line in read_metrics(tmp_path / "run") if "tuning_c" in line]
    assert all({"tuning_loss", "tuning_loss_lower", "training_c", "judge_s"} <= set(line) for line in judged)
    assert json.dumps(judged)
