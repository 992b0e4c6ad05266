"""`pathoprog verify BUNDLE`: is a locked ensemble whole, unchanged, and signed?"""

from pathlib import Path

from pathoprog import RESEARCH_USE_ONLY
from pathoprog.cohort_tables.same_scan import read_development
from pathoprog.commands.verify_config import VerifyConfig
from pathoprog.ensemble.bundle import SIGNATURE, ensemble_id, verify
from pathoprog.ensemble.signature import check_signature
from pathoprog.ensemble.tuning_basis import basis_line, locked_precision
from pathoprog.networks.encoder_records import by_weights, encoder_lines, weights_by_hash
from pathoprog.networks.foreign.maker import maker_lines
from pathoprog.system.console import say


def run(settings: VerifyConfig) -> int:
    """Verify every file's hash, with a key the signature too, and print what the bundle is; refused: exit code 2."""
    manifest = verify(settings.bundle)
    if settings.key:
        check_signature(settings.bundle, settings.key)
    wanted = by_weights((manifest.encoders or {}).values())
    checked = weights_by_hash(settings.encoder_weights, wanted)
    say(f"ensemble {ensemble_id(settings.bundle)}")
    say(f"  {len(manifest.files)} files, all as locked; format {manifest.format}")
    if caution := manifest.shape.caution:
        say(f"  {caution}")
    for resolution in manifest.shape.resolutions:
        members = [member.name for member in manifest.members_at(resolution)]
        threshold = manifest.thresholds[resolution].value
        say(f"  {resolution}: {len(members)} members ({', '.join(members)}), threshold {threshold:.4f}")
    for line in (*encoder_lines(manifest.encoders), *maker_lines(manifest.other_features)):
        say(f"  {line}")
    for digest, path in checked.items():
        say(f"  {path}: the weights of {wanted[digest].encoder}, by their hash")
    say(f"  signature: {_signature(settings)}")
    say(f"  {basis_line(manifest)}")
    say(f"  slides are scored in: {locked_precision(manifest) or 'not said (bf16 on a GPU that has it, else fp32)'}")
    say(f"  slides of one patient: {manifest.aggregation}; tumour area: {manifest.tumour_policy}")
    development = read_development(settings.bundle)
    kept = 0 if development is None else sum(len(one["sha256"]) for one in development["sets"])
    say(f"  development slides kept by the hash of their content: {kept or 'none (locked by an older version)'}")
    if manifest.same_scores is not None:
        say(f"  {manifest.same_scores.says()}")
    if manifest.covariates is not None:
        say(f"  clinical covariates: {manifest.covariates.says()}")
    if manifest.tumour is not None:
        say(f"  tumour network: Dice on tuning {manifest.tumour.tuning_dice:.3f}")
    if (parent := manifest.parent) is not None:
        say(f"  fine-tuned from {parent.name} ({parent.ensemble_id[:16]}), whose validation does not hold for it")
    say(RESEARCH_USE_ONLY)
    return 0


def _signature(settings: VerifyConfig) -> str:
    if settings.key:
        return f"made with the key of {settings.key}"
    there = (Path(settings.bundle) / SIGNATURE).is_file()
    return "there, not checked (give key=public.pem)" if there else "none"
