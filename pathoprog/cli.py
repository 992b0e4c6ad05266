"""The one command line: `pathoprog COMMAND [key=value …]`.

The only file of the library that names the doors, as strings that are loaded when a command is called. Overrides are
Hydra's; values of settings declared as paths or names are taken literally, since Hydra's grammar refuses many
characters that file and column names have.
"""

import dataclasses
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pathoprog import RESEARCH_USE_ONLY, __version__
from pathoprog.errors import ConfigError, PathoprogError

CONFIG_FOLDER = Path(__file__).parent / "configs"


@dataclasses.dataclass(frozen=True)
class Command:
    """One command: where its work (`module`:`run`) and its settings class (`config`) are.

    `positional` names the setting that bare arguments go to.
    """

    module: str
    config: str
    summary: str
    positional: str = ""


COMMANDS = {
    "demo": Command(
        "pathoprog.demo", "pathoprog.demo_config:DemoConfig", "the whole main job on a made-up multi-site cohort"
    ),
    "inspect": Command(
        "pathoprog.inspect",
        "pathoprog.inspect_config:InspectConfig",
        "what a slide is, and whether it can be used",
        "paths",
    ),
    "simulate": Command(
        "pathoprog.simulate.run",
        "pathoprog.simulate.config:SimulateConfig",
        "made-up slides and patients with a known truth",
    ),
    "cohort": Command(
        "pathoprog.cohorts.cohort",
        "pathoprog.cohorts.config:CohortConfig",
        "clinical sheet to a checked cohort",
        "table",
    ),
    "tiles": Command(
        "pathoprog.training.tiles",
        "pathoprog.training.config:TilesConfig",
        "cut a cohort's tiles once into a tile store for training",
    ),
    "train": Command("pathoprog.training.train", "pathoprog.training.config:TrainConfig", "one candidate member"),
    "train_ensemble": Command(
        "pathoprog.training.train_ensemble",
        "pathoprog.training.config:TrainEnsembleConfig",
        "all candidates of both resolutions",
    ),
    "ensemble": Command(
        "pathoprog.training.choose",
        "pathoprog.training.config:EnsembleConfig",
        "choose the best candidates, fix thresholds, lock the bundle",
    ),
    "score": Command(
        "pathoprog.inference.score",
        "pathoprog.inference.config:ScoreConfig",
        "score slides with a locked ensemble",
        "slides",
    ),
    "survival": Command(
        "pathoprog.cohorts.survival",
        "pathoprog.cohorts.config:SurvivalConfig",
        "survival analyses of any table",
        "table",
    ),
    "validate": Command(
        "pathoprog.cohorts.validate",
        "pathoprog.cohorts.config:ValidateConfig",
        "survival validation of a locked ensemble",
    ),
    "verify": Command(
        "pathoprog.verify", "pathoprog.verify_config:VerifyConfig", "is a bundle whole and unchanged", "bundle"
    ),
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code (0 done, 1 some slides failed, 2 nothing done: wrong call or input)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if arguments[0] == "--version":
        print(f"pathoprog {__version__}")
        return 0
    name, rest = arguments[0], arguments[1:]
    command = COMMANDS.get(name)
    if command is None:
        print(f"pathoprog: no command '{name}'; there are {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    try:
        if "-h" in rest or "--help" in rest:
            print(command_help(name))
            return 0
        settings = compose(name, rest)
        _quiet_environment()
        code = importlib.import_module(command.module).run(settings)
        assert isinstance(code, int), f"{command.module}.run returned {code!r}"
        return code
    except PathoprogError as error:
        print(f"pathoprog {name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"pathoprog {name}: stopped; what is done is kept, the same command goes on", file=sys.stderr)
        return 130


def _quiet_environment() -> None:
    """Switch the telemetry of dependencies off, before any of them is imported."""
    for key, value in {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "RAY_USAGE_STATS_ENABLED": "0",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }.items():
        os.environ.setdefault(key, value)


def overview() -> str:
    """Text of `pathoprog --help`."""
    width = max(map(len, COMMANDS))
    lines = [
        f"pathoprog {__version__}: prognosis from digital pathology",
        RESEARCH_USE_ONLY,
        "",
        "usage: pathoprog COMMAND [key=value …]     pathoprog COMMAND --help",
        "",
    ]
    lines += [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(lines)


def command_help(name: str) -> str:
    """Text of `pathoprog COMMAND --help`: every setting with its value in force, its help and its range."""
    command = COMMANDS[name]
    settings = compose(name, [], checked=False)
    module = importlib.util.find_spec(command.module)
    assert module is not None, command.module
    bare = f" [{command.positional.upper()} …]" if command.positional else ""
    lines = [f"pathoprog {name}{bare} [key=value …]", f"  {command.summary}", "", "settings (value in force):"]
    rows = list(_rows(settings))
    width = min(max((len(key) for key, _, _ in rows), default=0), 44)
    lines += [f"  {key:<{width}}  {text}\n  {'':<{width}}  = {value}" for key, value, text in rows]
    groups = sorted(path.stem for path in (CONFIG_FOLDER / "experiment").glob("*.yaml")) if _takes_experiment(name) else []
    if groups:
        lines += ["", f"experiment=… one of: {', '.join(groups)}"]
    lines += ["", RESEARCH_USE_ONLY]
    return "\n".join(lines)


def _takes_experiment(name: str) -> bool:
    return "experiment" in (CONFIG_FOLDER / f"{name}.yaml").read_text(encoding="utf-8")


def _rows(settings: Any, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            yield from _rows(value, f"{prefix}{field.name}.")
            continue
        text = field.metadata.get("help", "")
        if field.metadata.get("choices"):
            text += f" ({' | '.join(field.metadata['choices'])})"
        if field.metadata.get("required"):
            text += " [required]"
        yield f"{prefix}{field.name}", str(getattr(value, "value", value)), text


def settings_class(name: str) -> type:
    """The settings dataclass of a command."""
    module, _, attribute = COMMANDS[name].config.partition(":")
    result = getattr(importlib.import_module(module), attribute)
    assert isinstance(result, type)
    return result


def compose(name: str, arguments: list[str], checked: bool = True) -> Any:
    """Compose a command's typed settings from its YAML and the given overrides.

    Args:
        name: the command.
        arguments: ``key=value`` overrides in Hydra's grammar; bare ones go to the command's positional setting.
        checked: also check ranges and required settings.

    Returns:
        An instance of the command's settings dataclass.

    Raises:
        ConfigError: an unknown key, a value of the wrong type, out of range, or missing.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.config_store import ConfigStore
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    schema = settings_class(name)
    kinds = dict(_kinds(schema))
    overrides, literal = _split(name, arguments, kinds)
    ConfigStore.instance().store(name=f"{name}_schema", node=schema)
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(config_dir=str(CONFIG_FOLDER.resolve()), version_base="1.3"):
            config = hydra_compose(config_name=name, overrides=overrides)
        for key, value in literal.items():
            OmegaConf.update(config, key, value)
        settings = OmegaConf.to_object(config)
    except (HydraException, OmegaConfBaseException) as error:
        cause = error.__cause__ or error
        detail = " ".join(str(cause).split())
        key = getattr(cause, "full_key", "") or ""
        hint = f"see `pathoprog {name} --help`"
        raise ConfigError(f"{key + ': ' if key and key not in detail else ''}{detail} ({hint})") from error
    finally:
        GlobalHydra.instance().clear()
    if checked:
        from pathoprog.settings import check

        check(settings)
    return settings


def _kinds(schema: type, prefix: str = "") -> Iterator[tuple[str, str]]:
    for field in dataclasses.fields(schema):
        if isinstance(field.type, type) and dataclasses.is_dataclass(field.type):
            yield from _kinds(field.type, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", field.metadata.get("kind", "")


def _split(name: str, arguments: list[str], kinds: dict[str, str]) -> tuple[list[str], dict[str, Any]]:
    """Separate literal values (paths, names, bare arguments) from overrides in Hydra's grammar."""
    overrides: list[str] = []
    literal: dict[str, Any] = {}
    positional = COMMANDS[name].positional
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if argument == "--json" and "json" in kinds:
            overrides.append("json=true")
            continue
        if argument.startswith("--") and argument[2:].replace("-", "_") in kinds:
            overrides.append(f"{argument[2:].replace('-', '_')}=true")
            continue
        kind = kinds.get(key, "") if equals else ""
        if not kind and positional and (not equals or key.lstrip("+~") not in kinds and Path(argument).exists()):
            key, value, kind = positional, argument, kinds[positional]
            kind = "path" if kind == "path" else "bare"
        if kind in ("path", "name"):
            if key in literal:
                raise ConfigError(f"{key} is given twice: {literal[key]!r} and {value!r}")
            literal[key] = _literal(value)
        elif kind in ("paths", "names"):
            items = value[1:-1] if value.startswith("[") and value.endswith("]") else value
            literal.setdefault(key, []).extend(_literal(item.strip()) for item in items.split(",") if item.strip())
        elif kind == "bare":
            literal.setdefault(key, []).append(_literal(value))
        else:
            overrides.append(argument)
    return overrides, literal


def _literal(value: str) -> str:
    """Keep OmegaConf from reading an interpolation into a file name."""
    return value.replace("${", "\\${")


if __name__ == "__main__":
    sys.exit(main())
