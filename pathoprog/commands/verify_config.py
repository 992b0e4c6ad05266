"""Settings of `pathoprog verify` and `pathoprog sign`."""

from dataclasses import dataclass

from pathoprog.settings import setting


@dataclass
class VerifyConfig:
    """What to verify."""

    bundle: str = setting("", "folder of the locked ensemble", kind="path", required=True)
    key: str = setting(
        "", "public key (PEM) that must have signed it; default: only check that it is whole and unchanged", kind="path"
    )
    encoder_weights: list[str] = setting(
        [], "encoder weights files to check, if the bundle names its encoders only by hash", kind="paths"
    )


@dataclass
class SignConfig:
    """What to sign."""

    bundle: str = setting("", "folder of the locked ensemble", kind="path", required=True)
    key: str = setting("", "private key (PEM, unencrypted, P-256, P-384 or P-521)", kind="path", required=True)
