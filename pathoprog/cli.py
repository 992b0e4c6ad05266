"""The one command line: `pathoprog COMMAND [key=value …]`.

The only file of the library that names the doors, as strings that are loaded when a command is called. Overrides are
Hydra's; values of settings declared as paths or names are taken literally, since Hydra's grammar refuses many
characters that file and column names have.
"""

import dataclasses
import difflib
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

from pathoprog import RESEARCH_USE_ONLY, __version__
from pathoprog.errors import ConfigError, PathoprogError
from pathoprog.system.caches import own_caches
from pathoprog.system.console import say
from pathoprog.system.machine.extras import check_command
from pathoprog.text.plain_text import printable

CONFIG_FOLDER = Path(__file__).parent / "configs"


@dataclasses.dataclass(frozen=True)
class Command:
    """One command: where its work (`module`:`run`) and its settings class (`config`) are.

    `positional` names the setting that bare arguments go to; `spelled` is what it is called on the command line where a
    group of settings has the better claim to its name in the class (``slides=… slides.mpp=…``).
    """

    module: str
    config: str
    summary: str
    positional: str = ""
    spelled: str = ""


COMMANDS = {
    "demo": Command(
        "pathoprog.commands.demo",
        "pathoprog.commands.demo_config:DemoConfig",
        "the whole main job on a made-up multi-site cohort",
    ),
    "inspect": Command(
        "pathoprog.commands.inspect",
        "pathoprog.commands.inspect_config:InspectConfig",
        "what a slide is, and whether it can be used",
        "paths",
    ),
    "deidentify": Command(
        "pathoprog.commands.deidentify",
        "pathoprog.commands.deidentify_config:DeidentifyConfig",
        "what in a slide could name a person",
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
    "segment": Command(
        "pathoprog.training.tumour.segment",
        "pathoprog.training.tumour.config:SegmentConfig",
        "train the tumour network from outlines, or outline slides with it",
    ),
    "convert": Command(
        "pathoprog.commands.convert",
        "pathoprog.commands.convert_config:ConvertConfig",
        "an encoder's published weights to safetensors",
        "file",
    ),
    "features": Command(
        "pathoprog.training.features",
        "pathoprog.training.config:FeaturesConfig",
        "tile features of any encoder, stored once per slide",
        "paths",
        "slides",
    ),
    "train": Command("pathoprog.training.train", "pathoprog.training.config:TrainConfig", "one candidate member"),
    "train_ensemble": Command(
        "pathoprog.training.train_ensemble",
        "pathoprog.training.config:TrainEnsembleConfig",
        "all candidates of every resolution",
    ),
    "cross_validate": Command(
        "pathoprog.training.cross_validate",
        "pathoprog.training.config:CrossValidateConfig",
        "k folds that keep patients and sites together, for those without a tuning cohort",
    ),
    "control": Command(
        "pathoprog.training.control",
        "pathoprog.training.config:ControlConfig",
        "the way on cohorts whose hazard ignores the images: must find nothing",
    ),
    "ensemble": Command(
        "pathoprog.training.lock.ensemble",
        "pathoprog.training.config:EnsembleConfig",
        "choose the best candidates, fix thresholds, lock the bundle",
    ),
    "match_features": Command(
        "pathoprog.training.lock.match_features",
        "pathoprog.training.config:MatchFeaturesConfig",
        "check that our own features give the scores of another tool's, and lock it",
        "bundle",
    ),
    "promote": Command(
        "pathoprog.training.lock.promote",
        "pathoprog.training.config:PromoteConfig",
        "make a bundle the champion among MLflow's registered models",
        "bundle",
    ),
    "score": Command(
        "pathoprog.inference.score",
        "pathoprog.inference.config:ScoreConfig",
        "score slides with a locked ensemble",
        "paths",
        "slides",
    ),
    "serve": Command(
        "pathoprog.inference.service.serve",
        "pathoprog.inference.service.config:ServeConfig",
        "the batch service: watched folders and a REST address",
        "settings",
    ),
    "token": Command(
        "pathoprog.inference.service.access.token_command",
        "pathoprog.inference.service.access.access_config:TokenConfig",
        "who may use the service: make, list and revoke tokens",
        "action",
    ),
    "audit": Command(
        "pathoprog.inference.service.records.audit_command",
        "pathoprog.inference.service.records.records_config:AuditConfig",
        "is the service's audit log whole, and where does it end",
        "action",
    ),
    "forget": Command(
        "pathoprog.inference.service.forget",
        "pathoprog.inference.service.config:ForgetConfig",
        "take a patient's ids, files and results out of the service for good",
        "settings",
    ),
    "restore": Command(
        "pathoprog.inference.service.restore",
        "pathoprog.inference.service.config:RestoreConfig",
        "make a backup the service's state again",
        "settings",
    ),
    "survival": Command(
        "pathoprog.cohorts.survival",
        "pathoprog.cohorts.config:SurvivalConfig",
        "survival analyses of any table",
        "table",
    ),
    "stage_groups": Command(
        "pathoprog.cohorts.stage_groups",
        "pathoprog.cohorts.config:StageGroupsConfig",
        "class combined with stage: fit the table, lock it into a new bundle",
    ),
    "validate": Command(
        "pathoprog.cohorts.validate",
        "pathoprog.cohorts.config:ValidateConfig",
        "survival validation of a locked ensemble",
    ),
    "verify": Command(
        "pathoprog.commands.verify",
        "pathoprog.commands.verify_config:VerifyConfig",
        "is a bundle whole, unchanged, signed",
        "bundle",
    ),
    "sign": Command(
        "pathoprog.commands.sign",
        "pathoprog.commands.verify_config:SignConfig",
        "sign a bundle with one's own key",
        "bundle",
    ),
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code (0 done, 1 some slides failed, 2 nothing done: wrong call or input)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        say(overview())
        return 0
    if arguments[0] == "--version":
        say(f"pathoprog {__version__}")
        return 0
    name, rest = arguments[0], arguments[1:]
    command = COMMANDS.get(name)
    if command is None:
        print(f"pathoprog: no command '{printable(name)}'; there are {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    try:
        if "-h" in rest or "--help" in rest:
            say(command_help(name))
            return 0
        check_command(name)
        settings = compose(name, rest)
        _quiet_environment()
        own_caches()
        code = importlib.import_module(command.module).run(settings)
        assert isinstance(code, int), f"{command.module}.run returned {code!r}"
        return code
    except PathoprogError as error:
        print(f"pathoprog {name}: {printable(str(error), lines=True)}", file=sys.stderr)
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
    bare = f" [{(command.spelled or command.positional).upper()} …]" if command.positional else ""
    lines = [f"pathoprog {name}{bare} [key=value …]", f"  {command.summary}", "", "settings (value in force):"]
    rows = [
        (command.spelled if command.spelled and key == command.positional else key, value, text)
        for key, value, text in _rows(settings)
    ]
    width = min(max((len(key) for key, _, _ in rows), default=0), 44)
    lines += [f"  {key:<{width}}  {text}\n  {'':<{width}}  = {value}" for key, value, text in rows]
    groups = _experiments(name)
    if groups:
        lines += ["", f"experiment=… one of: {', '.join(groups)}"]
    lines += ["", RESEARCH_USE_ONLY]
    return "\n".join(lines)


def _experiments(name: str) -> list[str]:
    """Named runs that a command takes: those of configs/experiment, if its YAML mentions the group."""
    if "experiment" not in (CONFIG_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"):
        return []
    return sorted(path.stem for path in (CONFIG_FOLDER / "experiment").glob("*.yaml"))


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
    from hydra.errors import HydraException, OverrideParseException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    schema = settings_class(name)
    kinds = dict(_kinds(schema))
    overrides, literal = _split(name, arguments, kinds)
    _check_keys(name, overrides, kinds)
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
        detail = re.split(r"\n\s*(?:full_key:|See http|Config search path:)", str(cause))[0]
        detail = " ".join(detail.split())
        key = getattr(cause, "full_key", "") or ""
        if isinstance(error, OverrideParseException):
            key, detail = error.override, f"{detail}; a value with special characters goes in quotes: key=\"'value'\""
        raise ConfigError(f"{key + ': ' if key else ''}{detail} (see `pathoprog {name} --help`)") from error
    finally:
        GlobalHydra.instance().clear()
    if checked:
        from pathoprog.settings import check

        check(settings)
    return settings


def _kinds(schema: type, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Each setting's full key and how the command line takes it: a literal kind, ``flag`` (true or false) or ``""``."""
    types = get_type_hints(schema)
    for field in dataclasses.fields(schema):
        kind = types[field.name]
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            yield from _kinds(kind, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", "flag" if kind is bool else field.metadata.get("kind", "")


def _split(name: str, arguments: list[str], kinds: dict[str, str]) -> tuple[list[str], dict[str, Any]]:
    """Separate literal values (paths, names, bare arguments) from overrides in Hydra's grammar."""
    overrides: list[str] = []
    literal: dict[str, Any] = {}
    positional = COMMANDS[name].positional
    for argument in arguments:
        key, equals, value = argument.partition("=")
        key = positional if key and key == COMMANDS[name].spelled else key
        flag = argument.removeprefix("--").replace("-", "_")
        if argument.startswith("--") and kinds.get(flag) == "flag":
            overrides.append(f"{flag}=true")
            continue
        kind = kinds.get(key, "") if equals else ""
        if not equals or (key.lstrip("+~") not in kinds and positional and _exists(argument)):
            named = argument in kinds and kinds.get(positional) != "names"  # a list of words may hold any word
            wrong = named or argument.startswith("--") or not positional
            if wrong and not (positional and _exists(argument)):
                raise ConfigError(f"{argument}: settings are given as key=value (see `pathoprog {name} --help`)")
            key, value, kind = positional, argument, "path" if kinds[positional] == "path" else "bare"
        if kind in ("path", "name"):
            if key in literal:
                raise ConfigError(f"{key} is given twice: {literal[key]!r} and {value!r}")
            literal[key] = _literal(value)
        elif kind in ("paths", "names"):
            literal.setdefault(key, []).extend(map(_literal, _items(value, kind)))
        elif kind == "bare":
            literal.setdefault(key, []).append(_literal(value))
        else:
            overrides.append(argument)
    return overrides, literal


def _items(value: str, kind: str) -> list[str]:
    """Split a plural value at its commas; a path that exists, and a part in double quotes, keep theirs."""
    if kind == "paths" and _exists(value):
        return [value]
    if value.startswith("[") and value.endswith("]"):
        value = value[1:-1]
    parts = re.findall(r'\s*"([^"]*)"\s*(?:,|$)|([^,]+)(?:,|$)', value)
    return [item for item in (quoted or plain.strip() for quoted, plain in parts) if item]


def _exists(text: str) -> bool:
    try:
        return bool(text) and Path(text).exists()
    except (OSError, ValueError):  # too long, or with a null byte: no file is called so
        return False


def _literal(value: str) -> str:
    """Keep OmegaConf from reading an interpolation into a file name."""
    return re.sub(r"(\\*)\$\{", lambda found: f"{found[1] * 2}\\${{", value)


def _check_keys(name: str, overrides: list[str], kinds: dict[str, str]) -> None:
    """Refuse keys that no setting has; Hydra itself would take ``+key=…`` and nothing would ever read it."""
    groups = {path.name for path in CONFIG_FOLDER.iterdir() if path.is_dir()}
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~")
        if re.split("[/@]", key)[0] in groups:
            continue
        if not any(f"{key}.".startswith(f"{known}.") or known.startswith(f"{key}.") for known in kinds):
            near = difflib.get_close_matches(key, [*kinds, *filter(None, [COMMANDS[name].spelled])], n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            what = "setting or file" if COMMANDS[name].positional else "setting"
            raise ConfigError(f"{key}: no such {what}{hint} (see `pathoprog {name} --help`)")


if __name__ == "__main__":
    sys.exit(main())
