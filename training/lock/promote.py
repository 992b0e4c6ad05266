"""`pathoprog promote BUNDLE`: say in MLflow's registry which ensemble is the champion; no other command does."""

from dataclasses import replace

from pathoprog.ensemble.bundle import ensemble_id, verify
from pathoprog.errors import ConfigError
from pathoprog.system.console import say
from pathoprog.training.config import PromoteConfig
from pathoprog.training.tracking import Tracking


def run(settings: PromoteConfig) -> int:
    """Verify the bundle, then give its registered version the alias."""
    verify(settings.bundle)
    if settings.track.tracking == "none":
        raise ConfigError("track.tracking=none: there is no registry to write to")
    tracking = Tracking(replace(settings.track, tracking="mlflow"))  # without MLflow there is nothing to do
    version, before = tracking.promote(ensemble_id(settings.bundle), settings.alias)
    say(f"{settings.alias}: {version}{f' (before: version {before})' if before else ''}")
    return 0
