"""A bundle's signature: made offline with the laboratory's own key, over every file (model-signing, OpenSSF).

`model_signing verify key BUNDLE --signature BUNDLE/signature.sig --public_key KEY` checks it too, without this project.
"""

import importlib
import importlib.util
from pathlib import Path
from typing import Any

from pathoprog.ensemble.bundle import SIGNATURE, verify
from pathoprog.errors import BundleError, ConfigError
from pathoprog.system.machine.extras import how_to_install, installed

KEY_HELP = (
    "openssl ecparam -name prime256v1 -genkey -noout -out private.pem; "
    "openssl ec -in private.pem -pubout -out public.pem"
)


def sign_bundle(folder: str | Path, private_key: str | Path) -> Path:
    """Sign a bundle, after checking that it is whole and unchanged.

    Args:
        folder: the bundle; an earlier signature is replaced.
        private_key: PEM file, an unencrypted key on the curve P-256, P-384 or P-521.

    Returns:
        The signature's file, in the bundle.

    Raises:
        BundleError: the bundle is not whole and unchanged.
        ConfigError: model-signing is not installed, or the key is none of these.
    """
    hashing, signing = _library("hashing"), _library("signing")
    folder = Path(folder)
    verify(folder)
    try:
        config = signing.Config().use_elliptic_key_signer(private_key=private_key)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ConfigError(_not_a_key(private_key, "private", error)) from error
    path = folder / SIGNATURE
    unfinished = folder.parent / f".{folder.name}.{SIGNATURE}.tmp"
    hashed = hashing.Config().set_ignored_paths(paths=[path], ignore_git_paths=False)
    config.set_hashing_config(hashed).sign(folder, unfinished)
    unfinished.replace(path)
    return path


def check_signature(folder: str | Path, public_key: str | Path) -> None:
    """Check that a bundle is the one that was signed with a key, file by file.

    Raises:
        BundleError: it has no signature, one of another key, one that is damaged, or one over other files.
        ConfigError: model-signing is not installed, or the key is none.
    """
    hashing, verifying = _library("hashing"), _library("verifying")
    from cryptography.exceptions import InvalidSignature

    folder = Path(folder)
    path = folder / SIGNATURE
    try:
        config = verifying.Config().use_elliptic_key_verifier(public_key=public_key)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ConfigError(_not_a_key(public_key, "public", error)) from error
    if path.is_symlink() or not path.is_file():
        raise BundleError(f"{folder}: refused: not signed ({SIGNATURE} is missing), and a key is required")
    hashed = hashing.Config().set_ignored_paths(paths=[path], ignore_git_paths=False)  # not what the signature says
    try:
        config.set_hashing_config(hashed).verify(folder, path)
    except InvalidSignature as error:
        raise BundleError(f"{folder}: refused: {SIGNATURE} was not made with the key of {public_key}") from error
    except Exception as error:  # the file may be anything, and the library lets through what its parsers raise
        text = " ".join(str(error).split())[:300] or type(error).__name__
        raise BundleError(f"{folder}: refused: {SIGNATURE} is not this bundle's: {text}") from error


def _library(module: str) -> Any:
    """A module of model-signing, which says that it has types, and has not."""
    if not installed("model_signing"):
        raise ConfigError(f"a key was given, but model-signing is not installed: {how_to_install('signing')}")
    return importlib.import_module(f"model_signing.{module}")


def _not_a_key(path: str | Path, kind: str, error: Exception) -> str:
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
    return f"{path}: no {kind} key as PEM, unencrypted, on P-256, P-384 or P-521 ({reason}); to make one: {KEY_HELP}"
