"""Other batch sizes, worker counts and engines: the same scores within the tolerance, and the same classes."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import psutil
import pytest
from made_bundle import made_bundle
from made_slides import texture, write_pyramid

from pathoprog import cli
from pathoprog.ensemble.bundle import read_manifest
from pathoprog.errors import ConfigError
from pathoprog.inference.config import ScoreConfig
from pathoprog.inference.engine.transport import Relay, slots, transport_of
from pathoprog.scoring.scorer import BORDERLINE_TOLERANCE
from pathoprog.stream import reader

SIZE = 64
NAMES = ("A", "B", "C", "D")
pytestmark = pytest.mark.filterwarnings("default::ResourceWarning")  # Ray's own sockets


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_MODE", "RAY_USAGE_STATS_ENABLED"):
        monkeypatch.setenv(name, "")  # so that what a cluster sets is undone


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    for seed, name in enumerate(NAMES):
        write_pyramid(folder / f"{name}.tif", texture(600, 500, seed=seed, margin=40))
    return folder


def call(bundle, slides, out, *more):
    common = ["device=cpu", "settle_s=0", "stream.workers=1", "threads=1", "outputs.pdf=false"]
    return ["score", f"slides={slides}", f"ensemble={bundle}", f"out={out}", *common, *more]


def results(out):
    return {path.parent.name: json.loads(path.read_text()) for path in sorted(out.glob("slides/*/result.json"))}


@pytest.fixture(scope="module")
def bundle(slides, tmp_path_factory):
    """Its threshold at 40x is the score of slide B, so that B lies on the border."""
    folder = tmp_path_factory.mktemp("bundle")
    first = made_bundle(folder / "first", SIZE)
    assert cli.main(call(first, slides / "B.tif", folder / "out", "stream.batch_tiles=16")) == 0
    border = results(folder / "out")["B"]["scores"]["40x"]["score"]
    return made_bundle(folder / "bundle", SIZE, thresholds={"10x": 0.5, "40x": border})


@pytest.fixture(scope="module")
def baseline(bundle, slides, tmp_path_factory):
    """Scores of each precision, by one worker."""
    out = tmp_path_factory.mktemp("baseline")
    for dtype in BORDERLINE_TOLERANCE:
        assert cli.main(call(bundle, slides, out / dtype, "stream.batch_tiles=16", f"dtype={dtype}")) == 0
    return out


def agree(found, expected, tolerance, thresholds):
    """Scores within the tolerance; the same class, or a score within it of its threshold, flagged borderline."""
    assert found.keys() == expected.keys() == set(NAMES)
    for name, result in found.items():
        near = False
        for resolution, entry in result["scores"].items():
            before = expected[name]["scores"][resolution]
            assert abs(entry["score"] - before["score"]) < tolerance, (name, resolution)
            near = near or abs(entry["score"] - thresholds[resolution]) < tolerance
        assert result["borderline"] == near, name
        assert near or result["risk_class"] == expected[name]["risk_class"], name


@pytest.mark.slow
@pytest.mark.parametrize("dtype", list(BORDERLINE_TOLERANCE))
@pytest.mark.parametrize(
    "variant",
    [
        ["stream.batch_tiles=16", "workers=3"],
        ["stream.batch_tiles=5"],
        ["stream.batch_tiles=1", "threads=2"],
        ["stream.batch_tiles=16", "engine=ray", "workers=1"],
        ["stream.batch_tiles=7", "engine=ray", "workers=3"],
    ],
    ids=["3 workers", "5 tiles", "1 tile", "ray", "ray, 3 workers, 7 tiles"],
)
def test_scores_and_classes_do_not_depend_on_how_they_are_computed(bundle, slides, baseline, tmp_path, variant, dtype):
    assert cli.main(call(bundle, slides, tmp_path / "out", f"dtype={dtype}", *variant)) == 0
    found, expected = results(tmp_path / "out"), results(baseline / dtype)
    thresholds = read_manifest(bundle).cuts
    agree(found, expected, BORDERLINE_TOLERANCE[dtype], thresholds)
    assert found["B"]["borderline"]
    if dtype == "fp32":  # within bf16's tolerance lie more of them
        assert sum(result["borderline"] for result in found.values()) == 1
    if "stream.batch_tiles=16" in variant:  # the same work: the same bytes
        assert found == expected


@pytest.mark.slow
def test_a_worker_killed_on_its_node_changes_no_byte(bundle, slides, baseline, tmp_path, monkeypatch):
    marker = tmp_path / "happened"
    monkeypatch.setenv("PATHOPROG_FAULT", f"after_reading:2:kill:{marker}")
    more = ["engine=ray", "workers=2", "stream.batch_tiles=16", "dtype=fp32", f"ledger={tmp_path / 'local.sqlite'}"]
    assert cli.main(call(bundle, slides, tmp_path / "out", *more)) == 0
    assert marker.exists() and results(tmp_path / "out") == results(baseline / "fp32")
    assert not (tmp_path / "out" / "ledger.sqlite").exists(), "the ledger is where it was asked for"
    with closing(sqlite3.connect(tmp_path / "local.sqlite")) as db:
        assert db.execute("SELECT count(*) FROM results").fetchone()[0] == len(NAMES)
        assert db.execute("SELECT max(attempt), max(deaths) FROM jobs").fetchone() == (2, 1)


@pytest.mark.slow
def test_a_lost_actor_is_replaced_and_nothing_outlives_the_run(bundle, slides, baseline, tmp_path):
    arguments = call(bundle, slides, tmp_path / "out", "engine=ray", "workers=1", "stream.batch_tiles=16", "dtype=fp32")
    command = [sys.executable, "-m", "pathoprog.cli", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as service:
        family, killed = {}, False
        while service.poll() is None:
            try:
                children = psutil.Process(service.pid).children(recursive=True)
                family |= {child.pid: child for child in children}
                relays = [child for child in children if any("ray::Relay" in part for part in child.cmdline())]
                readers = [child for child in children if any(reader.__name__ in part for part in child.cmdline())]
                if readers and relays and not killed:
                    relays[0].send_signal(signal.SIGKILL)
                    killed = True
            except psutil.Error:
                pass
            time.sleep(0.02)
        text = service.communicate()[0]
    assert service.returncode == 0 and killed and "died" in text, text
    assert results(tmp_path / "out") == results(baseline / "fp32")
    _, alive = psutil.wait_procs(list(family.values()), timeout=15)
    assert not alive, [process.cmdline() for process in alive]


@pytest.mark.parametrize(
    ("nodes", "workers", "gpus", "expected"),
    [
        ([{"CPU": 8}], 0, False, (1, 8)),
        ([{"CPU": 8}, {"CPU": 6}], 0, False, (2, 6)),
        ([{"CPU": 8}, {"CPU": 8}], 3, False, (3, 4)),
        ([{"CPU": 16, "GPU": 4}, {"CPU": 8, "GPU": 1}, {"CPU": 64}], 0, True, (5, 4)),
        ([{"CPU": 16, "GPU": 4}], 2, True, (2, 4)),
    ],
)
def test_each_worker_gets_a_slot_that_some_node_has(nodes, workers, gpus, expected):
    assert slots(nodes, workers, gpus) == expected


@pytest.mark.parametrize(("nodes", "workers", "gpus"), [([{"CPU": 2}], 3, False), ([{"CPU": 8, "GPU": 1}], 2, True)])
def test_more_workers_than_slots_are_refused(nodes, workers, gpus):
    with pytest.raises(ConfigError, match=r"has [12] [CG]PUs"):
        slots(nodes, workers, gpus)


def test_a_node_of_another_version_or_without_the_folder_refuses(tmp_path):
    assert "the run was started with 0.0.0" in Relay(str(tmp_path), "0.0.0").exchange([])[0][1]
    from pathoprog import __version__

    assert "every node needs the shared folder" in Relay(str(tmp_path / "x"), __version__).exchange([])[0][1]


class TwoGpus:
    """A cluster with GPUs, on a machine that has none."""

    def __init__(self, address, cpus):
        self.ray = self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def capacity(self):
        return {"CPU": 8, "GPU": 2}

    def nodes(self):
        return [{"Alive": True, "Resources": {"CPU": 8.0, "GPU": 2.0}}, {"Alive": False, "Resources": {"CPU": 8.0}}]


def test_ray_deals_out_the_devices(tmp_path, monkeypatch):
    bundle = made_bundle(tmp_path / "bundle", SIZE)
    monkeypatch.setattr("pathoprog.system.ray_cluster.Cluster", TwoGpus)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    of_this_machine = ScoreConfig(engine="ray", device="cuda:0")
    with pytest.raises(ConfigError, match="Ray deals out the devices"), transport_of(of_this_machine):
        pass
    undecided = ScoreConfig(engine="ray", ensemble=str(bundle))  # an older bundle, which locks no precision
    with pytest.raises(ConfigError, match="which has no GPU, unlike the cluster"), transport_of(undecided):
        pass
    by_auto = ScoreConfig(engine="ray", dtype="bf16")
    with pytest.raises(ConfigError, match="runtime=auto is decided on this machine"), transport_of(by_auto):
        pass
    with transport_of(ScoreConfig(engine="ray", dtype="bf16", runtime="torch")) as crew:
        assert (crew.devices, crew.cores, crew.gpus) == (["cuda:0", "cuda:0"], 4, 1)
    with transport_of(ScoreConfig(engine="ray", device="cpu")) as crew:
        assert (crew.devices, crew.cores, crew.gpus) == (["cpu"], 8, 0)
