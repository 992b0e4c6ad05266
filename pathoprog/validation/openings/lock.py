"""The lock: a hash over everything that a validation rests on, made before the outcomes are opened.

It covers plan, bundle, code, cohort, scores, exclusions and settings, the date, and the chain of amendments: each keeps
the lock that it replaced, so that a thing restored does not restore the lock's hash. The openings have a register of
their own (`pathoprog.validation.openings.register`). A local lock proves little to others; its hash, deposited publicly
before the first opening, proves much.
"""

from functools import cache
from pathlib import Path
from typing import Any

import pathoprog
from pathoprog.errors import LockError
from pathoprog.system.files import read_json, sha256_file, sha256_value, write_json
from pathoprog.validation.openings.register import now

FORMAT = 2
"""1 (without the key ``format``): over the parts alone; the code's hash left out validation/, and no date was kept."""
PARTS = {
    "plan": "the analysis plan",
    "bundle": "the bundle (weights, thresholds, tiles)",
    "code": "the code",
    "cohort": "the cohort table",
    "scores": "the patients' scores",
    "exclusions": "the exclusions",
    "settings": "the settings (permutations, seed)",
}
SHOWN = {
    "flow": "the clinical sheet's flow",
    "truth": "the simulation's truth",
    "study": "the facts that the authors state",
}
"""Further inputs: the lock does not hold them, each opening keeps their hash; a change is shown, and stops nothing."""
OLDER = "the code (the lock was made by an older version, whose hash of the code cannot be compared)"
DOORS_WITHOUT = ("training", "inference", "configs")
"""Parts of the package that a validation cannot import."""


@cache
def code_version() -> dict[str, str]:
    """The software's version and the hash of all source files that a validation can run through, at the first call.

    That is the whole library (statistics, validation, cohort tables, reports with their templates) and the
    statisticians' door.
    """
    digest = sha256_value({name: sha256_file(path) for name, path in source_files().items()})
    return {"version": pathoprog.__version__, "sha256": digest}


def source_files() -> dict[str, Path]:
    """The files that `code_version` hashes, by their name within the package."""
    root = Path(pathoprog.__file__).parent
    found = [*root.rglob("*"), *(root / "cohorts").rglob("*")]  # rglob may or may not follow the links of the doors
    names = {path.relative_to(root).as_posix(): path for path in found if path.suffix in (".py", ".j2", ".css")}
    return {name: path for name, path in sorted(names.items()) if name.split("/")[0] not in DOORS_WITHOUT}


def lock(
    path: Path,
    hashes: dict[str, str],
    amend: str = "",
    plan: str = "",
    openings: int = 0,
    differences: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Make the lock, or find it unchanged.

    Args:
        path: where the lock lies or will lie.
        hashes: SHA-256 of every one of `PARTS`.
        amend: why something locked has changed; makes a new lock that keeps the old one and this reason.
        plan: the analysis plan's text, which the lock keeps.
        openings: how often the outcomes were opened so far.
        differences: by part, in what it differs from what was frozen, in words.

    Returns:
        The lock: ``format, utc, hashes, plan, amendments``, and ``sha256`` over them. An amendment holds the hash that
        it ``replaces`` and, as ``replaced``, what that stood for; what ``changed`` and in what (``differences``), the
        ``reason``, its ``utc`` and ``after_opening``, how often the outcomes had been opened by then.

    Raises:
        LockError: names what has changed since the lock; or the lock was edited.
    """
    assert hashes.keys() == PARTS.keys()
    fresh: dict[str, Any] = {"format": FORMAT, "utc": now(), "hashes": hashes, "plan": plan, "amendments": []}
    before = read_lock(path)
    if before is not None:
        changed = _changes(before, hashes)
        if not changed:
            return before
        if not amend.strip():
            raise LockError(
                f"{path}: changed since the lock: {', '.join(changed.values())}. Restore it; or validate in another "
                "folder and report both; or say why with amend='…', which the report then shows"
            )
        kept = {key: before[key] for key in ("format", "utc", "hashes", "plan") if key in before}
        amendment = {
            "utc": fresh["utc"],
            "after_opening": openings,
            "replaces": before["sha256"],
            "replaced": kept,
            "changed": list(changed.values()),
            "differences": {part: text for part, text in (differences or {}).items() if part in changed},
            "reason": amend.strip(),
        }
        fresh["amendments"] = [*before["amendments"], amendment]
    fresh["sha256"] = _sha256(fresh)
    write_json(path, fresh)
    return fresh


def read_lock(path: Path) -> dict[str, Any] | None:
    """The lock as it lies there, its chain of amendments checked back to the first; None where there is none.

    Raises:
        LockError: it was edited, or made by a newer version.
    """
    if not path.is_file():
        return None
    edited = LockError(f"{path}: the lock was edited: its hash is not that of its parts. Restore it")
    try:
        found: dict[str, Any] = read_json(path)
        if found.get("format", 1) not in (1, FORMAT):
            raise LockError(f"{path}: a lock of format {found['format']}, this version reads 1 and {FORMAT}")
        if _sha256(found) != found["sha256"]:
            raise edited
        amendments = found["amendments"]
        for place, entry in enumerate(amendments):
            if (
                "replaced" in entry
                and _sha256({**entry["replaced"], "amendments": amendments[:place]}) != (entry["replaces"])
            ):
                raise edited
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise edited from error
    return found


def chain_of(locked: dict[str, Any]) -> list[str]:
    """The hashes of a lock and of those that it replaced, the first one first."""
    return [*(entry["replaces"] for entry in locked["amendments"]), locked["sha256"]]


def _sha256(locked: dict[str, Any]) -> str:
    if "format" not in locked:
        return sha256_value(locked["hashes"])
    return sha256_value({key: value for key, value in locked.items() if key != "sha256"})


def _changes(before: dict[str, Any], hashes: dict[str, str]) -> dict[str, str]:
    """What has changed, in words, by part; a lock of an older format knew no settings and hashed less of the code."""
    old = before["hashes"]
    changed = {part: text for part, text in PARTS.items() if old.get(part) != hashes[part]}
    if "format" not in before:
        changed.pop("settings", None)
        changed["code"] = OLDER
    return changed
