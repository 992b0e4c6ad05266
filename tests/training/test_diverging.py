"""A candidate that fails is named and left out; the others go on while five of each resolution can finish."""

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
import torch
from made_store import made_many, made_settings, made_store

from pathoprog.ensemble.bundle import verify
from pathoprog.errors import PathoprogError
from pathoprog.system.files import read_json
from pathoprog.system.tracking_config import TrackingSettings
from pathoprog.training import cross_validate, train_ensemble
from pathoprog.training import train as train_module
from pathoprog.training.config import CrossValidateConfig, EnsembleConfig
from pathoprog.training.launchers import LocalEngine
from pathoprog.training.lock import ensemble as choose
from pathoprog.training.member import gradients
from pathoprog.training.train_ensemble import ENSEMBLE_RUN


class Ended:
    """A process that has ended."""

    def __init__(self, code):
        self.code = code

    def poll(self):
        return self.code

    def kill(self):
        raise AssertionError("it is not there to be killed")


@pytest.fixture
def here(monkeypatch, capfd):
    """Candidates run in this process; those whose name is in `spoilt` come to a loss that is no number."""
    spoilt, started = set(), []
    whole = gradients.loss_of

    def start(self, module, arguments, log, threads, device):
        folder = Path(arguments[0]).parent
        started.append(folder.name)
        bad = folder.name in spoilt or f"{folder.parent.name}/{folder.name}" in spoilt
        loss = (lambda *_: torch.tensor(float("nan"), requires_grad=True)) if bad else whole
        monkeypatch.setattr(gradients, "loss_of", loss)
        code = train_module.main(arguments[0])
        log.write_text(capfd.readouterr().err)
        return Ended(code)

    monkeypatch.setattr(LocalEngine, "start", start)
    monkeypatch.setattr(train_ensemble, "POLL_S", 0.0)
    return spoilt, started


def settings_of(folder, candidates, **fit):
    data = made_store(folder / "data", patients=20)
    one = made_settings(data, folder / "runs", **{"steps": 2, "evaluate_every": 2, "recalibrate": 1, **fit})
    return made_many(one, candidates, workers=1)


@pytest.mark.slow
def test_the_others_end_in_a_locked_bundle(here, tmp_path, capfd):
    spoilt, started = here
    spoilt.add("10x-seed2")
    settings = settings_of(tmp_path, 6)
    assert train_ensemble.run(settings) == 1
    record = read_json(tmp_path / "runs" / ENSEMBLE_RUN)
    assert len(record["candidates"]) == 11 and list(record["failed"]) == ["10x-seed2"]
    assert "loss nan" in record["failed"]["10x-seed2"] and started.count("10x-seed2") == 1
    assert "10x-seed2: failed, left out" in capfd.readouterr().out

    assert choose.run(EnsembleConfig(str(tmp_path / "runs"), str(tmp_path / "bundle"), bootstrap=0,
                                     track=TrackingSettings("none"))) == 0  # fmt: skip
    names = [member.name for member in verify(tmp_path / "bundle").members]
    assert len(names) == 10 and "10x-seed2" not in names

    started.clear()
    assert train_ensemble.run(settings) == 1, "again: it is known, and not tried"
    assert "10x-seed2" not in started and read_json(tmp_path / "runs" / ENSEMBLE_RUN) == record
    spoilt.clear()
    assert train_ensemble.run(replace(settings, restart=True)) == 0
    assert started.count("10x-seed2") == 1 and len(read_json(tmp_path / "runs" / ENSEMBLE_RUN)["candidates"]) == 12


def test_where_five_cannot_finish_it_stops_and_says_what_helps(here, tmp_path):
    spoilt, started = here
    spoilt.add("10x-seed1")
    settings = settings_of(tmp_path, 5)
    for starts in (1, 0):
        with pytest.raises(PathoprogError, match=r"4 of 5 candidates can still finish at 10x, 5 are needed.*candidates="
                           r"(.|\n)*10x-seed1: .*loss nan") as raised:  # fmt: skip
            train_ensemble.run(settings)
        assert started == ["10x-seed1"] * starts and "Traceback" not in str(raised.value)
        started.clear()


@pytest.mark.slow
def test_a_further_seed_in_the_same_folder_makes_five(here, tmp_path):
    spoilt, started = here
    spoilt.add("10x-seed1")
    settings = settings_of(tmp_path, 5)
    with pytest.raises(PathoprogError, match="5 are needed"):
        train_ensemble.run(settings)
    started.clear()
    assert train_ensemble.run(replace(settings, candidates=6)) == 1
    assert "10x-seed1" not in started and len(started) == 11


@pytest.mark.slow
def test_a_seed_whose_fold_fails_is_left_out_of_a_cross_validation(here, tmp_path):
    spoilt, _ = here
    spoilt.add("40x-seed2/fold1")
    settings = settings_of(tmp_path, 2)
    folded = CrossValidateConfig(**vars(settings))
    folded.split.folds = 2
    assert cross_validate.run(folded) == 1
    table = (tmp_path / "runs" / "cross_validation.csv").read_text()
    assert "40x,1,all" in table and "10x,2,all" in table and "40x,2," not in table
