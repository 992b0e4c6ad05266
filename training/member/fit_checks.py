"""Settings of a training that contradict one another, found before any work."""

from pathoprog.errors import ConfigError
from pathoprog.networks.config import LOSSES, NO_ENCODER
from pathoprog.networks.poolings.pooling import ORDER, pooling_class
from pathoprog.training.config import CandidateSettings


def check_fit(settings: CandidateSettings) -> None:
    """Refuse settings that contradict each other, before any work.

    Raises:
        ConfigError: names the keys.
    """
    fit = settings.fit
    loss = LOSSES[fit.loss]
    if loss.head != settings.network.head:
        raise ConfigError(f"fit.loss={fit.loss} needs network.head={loss.head}, not {settings.network.head}")
    parts = max(1, fit.gpus) * fit.accumulate
    if fit.patients_per_step % parts:
        named = f"fit.accumulate={fit.accumulate}" + (f" times fit.gpus={fit.gpus}" if fit.gpus > 1 else "")
        raise ConfigError(f"{named}: must divide fit.patients_per_step={fit.patients_per_step}")
    check_bags(settings)
    if loss.head == "hazards":
        cuts = fit.interval_years
        if len(cuts) != settings.network.intervals - 1 or cuts != sorted(set(cuts)):
            raise ConfigError(
                f"fit.interval_years={cuts}: needs {settings.network.intervals - 1} rising values"
                f" (network.intervals={settings.network.intervals} less one)"
            )


def check_bags(settings: CandidateSettings) -> None:
    """Refuse bags that the pooling cannot learn from, and whole bags of what is too large for them.

    Raises:
        ConfigError: names the keys.
    """
    fit, network = settings.fit, settings.network
    whole = "fit.tiles_per_patient=0 network.encoder=none data.source=features (docs/poolings.md)"
    if pooling_class(network.pooling).needs == ORDER:
        if fit.tiles_per_patient or network.encoder != NO_ENCODER:
            raise ConfigError(f"network.pooling={network.pooling} learns from whole bags, in their order: give {whole}")
        if fit.evaluate_tiles:
            raise ConfigError(
                f"network.pooling={network.pooling} is judged on whole bags: give fit.evaluate_tiles=0, not"
                f" {fit.evaluate_tiles}"
            )
    elif not fit.tiles_per_patient and network.encoder != NO_ENCODER:
        raise ConfigError(
            f"fit.tiles_per_patient=0: whole bags are trained on stored features alone, {whole}; with"
            f" network.encoder={network.encoder} give the number of tiles to draw"
        )
