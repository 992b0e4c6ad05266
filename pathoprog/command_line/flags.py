"""Words that begin with a dash and are no setting, as Hydra's users know them: what is to be done with the settings.

``--help``, ``--cfg job``, ``--resolve``, ``--config-dir DIR``, ``--multirun``; and ``--search``, which is ours.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from pathoprog.errors import ConfigError

VARIABLE = "PATHOPROG_CONFIG_DIR"
"""Environment variable with further folders of configuration, between them a colon (on Windows a semicolon)."""

HELP, SHOW, RESOLVE, FOLDER, MULTIRUN, SEARCH = (
    ("--help", "-h"),
    ("--cfg", "-c"),
    ("--resolve",),
    ("--config-dir", "-cd"),
    ("--multirun", "-m"),
    ("--search",),
)
WORDS = (*HELP, *SHOW, *RESOLVE, *FOLDER, *MULTIRUN, *SEARCH)


@dataclass(frozen=True)
class Flags:
    """What is to be done with the settings.

    Attributes:
        help: print what each setting is, with the value in force.
        show: print the settings in force as YAML.
        resolve: print them with interpolations replaced by their values.
        sweep: ``multirun``, ``search`` or '': many runs in place of one.
        folders: of configuration, beside the package's.
    """

    help: bool = False
    show: bool = False
    resolve: bool = False
    sweep: str = ""
    folders: tuple[Path, ...] = ()


def take_flags(arguments: list[str]) -> tuple[Flags, list[str]]:
    """Separate flags from settings.

    Args:
        arguments: of the command line, after the command.

    Returns:
        The flags, and the other arguments in their order.

    Raises:
        ConfigError: a flag without its value, with a wrong one, or a folder that is not there.
    """
    rest, folders = list[str](), list[str]()
    found = dict.fromkeys(("help", "show", "resolve"), False)
    sweep = ""
    words = iter(arguments)
    for word in words:
        flag, equals, value = word.partition("=")
        if word in HELP:
            found["help"] = True
        elif flag in SHOW:
            part = value if equals else next(words, "")
            if part not in ("job", "all"):
                raise ConfigError(
                    f"{f'--cfg {part}'.strip()}: give --cfg job (the settings; there are none of Hydra's own)"
                )
            found["show"] = True
        elif word in RESOLVE:
            found["resolve"] = True
        elif flag in FOLDER:
            folders.append(value if equals else next(words, ""))
        elif word in MULTIRUN or word in SEARCH:
            sweep = "multirun" if word in MULTIRUN and sweep != "search" else "search"
        else:
            rest.append(word)
    given = [(name, "--config-dir") for name in folders]
    given += [(name, VARIABLE) for name in os.environ.get(VARIABLE, "").split(os.pathsep) if name]
    for name, what in given:
        if not name or not Path(name).is_dir():
            raise ConfigError(f"{what}: no folder {name or 'is named'}; give one that holds experiment/NAME.yaml")
    unique = dict.fromkeys(Path(name).resolve() for name, _ in given)
    return Flags(**found, sweep=sweep, folders=tuple(unique)), rest
