"""Settings of `pathoprog audit` (light)."""

from dataclasses import dataclass

from pathoprog.settings import setting


@dataclass
class AuditConfig:
    """`pathoprog audit`."""

    action: list[str] = setting([], "what to do: verify FILE, or head FILE", kind="names")
    head: str = setting(
        "", "head that was noted before, as SEQ:HASH; with it a log that was cut or made anew shows", kind="name"
    )
