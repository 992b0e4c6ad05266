"""Variables of the environment that dependencies read when they are imported."""

import os

TELEMETRY = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
OFFLINE = {"HF_HUB_OFFLINE": "1"}


def quiet_dependencies(own_process: bool = True) -> None:
    """Switch the telemetry of dependencies off, before any of them is imported.

    Args:
        own_process: whether it is a command's, which downloads nothing; another program's, which calls our Python API,
            may.
    """
    for key, value in (TELEMETRY | OFFLINE if own_process else TELEMETRY).items():
        os.environ.setdefault(key, value)
