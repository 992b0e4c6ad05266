"""`pathoprog simulate`: made-up patients, their slides and outcomes, and the truth behind them."""

import dataclasses
import multiprocessing
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import pandas as pd

from pathoprog import RESEARCH_USE_ONLY
from pathoprog.cohort_tables.roles import ROLES
from pathoprog.settings import as_dict
from pathoprog.simulate.config import SimulateConfig
from pathoprog.simulate.drawing import SlideTask, code_hash, draw_slide, slide_files
from pathoprog.simulate.patients import plan_slides, simulate_patients
from pathoprog.survival import harrell_c
from pathoprog.system.children import without_the_caller_s_script
from pathoprog.system.console import progress, say
from pathoprog.system.csv_files import write_frame
from pathoprog.system.files import read_json, sha256_file, sha256_value, write_json
from pathoprog.system.machine.cores import cores
from pathoprog.text.wording import count

STATE = "simulate.json"
SAVE_EVERY = 20  # slides drawn between two saves of the state

COHORT_COLUMNS = (
    "patient_id", "slide_id", "slide_path", "outline_path", "block_id", "cohort", "role", "prep_site", "scan_site",
    "scanner", "organ", "specimen", "stain", "neoadjuvant", "age", "sex", "pT", "pN", "nodes_sampled", "grade",
    "stage", "location", "treatment",
)  # fmt: skip
OUTCOMES = ("followup_days", "event", "disease_free_days", "disease_free_event")
PATIENT_TRUTH = (
    "followup_days", "event", "distinct_outcome", "architecture", "nuclei", "log_hazard", "treatment_log_hazard",
    "cancer_death_days", "other_death_days",
)  # fmt: skip
SLIDE_TRUTH = ("mpp", "tumour_area_um2", "tissue_area_um2", "haematoxylin_amount", "eosin_amount")


def run(settings: SimulateConfig) -> int:
    """Write ``cohort.csv, outcomes.csv, truth.csv, overlap.json``, the slides and the tumours' outlines.

    Slides that an earlier call drew with the same settings and code are kept if their bytes are unchanged.
    """
    out = Path(settings.out)
    patients = simulate_patients(settings)
    slides = plan_slides(settings, patients)
    say(f"simulate: {count(len(patients), 'patient')}, {count(len(slides), 'slide')} into {out}")
    facts = _draw_slides(settings, slides, out)
    _write_tables(settings, patients, slides, facts, out)
    return 0


def _tasks(settings: SimulateConfig, slides: pd.DataFrame) -> list[SlideTask]:
    return [
        SlideTask(
            slide_id=slide["slide_id"],
            seed=settings.seed,
            key=(20, *slide["slide_id"].encode()),
            architecture=slide["architecture"],
            nuclei=slide["nuclei"],
            laboratory=slide["prep_site"],
            scanner=slide["scanner"],
            field_um=settings.field_um,
            jpeg_quality=settings.jpeg_quality,
        )
        for slide in slides.to_dict("records")
    ]


def _draw_slides(settings: SimulateConfig, slides: pd.DataFrame, out: Path) -> dict[str, dict[str, Any]]:
    """Draw what is not there yet; per slide its recorded facts."""
    tasks = {task.slide_id: task for task in _tasks(settings, slides)}
    code = code_hash()
    keys = {name: sha256_value({"code": code, **dataclasses.asdict(task)}) for name, task in tasks.items()}
    before = read_json(out / STATE)["slides"] if (out / STATE).is_file() else {}
    facts = {name: before[name] for name in tasks if name in before and _valid(out, name, before[name], keys[name])}
    for name in sorted(set(before) - set(tasks)):  # of other settings: no table names them any more
        for path in slide_files(out, name):
            path.unlink(missing_ok=True)
    if facts:
        say(f"    {len(facts)} slides are valid and kept")
    missing = [task for name, task in tasks.items() if name not in facts]
    if missing:  # a cohort that is there is complete
        (out / "cohort.csv").unlink(missing_ok=True)

    def save() -> None:
        write_json(out / STATE, {"settings": _lasting(settings), "code": code, "slides": facts})

    try:
        with progress("slides drawn", len(missing), "slides") as bar:
            for name, drawn in _draw_all(missing, out, settings.workers):
                facts[name] = {"key": keys[name], **drawn}
                bar.advance()
                if len(facts) % SAVE_EVERY == 0:
                    save()
    finally:
        save()
    return facts


