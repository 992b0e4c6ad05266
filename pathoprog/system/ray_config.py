"""Settings of work over many machines by Ray (light)."""

from dataclasses import dataclass

from pathoprog.settings import setting


@dataclass
class RaySettings:
    """Which Ray cluster does the work, where `engine=ray`."""

    address: str = setting(
        "", "HOST:PORT of a running Ray cluster that this machine belongs to; default: this machine only", kind="name"
    )
