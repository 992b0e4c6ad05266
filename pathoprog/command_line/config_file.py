"""A run's settings as a YAML file, `config.yaml`, that can be given back as it is: `experiment=…/config.yaml`."""

import re
from pathlib import Path
from typing import Any

from pathoprog import __version__
from pathoprog.command_line.arguments import escaped
from pathoprog.command_line.experiment_files import HEADER
from pathoprog.settings import as_dict
from pathoprog.system.console import warn
from pathoprog.system.files import write_text

CONFIG = "config.yaml"
BUNDLE = "manifest.json"
"""What a bundle is known by; nothing is ever added to one."""


def config_text(command: str, settings: Any, remark: str = "") -> str:
    """Every setting in force, as YAML.

    Args:
        command: the settings are of.
        settings: an instance of its settings class.
        remark: one line more for the comment at the top.
    """
    import yaml

    class Dumper(yaml.SafeDumper):
        """Quotes texts that another reader of YAML could take for a number, as OmegaConf does ``1e3``."""

    Dumper.add_representer(str, _quoted)
    lines = [
        HEADER,
        f"# Every setting of a `pathoprog {command}` by version {__version__}. The same again, in another folder:",
        f"#   pathoprog {command} experiment=THIS_FILE out=…",
        *([f"# {remark}"] if remark else []),
    ]
    values = yaml.dump(_plain(as_dict(settings)), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120)
    return "\n".join(lines) + "\n" + values


def write_beside(settings: Any, text: str) -> Path | None:
    """Write a run's settings into its output folder; of a bundle beside it.

    Args:
        settings: with ``out``, if the command has an output folder.
        text: of `config_text`, made before the command changed the settings.

    Returns:
        The file; None where the command left no folder, or one that takes no file.
    """
    out = Path(getattr(settings, "out", "") or "")
    if not getattr(settings, "out", "") or not out.is_dir():
        return None
    path = Path(f"{out}.{CONFIG}") if (out / BUNDLE).is_file() else out / CONFIG
    try:
        write_text(path, text)
    except OSError as error:  # the work is done, and what the command said of it stands
        warn(f"{path}: the settings of this run could not be written beside it ({error.strerror or error})")
        return None
    return path


def _quoted(dumper: Any, text: str) -> Any:
    plain = re.match(r"[A-Za-z]", text)  # the dumper itself quotes words such as null
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else "'")


def _plain(value: Any) -> Any:
    """Values whose texts OmegaConf reads as they are, without interpolations."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return escaped(value) if isinstance(value, str) else value
