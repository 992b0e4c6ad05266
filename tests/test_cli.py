"""The command line: overrides, literal paths and names, messages, exit codes."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from probe_command import ProbeConfig

from pathoprog import cli
from pathoprog.errors import ConfigError

ODD_NAMES = [
    "with space.csv",
    " leading and trailing ",
    "(a)",
    "a=b.csv",
    "a,b",
    "[a]",
    "#1",
    "R&D",
    'O\'Brien "two"',
    "~home",
    "Ø/ærlig",
    "${oc.env}",
    "\\${x}",
    "\\\\${x}",
    "${",
    "back\\",
    "null",
    "true",
    "17",
    "a: b",
    "*?!@%^|;<>`$",
    "новый",
]


@pytest.fixture(autouse=True)
def probe(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command `probe` with one setting of each kind, beside the real ones."""
    folder = tmp_path_factory.mktemp("configs (a) = ø")
    (folder / "probe.yaml").write_text("defaults:\n  - probe_schema\n  - experiment: null\n  - _self_\n")
    (folder / "experiment").mkdir()
    (folder / "experiment" / "small.yaml").write_text("# @package _global_\nseeds: [1, 2, 3]\ninner:\n  workers: 7\n")
    command = cli.Command("probe_command", "probe_command:ProbeConfig", "nothing but its settings", "inputs")
    monkeypatch.setitem(cli.COMMANDS, "probe", command)
    (folder / "required.yaml").write_text("defaults:\n  - required_schema\n  - _self_\n")
    command = cli.Command("probe_command", "probe_command:RequiredConfig", "a setting that must be given")
    monkeypatch.setitem(cli.COMMANDS, "required", command)
    monkeypatch.setattr(cli, "CONFIG_FOLDER", folder)


def compose(*arguments: str) -> ProbeConfig:
    composed = cli.compose("probe", list(arguments))
    assert isinstance(composed, ProbeConfig)
    return composed


def test_overrides_reach_their_typed_settings() -> None:
    got = compose("inner.workers=3", "inner.lr=1e-4", "seeds=[4,5]", "policy=outline", "--json")
    assert (got.inner.workers, got.inner.lr, got.seeds, got.policy, got.json) == (3, 1e-4, [4, 5], "outline", True)
    assert compose().inner.workers == 2, "an override outlived its call"


def test_experiment_sets_values_and_overrides_win() -> None:
    got = compose("experiment=small", "inner.workers=9")
    assert (got.seeds, got.inner.workers) == ([1, 2, 3], 9)
    assert "experiment=… one of: small" in cli.command_help("probe")


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_taken_literally(name: str) -> None:
    got = compose(f"table={name}", f"inner.mask={name}", f"time={name}")
    assert [got.table, got.inner.mask, got.time] == [name] * 3
    assert got.copy == name, "an interpolation from YAML follows the literal value"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.sampled_from("ab/.\\${}[]()=, #'\"~&:?Ø"), min_size=1).filter(lambda text: "???" not in text))
