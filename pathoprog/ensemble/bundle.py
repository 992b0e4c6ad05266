"""The bundle on disk: a locked ensemble as a folder whose manifest holds the hash of every other file. No torch.

``manifest.json`` (`pathoprog.ensemble.manifest`), ``members/*.safetensors``,
``tumour.safetensors`` where it holds a network that outlines, ``encoders/*.safetensors`` where members take features
(`pathoprog.networks.encoder_records`), ``model_card.md`` and whatever else the lock took in. The ensemble's id is the
SHA-256 of the manifest, so any change of weights or thresholds is another ensemble.
"""

import contextlib
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from pathoprog.ensemble.manifest import Manifest, manifest_of, manifest_text
from pathoprog.ensemble.manifest_checks import manifest_problems
from pathoprog.errors import BundleError, LockError
from pathoprog.system.files import read_json, sha256_file, sync_folder, write_text
from pathoprog.system.records import RecordError

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 64 * 2**20
SIGNATURE = "signature.sig"
"""The only file that may lie in a bundle without a hash in the manifest: it is made over the manifest."""


def read_manifest(folder: str | Path) -> Manifest:
    """Read a bundle's manifest and check its form (not the files; see `verify`).

    Raises:
        BundleError: no bundle there, an unknown format, or a manifest that lacks what every bundle has, or holds a
            value of another type; says what and where.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise BundleError(f"{folder}: no bundle there ({MANIFEST} is missing)")
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise BundleError(f"{path}: larger than any manifest")
    try:
        return manifest_of(read_json(path))
    except RecordError as error:
        raise BundleError(f"{path}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: not JSON ({error})") from error


def ensemble_id(folder: str | Path) -> str:
    """The ensemble's id: SHA-256 of its manifest's bytes, hexadecimal."""
    return sha256_file(Path(folder) / MANIFEST)


def verify(folder: str | Path) -> Manifest:
    """Check that a bundle is whole and unchanged.

    Returns:
        The manifest.

    Raises:
        BundleError: lists every file that is missing, altered, a link, outside the folder, or not in the manifest.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    problems = []
    for name, digest in sorted(manifest.files.items()):
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
    known = {MANIFEST, SIGNATURE, *manifest.files}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            problems.append(f"{name}: is a link") if name not in manifest.files else None  # of those it was said
        elif name == SIGNATURE and not path.is_file():
            problems.append(f"{name}: not a regular file")
        elif not path.is_dir() and name not in known:
            problems.append(f"{name}: not in the manifest")
    problems += manifest_problems(manifest)
    if problems:
        raise BundleError(f"{folder}: refused\n  " + "\n  ".join(problems))
    return manifest


def _same_but_for_code(one: Manifest, other: Manifest) -> bool:
    """Whether two manifests lock the same: newer code that makes the same weights and thresholds changes nothing."""
    return replace(one, code_version=None) == replace(other, code_version=None)


def _write(staging: Path, manifest: Manifest, files: Mapping[str, Path | str]) -> None:
    for name, source in files.items():
        target = staging / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source, Path):
            shutil.copyfile(source, target)
        else:
            write_text(target, source)
    hashes = {name: sha256_file(staging / name) for name in files}
    members = tuple(replace(member, sha256=hashes[member.file]) for member in manifest.members)
    write_text(staging / MANIFEST, manifest_text(replace(manifest, members=members, files=hashes)))


def lock(folder: str | Path, manifest: Manifest, files: Mapping[str, Path | str]) -> str:
    """Write a bundle, whole or not at all, and never over another one.

    Args:
        folder: where the bundle will be; must not exist yet, unless it is this same bundle.
        manifest: of the bundle to be; `files` and the hashes of the members are those of the files, whatever it says.
        files: name in the bundle -> a file to copy, or text to write.

    Returns:
        The ensemble's id.

    Raises:
        LockError: another bundle is locked there, or it cannot be written.
    """
    folder = Path(folder)
    with _one_at_a_time(folder):
        return _locked(folder, manifest, files)


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Let locks that lie beside each other wait, so that none takes another's half-written files for leftovers."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder.parent, os.O_RDONLY)
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _unwritable(folder: Path, error: OSError) -> LockError:
    return LockError(f"{folder}: cannot be written ({error.strerror or error}); nothing was locked")


def _locked(folder: Path, manifest: Manifest, files: Mapping[str, Path | str]) -> str:
    staging = folder.with_name(f".{folder.name}.locking")
    if staging.exists():
        shutil.rmtree(staging)
    try:
        _write(staging, manifest, files)
    except OSError as error:
        shutil.rmtree(staging, ignore_errors=True)
        raise _unwritable(folder, error) from error
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
