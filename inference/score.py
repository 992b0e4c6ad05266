"""`pathoprog score`: slides in, per slide and per patient a class out. Running it again goes on where it stopped."""

from pathoprog.bundle import read_manifest
from pathoprog.bundle_basis import locked_precision, older_lock
from pathoprog.console import say, warn
from pathoprog.errors import ConfigError
from pathoprog.files import write_json
from pathoprog.inference.batch import Batch
from pathoprog.inference.config import ScoreConfig
from pathoprog.inference.inputs import SlideInput, slides_from_cohort, slides_from_paths, with_corrections
from pathoprog.inference.jobs import DONE, FAILED
from pathoprog.inference.ledger import WriteError
from pathoprog.inference.tables import remove_tables, summary, summary_text, write_tables
from pathoprog.inference.work import make_plan
from pathoprog.report.wording import count

STOPPED = 143
"""Exit code after SIGTERM, as shells give it."""


def run(config: ScoreConfig) -> int:
    """Score the slides; returns 0 if each is scored or honestly not reportable, 1 if some failed."""
    slides = read_slides(config)
    from pathoprog.device import dtype_name, resolve_device, scoring_dtype, worker_devices  # torch takes a while

    device = resolve_device(config.device)
    where = "Ray" if config.engine == "ray" else ", ".join(worker_devices(config.device, config.workers))
    manifest = read_manifest(config.ensemble)
    plan = make_plan(config, dtype_name(scoring_dtype(config.dtype, device, locked_precision(manifest))))
    if older := older_lock(manifest):
        warn(f"{config.ensemble}: {older}")
    slides = with_corrections(slides, config.corrected_outlines, plan.tumour_policy)
    batch = Batch(config, slides, plan, str(device))
    standing = batch.look()
    done = sum(job.state in (DONE, FAILED) for job in standing.values())
    failed = sum(job.state == FAILED for job in standing.values())
    of_them = f" ({failed} of them failed)" if failed else ""
    say(
        f"{count(len(slides), 'slide')}: {done} done before and unchanged{of_them}, "
        f"{len(slides) - done} to score on {where}"
    )
    if config.dry_run:
        for slide in slides:
            if slide.slide_id not in standing:
                say(f"    {slide.slide_id}  {slide.path}")
        return 0
    remove_tables(batch.out)
    try:
        if not batch.score():
            say("stopped; what is done is kept, the same command goes on")
            return STOPPED
        results, patients = write_tables(batch)
        values = summary(batch, results, patients)
        write_json(batch.out / "summary.json", values)
    except (WriteError, OSError) as error:
        say(f"stopped: {error}")
        return 1
    say(summary_text(batch.out, values))
    return 1 if any(result["status"] == "failed" for _, result, _ in results) else 0


def read_slides(config: ScoreConfig) -> list[SlideInput]:
    """The slides that the call names, from its paths or its cohort."""
    if bool(config.paths) == bool(config.cohort):
        raise ConfigError("give either slides=… (files, folders, globs, a .txt list) or cohort=…")
    if config.cohort:
        return slides_from_cohort(config.cohort, config.overlap, config.roles)
    return slides_from_paths(config.paths, config.outlines)
