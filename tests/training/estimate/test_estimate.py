"""What a training will take: scaled by hand, refused where it will not fit, and not asked of short runs."""

import math
from contextlib import contextmanager
from dataclasses import replace

import pandas as pd
import pytest

pytest.importorskip("torch")
from made_store import made_settings, made_store

from pathoprog.errors import InputError
from pathoprog.training.config import DataSettings
from pathoprog.training.estimate import estimate as estimate_module
from pathoprog.training.estimate.estimate import check_estimate, duration, estimate, kinds_of, tell
from pathoprog.training.estimate.workload import Workload, trained_values, workload

GB = 10**9
MEASURED = {
    "device": "cuda", "out_of_memory": False, "seconds_per_tile": 0.01, "seconds_per_step": 0.1,
    "seconds_per_judged_tile": 0.002, "bytes": 3 * GB, "bytes_fixed": GB, "bytes_total": 80 * GB,
    "bytes_free": 79 * GB, "parameters": 1000, "tiles": 4,
}  # fmt: skip
WORK = Workload(steps=3600, tiles_per_step=12, judged_tiles=180_000, evaluations=3, values_per_tile=1024)


def settings_of(folder, **changes):
    return replace(made_settings(DataSettings(), folder / "run", patients_per_step=4, accumulate=1), **changes)


def test_a_few_tiles_are_scaled_to_the_whole(tmp_path):
    settings = settings_of(tmp_path)
    found = estimate(settings, 6, 2, WORK, MEASURED)
    # 3600 steps of 12 tiles at 0.01 s and 0.1 s beside; 180,000 tiles judged at 0.002 s
    assert found.hours == pytest.approx((3600 * (0.12 + 0.1) + 360) / 3600)
    assert found.memory == pytest.approx(GB + 2 * GB * 3), "12 tiles for 4"
    assert found.files == 4 * 1000 * (settings.fit.keep_best + 5) and not found.shared
    settings.fit.accumulate = 2
    assert estimate(settings, 6, 2, WORK, MEASURED).memory == pytest.approx(GB + 2 * GB * 1.5)
    on_cpu = estimate(settings, 6, 2, WORK, {**MEASURED, "device": "cpu"})
    assert on_cpu.memory_at_once == pytest.approx(2 * (GB + 2 * GB * 1.5 + 3 * 12 * 1024 * 3))


def test_what_will_not_fit_is_refused_and_force_goes_on(tmp_path, capsys):
    settings = settings_of(tmp_path)
    for measured, said in (
        (
            {"bytes_total": 5 * GB},
            r"10x: needs about 7 GB of memory at once, the device has 5 GB; raise fit\.accumulate",
        ),
        ({"out_of_memory": True}, "not even one part of a step fits"),
        ({"parameters": 10**15}, r"checkpoints will take .*; lower fit\.keep_best"),
    ):
        found = [estimate(settings, 1, 1, WORK, {**MEASURED, **measured})]
        with pytest.raises(InputError, match=rf"{said}.*force=true goes on"):
            tell(found, settings)
        tell(found, replace(settings, force=True))
        assert "goes on, as force=true says" in capsys.readouterr().err
    tell([estimate(settings, 1, 1, WORK, {**MEASURED, "bytes_free": 2 * GB})], settings)
    assert "of which 2 GB are free now" in capsys.readouterr().err
    tell([estimate(settings, 6, 2, replace(WORK, judged_tiles=None), MEASURED)], settings)
    out = capsys.readouterr().out
    assert "10x: 6 × 3,600 steps of 12 tiles, 13 min each, judging not counted" in out
    assert "in all about 40 min with 2 at once" in out


def test_candidates_that_differ_in_seed_alone_are_one_kind(tmp_path):
    one = settings_of(tmp_path)
    kinds = kinds_of([one, replace(one, seed=7, out="x"), replace(one, resolution="40x")])
    assert [len(same) for same in kinds] == [2, 1]


def test_a_short_run_is_not_measured_and_a_begun_one_not_again(tmp_path, monkeypatch):
    @contextmanager
    def nowhere():
        raise AssertionError("something was measured")
        yield

    settings, rows = settings_of(tmp_path), pd.DataFrame()
    assert check_estimate(settings, [settings], nowhere, rows) == []
    long = replace(settings, fit=replace(settings.fit, steps=10**9))
    with pytest.raises(AssertionError, match="something was measured"):
        check_estimate(long, [long], nowhere, rows)
    assert check_estimate(replace(long, estimate="never"), [long], nowhere, rows) == []
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / estimate_module.LAST).touch()
    assert check_estimate(long, [long], nowhere, rows) == []


def test_the_work_is_counted(tmp_path):
    data = made_store(tmp_path)
    settings = made_settings(data, tmp_path / "run", steps=10, evaluate_every=4, recalibrate=2, training_sample=5)
    rows = pd.read_csv(data.cohort)
    found = workload(settings, rows)
    # three evaluations: 16 tuning patients and 5 of training, 6 tiles each, and 2 batches of 12 tiles
    assert found == Workload(10, 12, 3 * ((16 + 5) * 6 + 2 * 12), 3, 32 * 32)
    assert trained_values(settings) == 10 * 12 * 32 * 32
    away = replace(settings, data=replace(data, store=str(tmp_path / "nothing")))
    assert workload(away, rows).judged_tiles is None, "tiles are not cut yet"


def test_times_in_words():
    assert [duration(hours) for hours in (0.001, 0.5, 3.21, 100, math.nan)] == [
        "1 min", "30 min", "3.2 h", "4.2 days", "unknown",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_few_steps_are_measured_where_candidates_run(tmp_path, capfd):
    from pathoprog.training.launchers import LocalEngine

    data = made_store(tmp_path / "data")
    settings = replace(made_settings(data, tmp_path / "run"), estimate="always")

    @contextmanager
    def engine():
        yield LocalEngine(["cpu"])

    (found,) = check_estimate(settings, [settings], engine, pd.read_csv(data.cohort))
    assert found.hours > 0 and found.memory_total > found.memory > 10**8
    assert (tmp_path / "run" / "estimate.json").is_file() and "in all about 1 min" in capfd.readouterr().out
    monkey = replace(settings, network=replace(settings.network, encoder="timm/no_such"))
    assert check_estimate(monkey, [monkey], engine, pd.read_csv(data.cohort)) == []
    assert "could not be measured" in capfd.readouterr().err
