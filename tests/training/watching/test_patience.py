"""Early stopping: what counts as better, and a run that ends early, is killed, resumed and gone on with."""

import hashlib
from dataclasses import replace

import pytest

pytest.importorskip("torch")
from made_store import made_settings, made_store

from pathoprog.training.member import fit as fit_module
from pathoprog.training.member.candidate import read_candidate
from pathoprog.training.member.fit import fingerprint
from pathoprog.training.member.metrics import read_metrics
from pathoprog.training.train import train
from pathoprog.training.watching.patience import Patience


def nothing(_: int) -> None:
    return None


def test_what_is_not_better_is_waited_for_and_nan_is_not():
    patience = Patience(2, gain=0.01)
    for c in (0.6, 0.605, 0.62):
        patience.judged(c)
    assert not patience.over and patience.best == 0.62
    patience.judged(float("nan"))
    assert not patience.over
    patience.judged(0.63)  # not by more than the gain
    assert patience.over


def test_off_by_default_it_never_ends_a_run():
    patience = Patience(0)
    for _ in range(100):
        patience.judged(0.5)
    assert not patience.over


def test_the_state_goes_through_a_checkpoint_and_more_steps_are_waited_for_anew():
    one, other = Patience(3), Patience(3)
    assert one.state == {"best": None, "waited": 0}
    for c in (0.7, 0.6, 0.65):
        one.judged(c)
    other.restore(one.state, anew=False)
    assert (other.best, other.waited) == (0.7, 2)
    other.restore(one.state, anew=True)
    assert (other.best, other.waited) == (0.7, 0)
    other.restore({}, anew=False)
    assert other.waited == 0 and other.best < 0


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("early")
    made = made_settings(made_store(folder / "data"), folder / "run", steps=12, evaluate_every=2, recalibrate=1)
    return replace(made, fit=replace(made.fit, patience=2, patience_gain=0.5, training_sample=4))


def test_settings_that_do_not_stop_early_are_the_run_they_were(settings):
    off = replace(settings, fit=replace(settings.fit, patience=0, patience_gain=0.0))
    assert fingerprint(off) == fingerprint(replace(off, fit=replace(off.fit, patience_gain=0.1, training_sample=9)))
    assert fingerprint(off) != fingerprint(settings)


def test_a_run_that_ends_early_resumes_to_the_same_bits_wherever_it_was_stopped(settings, tmp_path, monkeypatch):
    def digest(folder):
        files = [*folder.glob("*.safetensors"), folder / "candidate.json"]
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    whole = replace(settings, out=str(tmp_path / "whole"))
    candidate = train(whole, nothing)
    # 0.5 is more than c can rise by: the first evaluation stays the best, and two more are waited for
    assert candidate.stopped == 6 and candidate.steps == 12
    assert read_candidate(tmp_path / "whole").stopped == 6
    assert read_metrics(tmp_path / "whole")[-1]["step"] == 6
    cut = replace(settings, out=str(tmp_path / "cut"))

    def stop(done: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(cut, stop)

    def dies(*_: object) -> None:  # when training is over, and what it came to is not written yet
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("pathoprog.training.train.write_candidate", dies)
        with pytest.raises(KeyboardInterrupt):
            train(cut, nothing)
    assert train(cut, nothing).stopped == 6
    assert digest(tmp_path / "cut") == digest(tmp_path / "whole")
    smooth = [[line.get("loss_smooth") for line in read_metrics(tmp_path / name)] for name in ("cut", "whole")]
    assert smooth[0] == smooth[1]
    longer = replace(whole, fit=replace(settings.fit, steps=14))
    assert train(longer, nothing).stopped == 10, "gone on with, it waits anew"


def test_what_is_shown_beside_changes_no_weights(settings, tmp_path):
    def last(name, **fit):
        one = replace(settings, out=str(tmp_path / name), fit=replace(settings.fit, patience=0, steps=4, **fit))
        train(one, nothing)
        return fit_module.checkpoint.read(tmp_path / name / "last.safetensors")[0]

    import torch

    with_sample, without = last("with", training_sample=8), last("without", training_sample=0)
    assert all(torch.equal(tensor, without[name]) for name, tensor in with_sample.items())
    lines = [line for line in read_metrics(tmp_path / "with") if "training_c" in line]
    assert [line["step"] for line in lines] == [2, 4]
    assert all(line["training_c_lower"] <= line["training_c"] <= line["training_c_upper"] for line in lines)
    assert not any("training_c" in line for line in read_metrics(tmp_path / "without"))
