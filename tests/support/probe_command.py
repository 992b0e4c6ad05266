"""A command as small as can be, for the tests of the command line."""

from dataclasses import dataclass

from pathoprog.errors import InputError
from pathoprog.settings import setting


@dataclass
class Inner:
    """Nested settings."""

    workers: int = setting(2, "reader processes", low=1, high=64)
    lr: float = setting(0.1, "learning rate", low=0.0, open_low=True)
    mask: str = setting("", "a file", kind="path")


@dataclass
class ProbeConfig:
    """Settings with each kind of field."""

    inputs: list[str] = setting([], "files", kind="paths")
    table: str = setting("", "a table", kind="path")
    time: str = setting("", "a column", kind="name")
    covariates: list[str] = setting([], "columns", kind="names")
    policy: str = setting("tissue", "what is analysed", choices=("tissue", "outline"))
    seeds: list[int] = setting([0], "seeds", low=0)
    json: bool = setting(False, "print JSON")
    inner: Inner = setting(Inner(), "nested")
    copy: str = setting("${table}", "follows table")


@dataclass
class RequiredConfig:
    """Settings that need a value."""

    bundle: str = setting("", "the ensemble", kind="path", required=True)


def run(settings: ProbeConfig) -> int:
    """Print what came through; the number of seeds is the exit code."""
    print(settings.table)
    if settings.policy == "outline":
        raise InputError(f"{settings.table}: no outline; give policy=tissue")
    return len(settings.seeds)
