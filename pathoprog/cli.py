"""The one command line: `pathoprog COMMAND [key=value …]`.

The only file of the library that names the doors, as strings that are loaded when a command is called. How
its words become settings is `pathoprog.command_line`'s.
"""

import dataclasses
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pathoprog import RESEARCH_USE_ONLY, __version__
from pathoprog.command_line.composing import compose as compose_settings
from pathoprog.command_line.config_file import config_text, write_beside
from pathoprog.command_line.flags import Flags, take_flags
from pathoprog.command_line.help_text import help_text
from pathoprog.command_line.near_misses import did_you_mean
from pathoprog.command_line.sweep_space import Sweep, first_of, read_axes, written
from pathoprog.command_line.target import Target
from pathoprog.errors import ConfigError, PathoprogError
from pathoprog.settings import check
from pathoprog.system.caches import own_caches
from pathoprog.system.console import say
from pathoprog.system.machine.environment import quiet_dependencies
from pathoprog.system.machine.extras import check_command, how_to_install, lacking
from pathoprog.text.plain_text import printable

SWEEPS = "pathoprog.training.search.run"
CONFIG_FOLDER = Path(__file__).parent / "configs"


@dataclasses.dataclass(frozen=True)
class Command:
    """One command: where its work (`module`:`run`) and its settings class (`config`) are.

    `positional` names the setting that bare arguments go to; `spelled` is what it is called on the command line where a
    group of settings has the better claim to its name in the class (``slides=… slides.mpp=…``). `runs` names the
    command that it runs: that one's settings may be given too, and are handed on in the setting `each`. `swept` is the
    settings class of many runs of it (``--multirun``, ``--search``), where it takes these.
    """

    module: str
    config: str
    summary: str
    positional: str = ""
    spelled: str = ""
    runs: str = ""
    swept: str = ""


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
    "init": Command(
        "pathoprog.commands.init",
        "pathoprog.commands.init_config:InitConfig",
        "a first mapping, plan and experiment from a clinical sheet",
        "folder",
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
        "pathoprog.commands.conversion.convert",
        "pathoprog.commands.conversion.convert_config:ConvertConfig",
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
        swept="pathoprog.training.search.search_config:TrainEnsembleSweepConfig",
    ),
    "cross_validate": Command(
        "pathoprog.training.cross_validate",
        "pathoprog.training.config:CrossValidateConfig",
        "k folds that keep patients and sites together, for those without a tuning cohort",
        swept="pathoprog.training.search.search_config:CrossValidateSweepConfig",
    ),
    "compare": Command(
        "pathoprog.training.comparison.compare",
        "pathoprog.training.comparison.config:CompareConfig",
        "experiments held against each other on the same folds with the same seeds",
        runs="cross_validate",
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
        hint = did_you_mean(name, COMMANDS) or f"; there are {', '.join(COMMANDS)}"
        print(f"pathoprog: no command '{printable(name)}'{hint} (see `pathoprog --help`)", file=sys.stderr)
        return 2
    try:
        flags, arguments = take_flags(rest)
        if flags.help:
            say(command_help(name, rest))
            return 0
        if flags.show or flags.resolve:
            if flags.sweep:  # with the first of several values
                axes, arguments = read_axes(target_of(name, flags), arguments, flags.sweep)
                arguments = [*arguments, *(f"{axis.key}={first_of(axis)}" for axis in axes)]
            composed = compose_settings(target_of(name, flags), _handed_on(name, arguments)[0])
            say(config_text(name, composed.settings()) if flags.resolve else composed.text())
            return 0
        check_command(name)
        if flags.sweep:
            sweep = sweep_of(name, flags, arguments)
            quiet_dependencies()
            own_caches()
            return int(importlib.import_module(SWEEPS).run(sweep))
        settings = compose(name, rest)
        as_given = config_text(name, settings)
        quiet_dependencies()
        own_caches()
        code = importlib.import_module(command.module).run(settings)
        assert isinstance(code, int), f"{command.module}.run returned {code!r}"
        if code in (0, 1):
            write_beside(settings, as_given)
        return code
    except PathoprogError as error:
        print(f"pathoprog {name}: {printable(str(error), lines=True)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"pathoprog {name}: stopped; what is done is kept, the same command goes on", file=sys.stderr)
        return 130


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


def command_help(name: str, arguments: list[str] | None = None) -> str:
    """Text of `pathoprog COMMAND --help`: every setting with its value in force, its help and its range.

    Args:
        name: the command.
        arguments: the others of the same line, which are in force.
    """
    flags, rest = take_flags(arguments or [])
    command = COMMANDS[name]
    if flags.sweep and any("=" in word for word in rest):
        _, rest = read_axes(target_of(name, flags), rest, flags.sweep)
    settings = compose_settings(target_of(name, flags), _handed_on(name, rest)[0]).settings()
    assert importlib.util.find_spec(command.module) is not None, command.module
    return help_text(target_of(name, flags), command.summary, settings, bool(command.swept))


def target_of(name: str, flags: Flags) -> Target:
    """What the command line of a command is composed for."""
    command = COMMANDS[name]
    if flags.sweep and not command.swept:
        able = [other for other, its in COMMANDS.items() if its.swept]
        raise ConfigError(f"--{flags.sweep}: {name} cannot be swept; {' and '.join(able)} can")
    return Target(
        name,
        settings_class(name, swept=bool(flags.sweep)),
        CONFIG_FOLDER,
        command.positional,
        command.spelled,
        flags.folders,
    )


def settings_class(name: str, swept: bool = False) -> type:
    """The settings dataclass of a command; `swept`: of many runs of it."""
    module, _, attribute = (COMMANDS[name].swept if swept else COMMANDS[name].config).partition(":")
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
    flags, rest = take_flags(arguments)
    target = target_of(name, flags)
    if flags.sweep:
        axes, rest = read_axes(target, rest, flags.sweep)
        rest = [*rest, *(f"{axis.key}={first_of(axis)}" for axis in axes)]
    own, handed_on = _handed_on(name, rest)
    settings = compose_settings(target, own).settings()
    if handed_on:
        settings.each = [*settings.each, *handed_on]
    if checked:
        check(settings)
    return settings


def _handed_on(name: str, arguments: list[str]) -> tuple[list[str], list[str]]:
    """A command's own arguments, and, as they are, those for every run of the command that it runs."""
    runs = COMMANDS[name].runs
    if not runs:
        return arguments, []
    own, other = (set(target_of(one, Flags()).kinds) for one in (name, runs))
    handed = []
    for argument in arguments:
        key, equals, _ = argument.partition("=")
        key = key.lstrip("+~")
        known = key in other or any(one.startswith(f"{key}.") for one in other)
        if equals and known and key not in own and not any(one.startswith(f"{key}.") for one in own):
            handed.append(argument)
    return [argument for argument in arguments if argument not in handed], handed


def sweep_of(name: str, flags: Flags, arguments: list[str]) -> Sweep:
    """The runs that a command line with `--multirun` or `--search` asks for.

    Raises:
        ConfigError: see `compose`; or no key has several values, or what it takes is not installed.
    """
    if flags.sweep == "search" and (missing := lacking("search")):
        raise ConfigError(f"not installed: {', '.join(missing)}; --search takes {how_to_install('search')}")
    target = target_of(name, flags)
    axes, others = read_axes(target, arguments, flags.sweep)

    def settings_of(values: Mapping[str, str]) -> Any:
        settings = compose_settings(target, [*others, *(f"{key}={value}" for key, value in values.items())]).settings()
        check(settings)
        return settings

    first = {axis.key: first_of(axis) for axis in axes}
    base = settings_of(first)
    for axis in axes:  # an interval's end is a setting too
        if not axis.choices and axis.high is not None:
            settings_of({**first, axis.key: written(axis, axis.high)})
    return Sweep(name, flags.sweep, axes, base, settings_of)


if __name__ == "__main__":
    sys.exit(main())
