"""Settings of the audit log and of `pathoprog audit` (light)."""

from dataclasses import dataclass

from pathoprog.settings import setting


@dataclass
class AuditConfig:
    """`pathoprog audit`."""

    action: list[str] = setting([], "what to do: verify FILE, or head FILE", kind="names")
    head: str = setting(
        "", "head that was noted before, as SEQ:HASH; with it a log that was cut or made anew shows", kind="name"
    )


@dataclass
class AuditLogSettings:
    """The audit log of a service. Its closed files are kept for good."""

    most_mib: float = setting(
        64.0, "size at which a file of the audit log is closed and the next begins, MiB", low=0.01, high=65536
    )
