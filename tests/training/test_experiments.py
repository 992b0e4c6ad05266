"""Each named run under configs/experiment: it says how it is started, it loads, it takes two real steps."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("torch")
import torch
from house import ROOT
from made_store import made_store

from pathoprog.cli import COMMANDS, command_help, compose, settings_class
from pathoprog.errors import ConfigError
from pathoprog.networks.augmentation import augment
from pathoprog.networks.features import write_features
from pathoprog.networks.member import MilNetwork, prepare
from pathoprog.settings import as_dict
from pathoprog.system.files import read_json
from pathoprog.training.data.bags import BagBatch, Patient
from pathoprog.training.data.tile_store import StoredSlide
from pathoprog.training.member.fit import make_optimizer
from pathoprog.training.member.fit_checks import check_fit
from pathoprog.training.member.gradients import backward
from pathoprog.training.member.metrics import read_metrics
from pathoprog.training.train import check_network, train
from pathoprog.training.train_ensemble import make_tasks

FOLDER = ROOT / "configs" / "experiment"
EXPERIMENTS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
FEW = ["device=cpu", "track.tracking=none", "fit.steps=2", "fit.evaluate_every=2", "fit.log_every=1"]
FEW += ["fit.patients_per_step=4", "fit.tiles_per_patient=2", "fit.recalibrate=1"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A cohort of 32 patients with tiles and features."""
    folder = tmp_path_factory.mktemp("experiments")
    data = made_store(folder)
    rng = np.random.default_rng(0)
    places = np.zeros(6, np.int64)
    for path in (folder / "store").glob("*x/*/*.npy"):
        values = rng.normal(size=(6, 1024)).astype(np.float16)
        target = folder / "features" / path.parent.parent.name / f"{path.stem}.safetensors"
        write_features(target, values, places, places, {"slide_sha256": path.stem})  # each of a scan of its own
    data.features = str(folder / "features")
    return data


def overrides(data, out):
    paths = {name: getattr(data, name) for name in ("cohort", "outcomes", "store", "features")}
    tiles = [
        f"data.tiles_{spec.resolution}.{name}={value}"
        for spec in (data.tiles_10x, data.tiles_40x)
        for name, value in as_dict(spec).items()
    ]
    plain = [f"data.{name}={value}" for name, value in paths.items()]
    return [f"out={out}", *plain, *tiles, f"data.tumour_policy={data.tumour_policy}"]


def test_all_are_here():
    assert set(EXPERIMENTS) >= {"domore_v1", "demo", "cox_mil", "features_abmil"}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_whose_help_lists_experiments_takes_them(command):
    offered = EXPERIMENTS if "experiment=…" in command_help(command) else []
    for name in offered:
        assert isinstance(compose(command, [f"experiment={name}"], checked=False), settings_class(command))
    assert bool(offered) == (command in ("train", "train_ensemble", "cross_validate"))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_it_opens_with_the_commands_that_run_it(name):
    text = (FOLDER / f"{name}.yaml").read_text()
    opening = re.match(r"(#.*\n)+", text)[0].replace("\\\n", "")
    lines = [re.sub(r"^#\s*|\s+\(.*\)", "", line) for line in opening.splitlines() if re.match(r"#\s+pathoprog ", line)]
    calls = [shlex.split(re.sub(r"\s+#\s+", " ", line)) for line in lines]
    assert any(f"experiment={name}" in call for call in calls)
    for _, command, *words in calls:
        if command != "cohort":  # what it says can be typed
            compose(command, [word for word in words if word != "…"], checked=False)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_two_real_steps(name, data, tmp_path):
    settings = compose("train_ensemble", [f"experiment={name}", *overrides(data, tmp_path / "runs"), *FEW])
    check_fit(settings)
    tasks = make_tasks(settings)
    assert len(tasks) == 2 * settings.candidates
    candidate = train(tasks[0].settings, lambda _: None)
    lines = read_metrics(tasks[0].folder)
    assert [line["step"] for line in lines if "loss" in line] == [1, 2]
    assert candidate.best[0].step == 2
    # the resolved config lies with the run, and is what the file says
    kept = read_json(tasks[0].folder / "settings.json")
    assert kept == as_dict(tasks[0].settings)
    for part in ("network", "augment"):
        for key, value in yaml.safe_load((FOLDER / f"{name}.yaml").read_text()).get(part, {}).items():
            assert kept[part][key] == value


