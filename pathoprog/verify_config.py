"""Settings of `pathoprog verify`."""

from dataclasses import dataclass

from pathoprog.settings import setting


@dataclass
class VerifyConfig:
    """What to verify."""

    bundle: str = setting("", "folder of the locked ensemble", kind="path", required=True)
