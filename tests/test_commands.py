"""Every command: its help is quick, its YAML composes, its settings are explained, checked and read."""

import dataclasses
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import yaml
from house import DOORS, ROOT, sources, tracked

from pathoprog import cli
from pathoprog.errors import ConfigError

COMMANDS = list(cli.COMMANDS)
SLOW_TO_LOAD = ("torch", "pandas", "numpy", "mlflow", "lifelines", "matplotlib", "scipy", "shapely", "openslide")
HELP_SECONDS = 1.0


def leaves(schema: type, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Full key, field and type of every setting."""
    types = get_type_hints(schema)
    for field in dataclasses.fields(schema):
        if dataclasses.is_dataclass(types[field.name]):
            yield from leaves(types[field.name], f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", field, types[field.name]


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_answers_in_under_a_second_of_cpu_and_loads_nothing_heavy(command: str, tmp_path: Path) -> None:
    arguments = [command, "--help"] if command else ["--help"]
    program = (
        "import sys\nfrom pathoprog import cli\n"
        f"assert cli.main({arguments!r}) == 0\n"
        f"print('LOADED', [name for name in {SLOW_TO_LOAD!r} if name in sys.modules])\n"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith("LOADED []\n"), result.stdout.splitlines()[-1]
    assert f"pathoprog {command}" in result.stdout and "For research use only" in result.stdout
    assert after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime < HELP_SECONDS


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_s_yaml_composes_and_its_defaults_are_in_range(command: str) -> None:
    settings = cli.compose(command, [], checked=False)
    try:
        cli.compose(command, [])
    except ConfigError as error:
        assert " is missing: give " in str(error)
    assert isinstance(settings, cli.settings_class(command))


def test_every_yaml_belongs_to_a_command_and_composes() -> None:
    for path in (path for path in tracked() if path.parts[0] == "configs" and path.suffix in (".yaml", ".yml")):
        assert yaml.safe_load((ROOT / path).read_text(encoding="utf-8")), f"{path} is empty"
        if len(path.parts) == 2:
            assert path.stem in COMMANDS, f"{path}: no such command"
            continue
        group, option = "/".join(path.parts[1:-1]), path.stem
        takers = [name for name in COMMANDS if group in (ROOT / "configs" / f"{name}.yaml").read_text(encoding="utf-8")]
        assert takers, f"{path}: no command takes the group {group}"
        errors = []
        for name in takers:
            try:
                cli.compose(name, [f"{group}={option}"], checked=False)
            except ConfigError as error:
                errors.append(f"{name}: {error}")
        assert len(errors) < len(takers), f"{path} composes with no command:\n" + "\n".join(errors)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_setting_is_explained_and_its_default_in_range(command: str) -> None:
    for key, field, kind in leaves(cli.settings_class(command)):
        assert field.metadata.get("help"), f"{key} has no help: use pathoprog.settings.setting"
        assert kind is not Path, f"{key}: str, not Path"
        if field.metadata["kind"] in ("paths", "names"):
            assert kind == list[str], f"{key}: a plural kind is a list of str"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_key_and_a_wrong_type_are_named(command: str) -> None:
    with pytest.raises(ConfigError, match=r"^no_such_key: no such setting"):
        cli.compose(command, ["no_such_key=1"], checked=False)
    for key, _, kind in leaves(cli.settings_class(command)):
        if kind in (int, float):
            with pytest.raises(ConfigError, match=rf"^{re.escape(key)}: "):
                cli.compose(command, [f"{key}=much"], checked=False)
            break


def test_every_setting_is_read_somewhere() -> None:
    code = "\n".join(
        (ROOT / path).read_text(encoding="utf-8")
        for path in sources("pathoprog", *DOORS)
        if not re.search(r"(^|_)config$", path.stem)
    )
    read = set(re.findall(r"\.(\w+)", code))
    # These groups are read by name: a check's limits as "<check>_warn" and "<check>_fail", a trait as itself.
    named = set(re.findall(r'"(\w+)"', code))
    by_name = re.compile(r"^(quality\.limits\.(?P<check>\w+)_(warn|fail)|made_for\.(?P<trait>\w+))$")

    def is_read(key: str) -> bool:
        match = by_name.match(key)
        return (match["check"] or match["trait"]) in named if match else key.split(".")[-1] in read

    settings = {(name, key) for name in COMMANDS for key, _, _ in leaves(cli.settings_class(name))}
    unread = sorted(f"{name}: {key}" for name, key in settings if not is_read(key))
    assert not unread, f"settings that nothing reads: {unread}"
