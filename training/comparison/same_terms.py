"""Whether experiments may be compared: the same patients, endpoint, folds and seeds, or what differs, in words."""

from collections.abc import Mapping
from pathlib import Path

from pathoprog.errors import ConfigError
from pathoprog.settings import as_dict, flat
from pathoprog.system.files import sha256_file
from pathoprog.training.config import CrossValidateConfig
from pathoprog.training.data.folds import read_folds

TABLES = {"data.cohort": "cohort", "data.outcomes": "endpoint", "data.overlap": "declared overlap"}
"""Files that must hold the same; where they lie may differ."""
SAME = ("split.folds", "split.together", "split.seed", "seed", "candidates")
LABELS = "labels."
"""How outcomes become classes, over which the folds are spread evenly."""


def check_same_terms(experiments: Mapping[str, CrossValidateConfig]) -> dict[str, int]:
    """Refuse experiments that are not judged alike.

    Args:
        experiments: settings by name.

    Returns:
        Fold of each patient, that of all experiments.

    Raises:
        ConfigError: names both experiments, the setting and its values, and what to give.
    """
    names = list(experiments)
    first = names[0]
    values = {name: flat(as_dict(settings)) for name, settings in experiments.items()}
    for name in names[1:]:
        for key, what in TABLES.items():
            here, there = str(values[name][key]), str(values[first][key])
            if here != there and _content(here) != _content(there):
                raise ConfigError(
                    f"{first} and {name}: another {what} ({key}={there}, {here}); give one {key}=… for all"
                )
        keys = [*SAME, *(key for key in values[first] if key.startswith(LABELS))]
        if differing := [key for key in keys if values[name][key] != values[first][key]]:
            said = ", ".join(f"{key}={values[first][key]} and {values[name][key]}" for key in differing)
            raise ConfigError(
                f"{first} and {name}: not the same folds, seeds or endpoint ({said}); give"
                f" {' '.join(f'{key}=…' for key in differing)} for all"
            )
    folds = {name: read_folds(settings) for name, settings in experiments.items()}
    for name in names[1:]:
        moved = sum(folds[name].get(patient) != fold for patient, fold in folds[first].items())
        if moved or len(folds[name]) != len(folds[first]):
            raise ConfigError(
                f"{first} and {name}: {moved} of {len(folds[first])} patients lie in other folds; give the same tables,"
                " split.* and labels.* for all"
            )
    return folds[first]


def _content(path: str) -> str:
    return sha256_file(Path(path)) if Path(path).is_file() else path
