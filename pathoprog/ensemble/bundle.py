"""The bundle on disk: a locked ensemble as a folder whose manifest holds the hash of every other file. No torch.

``manifest.json`` (members, thresholds, tile specs, cohorts, code version, files), ``members/*.safetensors``,
``tumour.safetensors`` where it holds a network that outlines, ``encoders/*.safetensors`` where members take features
(`pathoprog.networks.encoder_records`), ``model_card.md`` and whatever else the lock took in. The ensemble's id is the
SHA-256 of the manifest, so any change of weights or thresholds is another ensemble.
"""

import shutil
import stat
from pathlib import Path, PurePosixPath
from typing import Any

from pathoprog.ensemble.tuning_basis import TUNING_SCORES, basis_problems
from pathoprog.errors import BundleError, LockError
from pathoprog.networks.encoder_records import ENCODERS, encoder_problems
from pathoprog.slides.resolutions import RESOLUTIONS
from pathoprog.system.files import canonical_json, read_json, sha256_file, sync_folder, write_text

FORMAT = 3
"""Says what the thresholds rest on and in which precision slides are scored (`ensemble.tuning_basis`): versions that
know less refuse it."""
EARLIER, EARLIER_ON_FEATURES = 1, 2
"""Of earlier versions: whole networks alone; with members that take features."""
MANIFEST = "manifest.json"
MEMBERS_PER_RESOLUTION = 5
MAX_MANIFEST_BYTES = 64 * 2**20
SIGNATURE = "signature.sig"
"""The only file that may lie in a bundle without a hash in the manifest: it is made over the manifest."""


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """Read a bundle's manifest and check its form (not the files; see `verify`).

    Raises:
        BundleError: no bundle there, an unknown format, or a manifest that lacks what every bundle has.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise BundleError(f"{folder}: no bundle there ({MANIFEST} is missing)")
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise BundleError(f"{path}: larger than any manifest")
    try:
        manifest = read_json(path)
    except (ValueError, UnicodeDecodeError) as error:
        raise BundleError(f"{path}: not JSON ({error})") from error
    found = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
    if not isinstance(manifest, dict) or found != _format_of(manifest):
        raise BundleError(f"{path}: format {found!r}, this version reads {EARLIER} to {FORMAT}")
    missing = {"members", "thresholds", "tile_specs", "aggregation", "tumour_policy", "files"} - manifest.keys()
    if missing:
        raise BundleError(f"{path}: lacks {', '.join(sorted(missing))}")
    return manifest


def _format_of(manifest: dict[str, Any]) -> int:
    if TUNING_SCORES in manifest:
        return FORMAT
    return EARLIER_ON_FEATURES if manifest.get(ENCODERS) else EARLIER


def ensemble_id(folder: str | Path) -> str:
    """The ensemble's id: SHA-256 of its manifest's bytes, hexadecimal."""
    return sha256_file(Path(folder) / MANIFEST)


def verify(folder: str | Path) -> dict[str, Any]:
    """Check that a bundle is whole and unchanged.

    Returns:
        The manifest.

    Raises:
        BundleError: lists every file that is missing, altered, a link, outside the folder, or not in the manifest.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    problems = []
    for name, digest in sorted(manifest["files"].items()):
        pure = PurePosixPath(name)
        path = folder / name
        if pure.is_absolute() or ".." in pure.parts or "\\" in name:
            problems.append(f"{name}: leads out of the bundle")
        elif path.is_symlink() or any(
            parent.is_symlink() for parent in path.relative_to(folder).parents if parent.name
        ):
            problems.append(f"{name}: is a link")
        elif not path.exists():
            problems.append(f"{name}: missing")
        elif not stat.S_ISREG(path.stat().st_mode):
            problems.append(f"{name}: not a regular file")
        elif sha256_file(path) != digest:
            problems.append(f"{name}: altered (its SHA-256 is not the manifest's)")
    known = {MANIFEST, SIGNATURE, *manifest["files"]}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            problems.append(f"{name}: is a link") if name not in manifest["files"] else None  # of those it was said
        elif name == SIGNATURE and not path.is_file():
            problems.append(f"{name}: not a regular file")
        elif not path.is_dir() and name not in known:
            problems.append(f"{name}: not in the manifest")
    problems += _member_problems(manifest) + encoder_problems(manifest) + basis_problems(manifest)
    if problems:
        raise BundleError(f"{folder}: refused\n  " + "\n  ".join(problems))
    return manifest


def _member_problems(manifest: dict[str, Any]) -> list[str]:
    problems = []
    if "tumour" in manifest and manifest["tumour"]["file"] not in manifest["files"]:
        problems.append(f"tumour network: its file {manifest['tumour']['file']} is not among the hashed files")
    for resolution in RESOLUTIONS:
        members = [member for member in manifest["members"] if member["resolution"] == resolution]
        if len(members) != MEMBERS_PER_RESOLUTION:
            problems.append(f"{len(members)} members at {resolution}, needs {MEMBERS_PER_RESOLUTION}")
        problems += [
            f"{member['name']}: its file {member['file']} is not among the hashed files"
            for member in members
            if manifest["files"].get(member["file"]) != member["sha256"]
        ]
        if not 0.0 <= float(manifest["thresholds"].get(resolution, {}).get("value", -1.0)) <= 1.0:
            problems.append(f"no threshold in [0, 1] at {resolution}")
    return problems


def _same_but_for_code(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two manifests lock the same: newer code that makes the same weights and thresholds changes nothing."""
    return {**one, "code_version": ""} == {**other, "code_version": ""}


def _write(staging: Path, manifest: dict[str, Any], files: dict[str, Path | str]) -> None:
    for name, source in files.items():
        target = staging / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source, Path):
            shutil.copyfile(source, target)
        else:
            write_text(target, source)
    hashes = {name: sha256_file(staging / name) for name in files}
    whole = {**manifest, "format": _format_of(manifest), "files": hashes}
    for member in whole["members"]:
        member["sha256"] = hashes[member["file"]]
    write_text(staging / MANIFEST, canonical_json(whole))


def lock(folder: str | Path, manifest: dict[str, Any], files: dict[str, Path | str]) -> str:
    """Write a bundle, whole or not at all, and never over another one.

    Args:
        folder: where the bundle will be; must not exist yet, unless it is this same bundle.
        manifest: everything but ``format`` and ``files``, which are added here.
        files: name in the bundle -> a file to copy, or text to write.

    Returns:
        The ensemble's id.

    Raises:
        LockError: another bundle is locked there, or it cannot be written.
    """
    folder = Path(folder)
    staging = folder.with_name(f".{folder.name}.locking")
    if staging.exists():
        shutil.rmtree(staging)
    try:
        _write(staging, manifest, files)
    except OSError as error:
        shutil.rmtree(staging, ignore_errors=True)
        raise LockError(f"{folder}: cannot be written ({error.strerror or error}); nothing was locked") from error
    if folder.exists():
        same = (folder / MANIFEST).is_file() and _same_but_for_code(read_manifest(folder), read_manifest(staging))
        shutil.rmtree(staging)
        if not same:
            raise LockError(
                f"{folder}: holds a locked bundle; a lock is never rewritten, only superseded: give another out=…"
            )
        verify(folder)
        return ensemble_id(folder)
    staging.rename(folder)
    sync_folder(folder.parent)
    verify(folder)
    return ensemble_id(folder)
