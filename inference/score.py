"""`pathoprog score`: slides in, per slide and per patient a class out. Running it again goes on where it stopped."""

from pathoprog.console import say
from pathoprog.device import dtype_name, resolve_device, resolve_dtype
from pathoprog.errors import ConfigError
from pathoprog.inference.batch import Batch, WriteError
from pathoprog.inference.config import ScoreConfig
from pathoprog.inference.inputs import SlideInput, slides_from_cohort, slides_from_paths
from pathoprog.inference.tables import remove_tables, summary, write_tables
from pathoprog.inference.work import make_plan


def run(config: ScoreConfig) -> int:
    """Score the slides; returns 0 if each is scored or honestly not reportable, 1 if some failed."""
    slides = read_slides(config)
    device = resolve_device(config.device)
    plan = make_plan(config, dtype_name(resolve_dtype(config.dtype, device)))
    batch = Batch(config, slides, plan, device)
    todo = batch.find_done()
    say(f"{len(slides)} slides: {len(slides) - len(todo)} done before and unchanged, {len(todo)} to score on {device}")
    if config.dry_run:
        for slide in todo:
            say(f"    {slide.slide_id}  {slide.path}")
        return 0
    remove_tables(batch.out)
    try:
        batch.score(todo)
    except WriteError as error:
        say(f"stopped: {error}")
        return 1
    patients = write_tables(batch)
    say(summary(batch, patients))
    return 1 if any(result["status"] == "failed" for result, _ in batch.done.values()) else 0


def read_slides(config: ScoreConfig) -> list[SlideInput]:
    """The slides that the call names, from its paths or its cohort."""
    if bool(config.paths) == bool(config.cohort):
        raise ConfigError("give either slides=… (files, folders, globs, a .txt list) or cohort=…")
    if config.cohort:
        return slides_from_cohort(config.cohort, config.overlap, config.roles)
    return slides_from_paths(config.paths, config.outlines)