def _draw_all(tasks: list[SlideTask], out: Path, workers: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Draw slides on several processes, yielding each as it is done."""
    workers = min(workers or cores(), len(tasks))
    if workers <= 1:
        for task in tasks:
            yield draw_slide(task, str(out))
        return
    # Spawned: what a forked child inherits (threads of libraries) may hang it.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=_leave_interrupts_to_the_parent) as pool:
        with without_the_caller_s_script():
            futures = [pool.submit(draw_slide, task, str(out)) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _valid(out: Path, slide_id: str, fact: dict[str, Any], key: str) -> bool:
    """Whether a slide was drawn from the same task and code, and is unchanged."""
    slide_path, outline_path = slide_files(out, slide_id)
    return (
        fact["key"] == key
        and slide_path.is_file()
        and outline_path.is_file()
        and fact["sha256"] == sha256_file(slide_path)
        and fact["outline_sha256"] == sha256_file(outline_path)
    )


def _lasting(settings: SimulateConfig) -> dict[str, Any]:
    """The settings that results depend on."""
    return {name: value for name, value in as_dict(settings).items() if name not in ("out", "workers")}


def _write_tables(
    settings: SimulateConfig,
    patients: pd.DataFrame,
    slides: pd.DataFrame,
    facts: dict[str, dict[str, Any]],
    out: Path,
) -> None:
    slides = slides.assign(
        slide_path=[f"slides/{name}.tif" for name in slides["slide_id"]],
        outline_path=[f"outlines/{name}.geojson" for name in slides["slide_id"]],
    )
    patient_columns = [name for name in COHORT_COLUMNS if name not in slides]
    cohort = slides.merge(patients[["patient_id", *patient_columns]], on="patient_id", validate="many_to_one")
    write_frame(out / "cohort.csv", cohort[list(COHORT_COLUMNS)])
    write_frame(out / "outcomes.csv", patients[["patient_id", *OUTCOMES]])

    hidden = patients[["patient_id", *PATIENT_TRUTH]].rename(
        columns={name: f"patient_{name}" for name in ("architecture", "nuclei")}
    )
    truth = slides.rename(columns={name: f"slide_{name}" for name in ("architecture", "nuclei")})
    truth = truth[
        ["slide_id", "patient_id", "role", "cohort", "prep_site", "scanner", "slide_architecture", "slide_nuclei"]
    ]
    truth = truth.merge(hidden, on="patient_id", validate="many_to_one")
    drawn = pd.DataFrame.from_dict(facts, orient="index")[list(SLIDE_TRUTH)]
    truth = truth.merge(drawn, left_on="slide_id", right_index=True, validate="one_to_one")
    write_frame(out / "truth.csv", truth.round(6))

    retested = sorted(slides.loc[slides["role"] == "test", "patient_id"].unique())
    overlap = {"allowed_overlap": [["training", "test"], ["tuning", "test"]], "patients": retested}
    write_json(out / "overlap.json", overlap)
    _tell(settings, patients, slides, out)


def _tell(settings: SimulateConfig, patients: pd.DataFrame, slides: pd.DataFrame, out: Path) -> None:
    """Say what was made."""
    for role in ROLES:
        chosen = slides[slides["role"] == role]
        of_role = patients[patients["patient_id"].isin(chosen["patient_id"])]
        deaths = [int((of_role["event"] == event).sum()) for event in (1, 2)]
        say(
            f"    {role}: {count(len(of_role), 'patient')}, {count(len(chosen), 'slide')}, "
            f"{count(deaths[0], 'cancer death')}, {count(deaths[1], 'other death')}"
        )
    external = patients[patients["role"] == "external"]
    if (external["event"] == 1).sum() >= 2:
        true = harrell_c(external["followup_days"], external["event"], external["log_hazard"])
        say(
            f"    true hazard (on {settings.hazard}): external c-index {true.value:.3f} "
            f"(95% CI {true.lower:.3f} to {true.upper:.3f})"
        )
    if len(external):
        told = {"no_benefit": "nobody benefits", "equal_benefit": "all benefit", "benefit_in_poor": "the poor benefit"}
        say(
            f"    treatment by chance in external: {(external['treatment'] == 'yes').sum()} had it; "
            f"{told[settings.treatment]}"
        )
    say(f"    {out / 'cohort.csv'}  {RESEARCH_USE_ONLY}")
