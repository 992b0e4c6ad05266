"""Experiment files of the user's own, wherever they lie: `experiment=/path/my.yaml`, or a name under --config-dir.

Hydra composes them like the package's: they may have a defaults list that names the package's experiments or files
beside them. They hold values alone; a key that no setting has is refused, so that no ``_target_`` is ever read.
"""

import re
from pathlib import Path

from pathoprog.command_line.near_misses import did_you_mean
from pathoprog.command_line.target import EXPERIMENT, Target
from pathoprog.errors import ConfigError

HEADER = "# @package _global_"
MOST_BYTES = 2**20  # a file of settings is a thousandth of that


def file_of(target: Target, experiment: str) -> Path | None:
    """The user's file that an experiment's name or path means; None where it is one of the package's names.

    Raises:
        ConfigError: there is no such file or name, or the name is not unique.
    """
    path = Path(experiment).expanduser()
    if path.suffix in (".yaml", ".yml") or "/" in experiment or "\\" in experiment:
        if not path.is_file():
            raise ConfigError(f"experiment={experiment}: no such file")
        return path.resolve()
    theirs = [
        found
        for folder in target.folders
        for suffix in (".yaml", ".yml")
        if (found := folder / EXPERIMENT / f"{experiment}{suffix}").is_file()
    ]
    packaged = target.configs / EXPERIMENT / f"{experiment}.yaml"
    own = [packaged] if experiment in target.experiments and packaged.is_file() else []
    if len(theirs) + len(own) > 1:
        places = ", ".join(str(found) for found in theirs) + (" and the package's" if own else "")
        raise ConfigError(f"experiment={experiment}: there are several, {places}; give the file's path")
    if theirs:
        return theirs[0]
    if not own:
        known = target.experiments
        there = f"it takes {', '.join(known)}, or a file" if known else "it takes a file: experiment=/path/my.yaml"
        raise ConfigError(f"experiment={experiment}: no such experiment{did_you_mean(experiment, known)} ({there})")
    return None


def lay_out(target: Target, file: Path, folder: Path) -> str:
    """Lay an experiment file and those beside it out as Hydra wants them: a search path of its own.

    Args:
        target: the command.
        file: the experiment.
        folder: an empty one; it gets the command's YAML and ``experiment/``.

    Returns:
        The name by which Hydra finds the experiment.

    Raises:
        ConfigError: the file cannot be read, or is no YAML of settings.
    """
    (folder / f"{target.name}.yaml").symlink_to((target.configs / f"{target.name}.yaml").resolve())
    group = folder / EXPERIMENT
    group.mkdir()
    for beside in sorted(file.parent.glob("*.yaml")):
        if beside != file and beside.is_file() and beside.stat().st_size < MOST_BYTES:
            try:
                (group / beside.name).write_text(_with_header(beside.read_text(encoding="utf-8")), encoding="utf-8")
            except (OSError, UnicodeDecodeError):  # not ours to complain of, unless it is named
                continue
    name = re.sub(r"\W", "_", file.stem) or "experiment"
    while (group / f"{name}.yaml").exists():
        name += "_"
    (group / f"{name}.yaml").write_text(_with_header(_checked(file)), encoding="utf-8")
    return name


def _with_header(text: str) -> str:
    """The text with the header that lets its keys count from the root, as an experiment's do."""
    comments = re.match(r"(\s*(#.*)?\n)*", text)
    return text if comments and "@package" in comments[0] else f"{HEADER}\n{text}"


def _checked(file: Path) -> str:
    """The file's text.

    Raises:
        ConfigError: it cannot be read, or is no YAML of settings.
    """
    import yaml

    try:
        if file.stat().st_size > MOST_BYTES:
            raise ConfigError(f"{file}: over 1 MiB, which no file of settings is")
        text = file.read_text(encoding="utf-8")
        found = yaml.safe_load(text)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "its bytes are no UTF-8 text"
        raise ConfigError(f"{file}{where}: no YAML ({problem})") from error
    if not isinstance(found, dict | None):
        raise ConfigError(
            f"{file}: holds no settings; a file of settings has lines such as `fit:` and below it `lr: 0.001`"
        )
    return text