@pytest.mark.slow
def test_domore_v1_at_full_size_takes_a_real_step(tmp_path):
    settings = compose("train_ensemble", ["experiment=domore_v1", "out=x", "data.cohort=x", "data.store=x"])
    check_fit(settings)
    assert settings.fit.patients_per_step == 16 and settings.fit.tiles_per_patient == 32
    assert settings.data.tiles_10x.size_px == settings.data.tiles_40x.size_px == 448
    torch.manual_seed(0)
    network = MilNetwork(settings.network).train()
    encoder = sum(p.numel() for p in network.encoder.parameters())
    assert encoder == 2_223_872  # MobileNetV2 without its classifier
    # 1280 features to 64 instance probabilities; 64 thresholds of noisy-AND; 64 to 2 classes
    assert sum(p.numel() for p in network.parameters()) == encoder + (1280 * 64 + 64) + 64 + (64 * 2 + 2)
    tiles = np.random.default_rng(0).integers(0, 256, (8, 448, 448, 3), dtype=np.uint8)
    slide = StoredSlide("S", "", tiles)
    patients = [Patient("A", [slide], 3000, 0, "good", "", ""), Patient("B", [slide], 500, 1, "poor", "", "")]
    settings.fit.patients_per_step, settings.fit.tiles_per_patient, settings.fit.accumulate = 2, 4, 1
    before = network.encoder.features[0][0].weight.clone()
    optimizer = make_optimizer(network, settings.fit)
    generator = torch.Generator().manual_seed(0)
    shapes = []
    network.encoder.register_forward_hook(lambda _, given, got: shapes.append((given[0].shape, got.shape)))
    cpu = torch.device("cpu")
    loss = backward(network, settings, patients, BagBatch([0, 1], tiles, [4, 4]), 0, cpu, torch.float32)
    assert shapes == [((8, 3, 448, 448), (8, 1280))] and 0.3 < loss < 1.5
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
    optimizer.step()
    assert not torch.equal(before, network.encoder.features[0][0].weight)
    assert prepare(augment(torch.from_numpy(tiles[:1]), settings.augment, generator)).shape == (1, 3, 448, 448)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("network.encodre=resnet18", r"^network\.encodre: no such setting; did you mean network\.encoder"),
        ("data.source=cloud", r"^data\.source='cloud': must be one of store, slides, features"),
        ("fit.balance=age", r"^fit\.balance='age': must be one of none, class, cohort, site"),
        ("augment.crop=0.95", r"^augment\.crop=0\.95: must be at least 0 and at most 0\.9"),
        ("network.feature_dim=-1", r"^network\.feature_dim=-1: must be at least 0"),
    ],
)
def test_a_wrong_setting_is_named_with_its_full_key(argument, message):
    with pytest.raises(ConfigError, match=message):
        compose("train_ensemble", ["experiment=domore_v1", "out=x", argument])


def test_a_network_that_does_not_take_the_tiles_is_named_before_any_work(data, tmp_path: Path):
    given = [
        "experiment=cox_mil",
        *(item for item in overrides(data, tmp_path) if "tiles_" not in item),
        "network.encoder=timm/vit_tiny_patch16_224",
    ]
    with pytest.raises(ConfigError, match=r"^network\.encoder=timm/vit_tiny_patch16_224: takes no tiles of 403 px"):
        check_network(compose("train_ensemble", given))