@example('""').via("quotes around the whole go")
@example("'a b'").via("quotes around the whole go")
def test_any_text_survives_as_a_path(name: str) -> None:
    quote, inside = name[0], name[1:-1]
    whole = len(name) > 1 and quote in "'\"" and name[-1] == quote and quote not in inside
    assume(not (inside if whole else name).startswith("~/"))  # the home folder's, a test of its own
    assert compose(f"table={name}").table == (inside if whole else name)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_files_are_taken_as_bare_arguments(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text("x")
    assert compose(name, "second.svs").inputs == [name, "second.svs"]
    if name == name.strip():
        assert compose(f"inputs={name}").inputs == [name]


def test_plural_values_split_at_commas_and_quotes_keep_theirs() -> None:
    assert compose("inputs=a.svs, b (1).svs").inputs == ["a.svs", "b (1).svs"]
    assert compose("inputs=[a.svs,b.svs]", "c.svs").inputs == ["a.svs", "b.svs", "c.svs"]
    assert compose('covariates=age,"pT, grouped" , sex').covariates == ["age", "pT, grouped", "sex"]
    assert compose("covariates=").covariates == []
    long = ",".join(f"file{i}.svs" for i in range(2000))
    assert len(compose(f"inputs={long}").inputs) == 2000


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("foo=1", "foo: no such setting or file"),
        ("+foo=1", "foo: no such setting"),
        ("inner.worker=1", "inner.worker: no such setting or file; did you mean inner.workers"),
        ("inner.workers=many", "inner.workers: Value 'many'"),
        ("inner.workers=2.5", "inner.workers: Value '2.5'"),
        ("inner.workers=0", "inner.workers=0: must be at least 1 and at most 64"),
        ("inner.workers=65", "inner.workers=65: must be at least 1 and at most 64"),
        ("inner.lr=0", "inner.lr=0: must be above 0"),
        ("inner.lr=nan", "inner.lr=nan: must be above 0"),
        ("inner=3", "inner: "),
        ("seeds=[1,-1]", "seeds=-1: must be at least 0"),
        ("seeds=a", "seeds[0]: Value 'a'"),
        ("workers=3", "workers: no such setting or file; did you mean inner.workers?"),
        ("experimnt=small", "experimnt: no such setting or file; did you mean experiment?"),
        ("--jsn", "--jsn: settings are given as key=value; did you mean --json?"),
        ("--mutlirun", "--mutlirun: settings are given as key=value; did you mean --multirun?"),
        ("hydra.run.dir=x", "hydra.run.dir: Hydra's own settings are not taken"),
        ("inner.workers=1,2", "inner.workers=1,2: several values: give --multirun"),
        ("inner.workers=choice(1,2)", "inner.workers=choice(1,2): several values: give --multirun"),
        ("policy=both", "policy='both': must be one of tissue, outline"),
        ("policy=null", "policy: "),
        ("policy=a(b", "policy=a(b: "),
        (
            "experiment=none",
            "experiment=none: no such experiment (it takes small, or a file)",
        ),
        ("experiment=smal", "experiment=smal: no such experiment; did you mean small? (it takes small, or a file)"),
        ("experiment=no/such.yaml", "experiment=no/such.yaml: no such file"),
        ("inner.workers", "inner.workers: settings are given as key=value"),
        ("--table", "--table: settings are given as key=value"),
        ("--no-such", "--no-such: settings are given as key=value"),
    ],
)
def test_a_wrong_argument_is_named_with_its_full_key(argument: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose(argument)
    text = str(caught.value)
    assert text.startswith(message) or (message in text and "experiment" in message)
    assert "\n" not in text and "ProbeConfig" not in text and "http" not in text


def test_a_key_given_twice_takes_the_last() -> None:
    got = compose("table=a", "inputs=a,b", "seeds=1", "inner.lr=1", "table=b", "inputs=c", "seeds=2,3", "+inner.lr=2")
    assert (got.table, got.inputs, got.seeds, got.inner.lr) == ("b", ["c"], [2, 3], 2.0)
    assert compose("inputs=a", "b", "c").inputs == ["a", "b", "c"], "bare words are added to it"


def test_a_list_is_taken_without_brackets() -> None:
    for text, wanted in {"3": [3], "4,5": [4, 5], "4, 5": [4, 5], "[6]": [6], "": [], "[]": []}.items():
        assert compose(f"seeds={text}").seeds == wanted


def test_a_missing_required_setting_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^bundle is missing: give bundle=… \(the ensemble\)"):
        cli.compose("required", [])


def test_main_runs_the_command_and_returns_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["probe", "table=a (1).csv", "seeds=[1,2]"]) == 2
    assert capsys.readouterr().out == "a (1).csv\n"


def test_main_says_errors_in_one_line_and_returns_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["probe", "policy=outline", "table=x"]) == 2
    assert cli.main(["probe", "seeds=x"]) == 2
    assert cli.main(["prob"]) == 2
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert lines[0] == "pathoprog probe: x: no outline; give policy=tissue"
    assert lines[1].startswith("pathoprog probe: seeds[0]: ")
    assert lines[2] == "pathoprog: no command 'prob'; did you mean probe? (see `pathoprog --help`)" and len(lines) == 3
    assert cli.main(["xyzzy"]) == 2 and "; there are demo, inspect, " in capsys.readouterr().err


def test_an_interrupt_returns_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(settings: ProbeConfig) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("probe_command.run", interrupted)
    assert cli.main(["probe"]) == 130
    assert "the same command goes on" in capsys.readouterr().err


def test_help_lists_every_setting_with_value_range_and_help() -> None:
    text = cli.command_help("probe")
    for part in ("probe [INPUTS …]", "inner.workers", "= 2", "reader processes", "(tissue | outline)"):
        assert part in text
    assert "For research use only" in text and "For research use only" in cli.overview()


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    command = [sys.executable, "-c", "import sys; from pathoprog.cli import main; sys.exit(main(['--help']))"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()  # as `| head` does
        assert process.stderr.read() == b""
    assert process.returncode == 141
