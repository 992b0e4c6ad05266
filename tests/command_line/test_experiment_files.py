"""Experiment files outside the package, `--config-dir`, `--cfg job`, `config.yaml` given back, help in force."""

import sys
import types
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from pathoprog import cli
from pathoprog.command_line.config_file import config_text
from pathoprog.command_line.flags import VARIABLE
from pathoprog.errors import ConfigError
from pathoprog.settings import as_dict, setting


@dataclass
class RunConfig:
    """Of a command that only leaves a folder."""

    out: str = setting("", "folder", kind="path", required=True)
    patients: int = setting(1, "patients", low=1)
    bundle: bool = setting(False, "the folder is a bundle")
    code: int = setting(0, "exit code")


def compose(*arguments: str, command: str = "train_ensemble"):
    return cli.compose(command, list(arguments), checked=False)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A stranger's folder: a file that rests on the package's, one that rests on that, with an awkward name."""
    folder = tmp_path / "my (own) runs, ø"
    folder.mkdir()
    (folder / "base.yaml").write_text(
        "defaults:\n  - features_abmil\n  - override /data: demo\nfit:\n  lr: 0.5\n  steps: 7\ndata:\n"
        "  cohort: ${oc.env:MY_DATA,/there}/cohort.csv\n"
    )
    (folder / "it's = (1).yaml").write_text("# mine\ndefaults: [base]\nfit: {lr: 0.25}\naugment: {blur: 0.125}\n")
    return folder


def test_a_file_outside_the_package_rests_on_the_package_s_and_on_its_neighbours(mine, monkeypatch):
    got = compose(f"experiment={mine}/it's = (1).yaml", "augment.blur=0.75")
    assert (got.fit.lr, got.fit.steps, got.augment.blur) == (0.25, 7, 0.75)
    assert got.fit.loss == "discrete_time", "of the package's features_abmil"
    assert got.data.tiles_10x.size_px == 96, "of the package's group data"
    assert got.data.cohort == "/there/cohort.csv"
    monkeypatch.setenv("MY_DATA", "/here (1)")
    assert compose(f"experiment={mine}/base.yaml").data.cohort == "/here (1)/cohort.csv"
    monkeypatch.chdir(mine)
    assert compose("experiment=demo", "experiment=base.yaml").fit.steps == 7, "the last of two"
    (mine / "demo.yml").write_text("fit: {lr: 0.75}\n")
    got = compose("experiment=./demo.yml")
    assert (got.fit.lr, got.fit.steps) == (0.75, 3000), "not the package's of that name"


def test_every_command_takes_a_file(tmp_path):
    (tmp_path / "mine.yaml").write_text("seed: 17\n")
    assert compose(f"experiment={tmp_path}/mine.yaml", command="simulate").seed == 17
    (tmp_path / "mine.yaml").write_text("aggregation: max\nmade_for: {organ: [colon]}\n")
    got = compose(f"experiment={tmp_path}/mine.yaml", "made_for.organ=rectum,colon", command="ensemble")
    assert (got.aggregation, got.made_for.organ) == ("max", ["rectum", "colon"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fit: {lrr: 1}", "mine.yaml: fit.lrr: no such setting; did you mean fit.lr "),
        ("lr: 1", "mine.yaml: lr: no such setting; did you mean fit.lr"),
        ("fit: {_target_: os.system}", "mine.yaml: fit._target_: no such setting"),
        ("_target_: os.system", "mine.yaml: _target_: no such setting"),
        ("fit: {lr: fast}", "mine.yaml: fit.lr: Value 'fast'"),
        ("fit: {lr: 1", "mine.yaml, line 2: no YAML (expected"),
        ("- fit", "mine.yaml: holds no settings"),
        ("defaults: [domore]", "mine.yaml: Could not load 'experiment/domore'"),
        ("data: {cohort: '${oc.env:NOT_THERE}'}", "data.cohort: "),
        ("data: {cohort: '${data.stor}'}", "data.cohort: "),
        (b"\xff\xfe\x00", "mine.yaml: no YAML"),
    ],
)
def test_a_wrong_file_is_named_with_its_place(text, message, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_bytes(text if isinstance(text, bytes) else f"{text}\n".encode())
    with pytest.raises(ConfigError) as caught:
        compose(f"experiment={file}")
    assert str(caught.value).removeprefix(f"{tmp_path}/").startswith(message)
    assert "\n" not in str(caught.value) and "Settings'" not in str(caught.value)


def test_folders_of_configuration_are_given_by_flag_or_variable(mine, tmp_path, monkeypatch):
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "data").mkdir()
    (tmp_path / "conf" / "experiment" / "pilot.yaml").write_text("defaults:\n  - override /data: lab\nfit: {lr: 0.5}\n")
    (tmp_path / "conf" / "data" / "lab.yaml").write_text("tiles_10x: {size_px: 100}\n")
    conf = str(tmp_path / "conf")
    for flags in (["--config-dir", conf], [f"--config-dir={conf}"], ["-cd", conf]):
        got = compose("experiment=pilot", *flags)
        assert (got.fit.lr, got.data.tiles_10x.size_px) == (0.5, 100)
    assert compose("data=lab", "--config-dir", conf).data.tiles_10x.size_px == 100
    with pytest.raises(ConfigError, match=r"^experiment=pilot: no such experiment \(it takes cox_mil, demo"):
        compose("experiment=pilot")
    monkeypatch.setenv(VARIABLE, conf)
    assert compose("experiment=pilot").fit.lr == 0.5
    assert "pilot" in cli.command_help("train") and "pilot" in cli.command_help("simulate")
    (tmp_path / "conf" / "experiment" / "demo.yaml").write_text("fit: {lr: 0.5}\n")
    with pytest.raises(ConfigError, match=r"^experiment=demo: there are several, .*demo\.yaml and the package's; give"):
        compose("experiment=demo")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "gone"))
    with pytest.raises(ConfigError, match=r"^PATHOPROG_CONFIG_DIR: no folder .*gone"):
        compose()


def test_the_environment_stands_in_paths_and_files_may_be_called_as_they_like(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_DATA", "/da ta, (1)")
    got = compose("data.cohort=${oc.env:MY_DATA}/cohort.csv", "data.store=${oc.env:NOT_THERE,/tiles}/a")
    assert (got.data.cohort, got.data.store) == ("/da ta, (1)/cohort.csv", "/tiles/a")
    with pytest.raises(ConfigError, match=r"^data\.cohort: the environment variable NOT_THERE is not set"):
        compose("data.cohort=${oc.env:NOT_THERE}/x")
    monkeypatch.chdir(tmp_path)
    Path("${oc.env:MY_DATA}").write_text("")
    assert compose("data.cohort=${oc.env:MY_DATA}").data.cohort == "${oc.env:MY_DATA}"


def test_the_settings_in_force_are_printed(mine, capsys):
    given = ["train_ensemble", f"experiment={mine}/base.yaml", "fit.steps=9", "--cfg", "job"]
    assert cli.main(given) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert (shown["fit"]["lr"], shown["fit"]["steps"]) == (0.5, 9)
    assert shown["data"]["cohort"] == "${oc.env:MY_DATA,/there}/cohort.csv"
    assert cli.main([*given, "--resolve"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["data"]["cohort"] == "/there/cohort.csv"
    assert cli.main(["train_ensemble", "--cfg", "hydra"]) == 2
    assert cli.main(["train_ensemble", f"experiment={mine}/base.yaml", "fit.steps=9", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "= 9\n" in shown and "= /there/cohort.csv\n" in shown and "= discrete_time\n" in shown


@pytest.mark.parametrize("name", ["plain", "${x}", "\\${x}", "\\\\${x}", "a: b # c", "null", "1e3", "ø 'x' \"y\""])
def test_resolved_settings_given_back_are_the_same(name, tmp_path):
    given = compose(f"data.cohort={name}", f"split.together={name}", "experiment=domore_v1", "fit.lr=1e-5", "seed=3")
    file = tmp_path / "config.yaml"
    file.write_text(config_text("train_ensemble", given), encoding="utf-8")
    again = compose(f"experiment={file}")
    assert as_dict(again) == as_dict(given) and again.data.cohort == name
    assert compose(f"experiment={file}", "seed=4").seed == 4


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_each_command_s_settings_can_be_given_back(command, tmp_path):
    given = compose(command=command)
    file = tmp_path / "config.yaml"
    file.write_text(config_text(command, given), encoding="utf-8")
    assert as_dict(compose(f"experiment={file}", command=command)) == as_dict(given)


def test_a_run_leaves_its_settings_beside_what_it_wrote(tmp_path, monkeypatch):
    def run(settings):
        assert settings.patients == 3, settings.patients
        Path(settings.out).mkdir(exist_ok=True)
        if settings.bundle:
            (Path(settings.out) / "manifest.json").write_text("{}")
        settings.patients = 4  # what a command does to its settings on the way is not what was given
        return settings.code

    module = types.ModuleType("made_run")
    module.run, module.Config = run, RunConfig
    monkeypatch.setitem(sys.modules, "made_run", module)
    monkeypatch.setitem(cli.COMMANDS, "made", cli.Command("made_run", "made_run:Config", "leaves a folder"))
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "made.yaml").write_text("defaults: [made_schema, _self_]\n")
    monkeypatch.setattr(cli, "CONFIG_FOLDER", tmp_path / "configs")
    out = tmp_path / "made"
    assert cli.main(["made", f"out={out}", "patients=three"]) == 2 and not out.exists()
    assert cli.main(["made", f"out={out}", "patients=3", "code=2"]) == 2
    assert not list(out.iterdir()), "nothing was done, so nothing is said of it"
    assert cli.main(["made", f"out={out}", "patients=3", "code=1"]) == 1
    file = out / "config.yaml"
    assert yaml.safe_load(file.read_text())["patients"] == 3
    assert cli.main(["made", f"experiment={file}", f"out={tmp_path}/again", "code=0"]) == 0
    first, again = (yaml.safe_load((tmp_path / name / "config.yaml").read_text()) for name in ("made", "again"))
    assert again == {**first, "out": f"{tmp_path}/again", "code": 0}
    assert cli.main(["made", f"experiment={file}", f"out={tmp_path}/bundle", "bundle=true"]) == 1
    assert [path.name for path in (tmp_path / "bundle").iterdir()] == ["manifest.json"], "a bundle is never added to"
    assert (tmp_path / "bundle.config.yaml").is_file()


def test_quotes_and_the_home_folder_in_paths_are_as_in_a_shell(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "my home"))
    (tmp_path / "'odd'.csv").touch()
    for given, taken in (
        ("'a b.csv'", "a b.csv"),
        ('"a, b.csv"', "a, b.csv"),
        ("~/a.csv", str(tmp_path / "my home" / "a.csv")),
        ("'odd'.csv", "'odd'.csv"),
        ("it's.csv", "it's.csv"),
    ):
        assert cli.compose("train", [f"data.cohort={given}"], checked=False).data.cohort == taken
    assert cli.compose("train", ["split.together='a b'"], checked=False).split.together == "a b"


def test_what_is_not_set_or_cannot_be_deleted_is_said_plainly(tmp_path, monkeypatch):
    monkeypatch.delenv("NOT_SET", raising=False)
    (tmp_path / "mine.yaml").write_text("data:\n  cohort: ${oc.env:NOT_SET}/cohort.csv\n")
    with pytest.raises(
        ConfigError, match=r"data\.cohort: the environment variable NOT_SET is not set; set it, or give"
    ):
        cli.compose("train", [f"experiment={tmp_path / 'mine.yaml'}"], checked=False)
    own = cli.compose("train", [f"experiment={tmp_path / 'mine.yaml'}", "data.cohort=mine.csv"], checked=False)
    assert own.data.cohort == "mine.csv", "what is given needs no variable"
    for word in ("~fit.lr", "~fit.lr=0.1", "~experiment"):
        with pytest.raises(ConfigError, match=r"a setting cannot be deleted; leave it out, and its default counts"):
            cli.compose("train", [word], checked=False)
