"""A command's settings, composed by Hydra from its YAML, named or own experiments and the command line."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pathoprog.command_line.arguments import Given, escaped, sort_arguments
from pathoprog.command_line.experiment_files import file_of, lay_out
from pathoprog.command_line.near_misses import did_you_mean
from pathoprog.command_line.target import EXPERIMENT, Target
from pathoprog.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig


@dataclass(frozen=True)
class Composed:
    """A command's settings as they were composed.

    Attributes:
        target: the command.
        config: its settings with their interpolations.
    """

    target: Target
    config: "DictConfig"

    def settings(self) -> Any:
        """An instance of the command's settings class; ranges are not checked.

        Raises:
            ConfigError: an interpolation that leads nowhere.
        """
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        try:
            return OmegaConf.to_object(self.config)
        except OmegaConfBaseException as error:
            raise _explained(error, self.target, None) from error

    def text(self) -> str:
        """The settings as YAML, with their interpolations as they were written."""
        from omegaconf import OmegaConf

        return OmegaConf.to_yaml(self.config)


def compose(target: Target, arguments: list[str]) -> Composed:
    """Compose a command's settings.

    Args:
        target: the command.
        arguments: ``key=value`` in Hydra's grammar; paths, names and bare words as they stand.

    Raises:
        ConfigError: an unknown key, a value of the wrong type, an experiment that is not there; names it.
    """
    from hydra import compose as hydra_compose
    from hydra.core.config_store import ConfigStore
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    given = sort_arguments(target, arguments)
    file = file_of(target, given.experiment) if given.experiment not in ("", "null") else None
    ConfigStore.instance().store(name=f"{target.name}_schema", node=target.schema)
    try:
        with _search_path(target, file) as (paths, alias):
            overrides = [*paths, *_experiment(target, given, alias), *given.overrides.values()]
            config = hydra_compose(config_name=target.name, overrides=overrides)
        for key, value in given.literal.items():
            OmegaConf.update(config, key, value)
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        raise _explained(error, target, file) from error
    return Composed(target, config)


@contextmanager
def _search_path(target: Target, file: Path | None) -> Iterator[tuple[list[str], str]]:
    """Hydra, looking where it has to look: the file's own folder, the package's, the user's; in this order."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    packaged = target.configs.resolve()
    with tempfile.TemporaryDirectory(prefix="pathoprog-") as place:
        alias = lay_out(target, file, Path(place)) if file is not None else ""
        main, further = (Path(place), [packaged]) if file is not None else (packaged, [])
        quoted = ", ".join(_quoted(f"file://{folder}") for folder in [*further, *target.folders])
        GlobalHydra.instance().clear()
        try:
            with initialize_config_dir(config_dir=str(main), version_base="1.3"):
                yield [f"hydra.searchpath=[{quoted}]"] if quoted else [], alias
        finally:
            GlobalHydra.instance().clear()


def _quoted(text: str) -> str:
    """A text as Hydra's grammar takes it literally."""
    text = re.sub(r"(\\*)'", lambda found: found[1] * 2 + r"\'", text)
    return "'" + re.sub(r"(\\+)$", lambda found: found[1] * 2, escaped(text)) + "'"


def _experiment(target: Target, given: Given, alias: str) -> list[str]:
    """The override that chooses the experiment; appended to the defaults of a command whose YAML has no such group."""
    if not given.experiment:
        return []
    text = (target.configs / f"{target.name}.yaml").read_text(encoding="utf-8")
    return [f"{'' if f'- {EXPERIMENT}:' in text else '+'}{EXPERIMENT}={alias or given.experiment}"]


def _explained(error: Exception, target: Target, file: Path | None) -> ConfigError:
    """What Hydra or OmegaConf refused, in one line: the key, what is wrong, what else could be given."""
    from hydra.errors import OverrideParseException

    cause = error.__cause__ or error
    text = str(cause)
    detail = re.split(r"\n\s*(?:full_key:|See http|Config search path:)", text)[0]
    told = re.search(r"full_key: (\S+)", text)
    key = getattr(cause, "full_key", "") or (told[1] if told else "")
    if isinstance(error, OverrideParseException):
        key, detail = error.override, f"{detail}; a value with special characters goes in quotes: key=\"'value'\""
    if "--multirun" in detail or "requires --multirun" in text:
        key = (re.search(r"'([^']*)'", detail) or ["", ""])[1]
        detail = "several values: give --multirun to run each of them, or [a,b] or quotes if it is one value"
    where = f"{file}: " if file is not None and "experiment/" in detail else ""
    detail = re.sub(r"In '[^']*experiment/[^']*': ", "", detail)
    detail = re.sub(r"^\w*Error raised while (?:composing config|resolving interpolation): ?\n?", "", detail.lstrip())
    if found := re.match(r"\"?Environment variable '([^']*)' not found", detail):
        detail = f"the environment variable {found[1]} is not set; set it, or give {key or 'the value'}=… itself"
    if found := re.match(r"Key '([^']*)' (?:is )?not in '\w+'", detail):
        detail = f"no such setting{did_you_mean(key or found[1], target.kinds)}"
    detail = " ".join(detail.split())
    return ConfigError(f"{where}{key + ': ' if key else ''}{detail} (see `pathoprog {target.name} --help`)")
