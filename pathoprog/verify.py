"""`pathoprog verify BUNDLE`: is a locked ensemble whole and unchanged?"""

from pathoprog import RESEARCH_USE_ONLY
from pathoprog.bundle import ensemble_id, verify
from pathoprog.console import say
from pathoprog.verify_config import VerifyConfig


def run(settings: VerifyConfig) -> int:
    """Verify every file's hash and print what the bundle is; a refusal is an error (exit code 2)."""
    manifest = verify(settings.bundle)
    say(f"ensemble {ensemble_id(settings.bundle)}")
    say(f"  {len(manifest['files'])} files, all as locked; format {manifest['format']}")
    for resolution in ("10x", "40x"):
        members = [member["name"] for member in manifest["members"] if member["resolution"] == resolution]
        threshold = manifest["thresholds"][resolution]["value"]
        say(f"  {resolution}: {len(members)} members ({', '.join(members)}), threshold {threshold:.4f}")
    say(f"  slides of one patient: {manifest['aggregation']}; tumour area: {manifest['tumour_policy']}")
    say(RESEARCH_USE_ONLY)
    return 0
    if "tumour" in manifest:
        say(f"  tumour network: Dice on tuning {manifest['tumour']['tuning_dice']:.3f}")
    if "parent" in manifest:
        parent = manifest["parent"]
        say(f"  fine-tuned from {parent['name']} ({parent['ensemble_id'][:16]}), whose validation does not hold for it")
