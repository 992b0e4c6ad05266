"""`pathoprog sign BUNDLE key=private.pem`: sign a locked ensemble with one's own key, offline."""

from pathoprog import RESEARCH_USE_ONLY
from pathoprog.commands.verify_config import SignConfig
from pathoprog.ensemble.bundle import ensemble_id
from pathoprog.ensemble.signature import sign_bundle
from pathoprog.system.console import say


def run(settings: SignConfig) -> int:
    """Verify the bundle, and write its signature beside the manifest."""
    path = sign_bundle(settings.bundle, settings.key)
    say(f"ensemble {ensemble_id(settings.bundle)}: signed, {path}")
    say("  to use only what this key has signed: pathoprog score … key=public.pem; pathoprog verify … key=public.pem")
    say(RESEARCH_USE_ONLY)
    return 0
