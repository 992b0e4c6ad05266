"""What differs between the resolutions of one ensemble: each may have an encoder and a source of its own.

``at_10x``, ``at_20x`` and ``at_40x`` stand beside what holds for all; empty there means: as for all.
"""

import copy
from dataclasses import fields, replace
from typing import Any

from pathoprog.errors import ConfigError
from pathoprog.networks.config import EncoderSettings
from pathoprog.settings import as_dict
from pathoprog.slides.resolutions import RESOLUTIONS, in_order
from pathoprog.training.config import CandidateSettings, TrainConfig
from pathoprog.training.data.data_config import AtResolution, DataSettings, check_data, check_resolutions

OF_DATA = "source"
OF_NETWORK = tuple(field.name for field in fields(AtResolution) if field.name != OF_DATA)


def own(settings: CandidateSettings, resolution: str) -> dict[str, Any]:
    """What is set for one resolution alone: of `data` its source, all else of `network`."""
    found: AtResolution = {"10x": settings.at_10x, "20x": settings.at_20x, "40x": settings.at_40x}[resolution]
    given = {
        "encoder": found.encoder,
        "width": found.width,
        "encoder_options": found.encoder_options,
        "weights": found.weights,
        "feature_dim": found.feature_dim,
        OF_DATA: found.source,
    }
    return {name: value for name, value in given.items() if value}


def check_each(settings: CandidateSettings) -> None:
    """Refuse what is set for a resolution that the ensemble has not, and what `check_data` refuses of each source.

    Raises:
        ConfigError: names the key.
    """
    check_resolutions(settings.data)
    for resolution in RESOLUTIONS:
        if resolution not in settings.data.resolutions and (given := own(settings, resolution)):
            raise ConfigError(
                f"at_{resolution}.{next(iter(given))} is given, but data.resolutions is"
                f" {','.join(settings.data.resolutions)}"
            )
    for data in data_of_each_source(settings):
        check_data(data)


def differ(settings: CandidateSettings) -> bool:
    """Whether anything is set for one resolution alone."""
    return any(own(settings, resolution) for resolution in in_order(settings.data.resolutions))


def at(settings: TrainConfig, resolution: str) -> TrainConfig:
    """A candidate's settings at one resolution: a copy with what is set for that resolution alone in its place.

    Where anything is, only this resolution's data are the candidate's.
    """
    one = copy.deepcopy(settings)
    one.resolution = resolution
    if not differ(settings):
        return one
    given = own(settings, resolution)
    one.data = data_at(settings, resolution)
    one.data.resolutions = [resolution]
    of_network = {name: value for name, value in given.items() if name in OF_NETWORK}
    if "encoder" in of_network:  # another encoder's width, options and weights are not its own
        of_network = as_dict(EncoderSettings()) | of_network
    one.network = replace(one.network, **of_network)
    return one


def data_at(settings: CandidateSettings, resolution: str) -> DataSettings:
    """A copy of the data settings with the source of one resolution."""
    data = copy.deepcopy(settings.data)
    data.source = own(settings, resolution).get(OF_DATA, data.source)
    return data


def data_of_each_source(settings: CandidateSettings) -> list[DataSettings]:
    """The data settings once for each source, with the resolutions that are read from there."""
    by_source: dict[str, DataSettings] = {}
    for resolution in in_order(settings.data.resolutions):
        data = data_at(settings, resolution)
        data.resolutions = []
        by_source.setdefault(data.source, data).resolutions.append(resolution)
    return list(by_source.values())
