"""Every command: its help is quick, its YAML composes, its settings are explained, checked and read."""

import dataclasses
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import yaml
from house import DOORS, ROOT, sources, tracked
from settings_read import Reads

from pathoprog import cli
from pathoprog.errors import ConfigError
from pathoprog.inference.service.config import ServiceSettings

COMMANDS = list(cli.COMMANDS)
SLOW_TO_LOAD = ("torch", "pandas", "numpy", "mlflow", "lifelines", "matplotlib", "scipy", "shapely", "openslide")
MOST_MODULES = 500  # with hydra and what it imports they are 360


def leaves(schema: type, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Full key, field and type of every setting."""
    types = get_type_hints(schema)
    for field in dataclasses.fields(schema):
        if dataclasses.is_dataclass(types[field.name]):
            yield from leaves(types[field.name], f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", field, types[field.name]


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_loads_nothing_heavy_and_little_else(command: str, tmp_path: Path) -> None:
    """So that it answers at once: what it costs is what it loads, and that is the same on every machine."""
    arguments = [command, "--help"] if command else ["--help"]
    program = (
        "import sys\nfrom pathoprog import cli\n"
        f"assert cli.main({arguments!r}) == 0\n"
        f"print('LOADED', [name for name in {SLOW_TO_LOAD!r} if name in sys.modules], len(sys.modules))\n"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    last = result.stdout.splitlines()[-1]
    assert last.startswith("LOADED [] ") and int(last.split()[-1]) < MOST_MODULES, last
    assert f"pathoprog {command}" in result.stdout and "For research use only" in result.stdout


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


def owners(schema: type, prefix: str = "") -> Iterator[tuple[str, type, str]]:
    """Full key, the class that holds it, and its field, of every setting."""
    types = get_type_hints(schema)
    for field in dataclasses.fields(schema):
        inner = [types[field.name], *get_args(types[field.name])]  # also lists of them
        if parts := [each for each in inner if dataclasses.is_dataclass(each)]:
            yield from owners(parts[0], f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", schema, field.name


def unread(schema: type, found: Reads, named: set[str]) -> list[str]:
    """Settings of a class that nothing reads as a field of that class.

    A field counts if it is read of the class, of one that it inherits from or of a protocol that it fits, or if all of
    the class's fields are handed on (`fields(X)`) to a relative of which it is read. `named` are the code's strings:
    limits of quality ("<check>_warn", "<check>_fail") and traits of eligibility are read by their names.
    """
    by_name = {"LimitSettings": re.compile(r"_(warn|fail)$"), "MadeForSettings": re.compile("^$")}

    def is_read(owner: type, field: str) -> bool:
        if owner.__name__ in by_name:
            return by_name[owner.__name__].sub("", field) in named
        line = {each.__name__ for each in owner.__mro__}
        if any((name, field) in found.read for name in line):
            return True
        own = {each.name for each in dataclasses.fields(owner)}
        fitting = [name for name, asked in found.protocols.items() if field in asked <= own]
        if any((name, field) in found.read for name in fitting):
            return True
        handed = [each for each in owner.__mro__ if each.__name__ in found.handed and field in each.__annotations__]
        relatives = {each.__name__ for base in handed for each in base.__subclasses__()}
        return any((name, field) in found.read for name in relatives)

    return [key for key, owner, field in owners(schema) if not is_read(owner, field)]


def code_of_the_project() -> list[Path]:
    """Sources but those that declare settings; `check` and `as_dict` go through all fields and read none."""
    return [path for path in sources("pathoprog", *DOORS) if not re.search(r"(^|_)config$", path.stem)]


def test_every_setting_is_read_somewhere() -> None:
    files = [ROOT / path for path in sources("pathoprog", *DOORS)]
    found = Reads(files)
    named = set(re.findall(r'"(\w+)"', "\n".join((ROOT / path).read_text("utf-8") for path in code_of_the_project())))
    schemas = {name: cli.settings_class(name) for name in COMMANDS} | {"serve's file": ServiceSettings}
    swept = [name for name, command in cli.COMMANDS.items() if command.swept]
    schemas |= {f"{name}, swept": cli.settings_class(name, swept=True) for name in swept}
    missing = {f"{name}: {key}" for name, schema in schemas.items() for key in unread(schema, found, named)}
    assert not missing, f"settings that nothing reads: {sorted(missing)}"

    @dataclasses.dataclass
    class Promote(cli.settings_class("promote")):  # type: ignore[misc]
        """One more, whose name others have."""

        workers: int = 1

    assert unread(Promote, found, named) == ["workers"]


def test_an_unread_setting_is_found_though_another_class_has_one_of_its_name(tmp_path: Path) -> None:
    @dataclasses.dataclass
    class Inner:
        workers: int = 1
        seed: int = 1

    @dataclasses.dataclass
    class Outer:
        out: str = ""
        resolution: str = ""
        seed: int = 1
        inner: Inner = dataclasses.field(default_factory=Inner)

    Outer.__annotations__["inner"] = Inner  # a local class cannot be found by its name
    code = (
        "class Inner:\n    workers: int\n    seed: int\n"
        "class Outer:\n    out: str\n    inner: Inner\n"
        "class Tile:\n    resolution: str\n"
        "class Held:\n"
        "    def __init__(self, given: 'Outer | None', tile: Tile):\n"
        "        self._given = given\n"
        "        print(tile.resolution)\n"
        "    def work(self):\n"
        "        part, other = self._given.inner, 1\n"
        "        self._given.resolution = 'set, not read'\n"
        "        return [one.workers for one in [part]]\n"
        "def other(settings: Outer):\n"
        "    return replace(settings, out='x').out, settings.inner.seed\n"
    )
    (tmp_path / "code.py").write_text(code)
    found = Reads([tmp_path / "code.py"])
    assert {("Outer", "out"), ("Inner", "workers"), ("Inner", "seed")} <= found.read
    assert unread(Outer, found, set()) == ["resolution", "seed"]
