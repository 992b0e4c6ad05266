"""One run over a list of slides: what it must do, what holds from before, and the results when it is done."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from pathoprog.errors import ConfigError, PathoprogError
from pathoprog.inference.config import ScoreConfig
from pathoprog.inference.engine.engine import Engine
from pathoprog.inference.engine.exchange import Start, run_record
from pathoprog.inference.engine.ledger import Ledger
from pathoprog.inference.engine.scoring_plan import ScoringPlan, ScoringTask
from pathoprog.inference.engine.transport import Transport, transport_of
from pathoprog.inference.slides.given_features import look_at_features
from pathoprog.inference.slides.inputs import Found, SlideInput
from pathoprog.inference.slides.jobs import Job, NewJob
from pathoprog.inference.slides.looks import Look, look_at_all
from pathoprog.scoring.eligibility import Eligibility, judge
from pathoprog.scoring.results import PATIENT_LEVEL, SLIDE_LEVEL, Context, has_instances, read_slide, result_record
from pathoprog.scoring.slide_outcomes import SlideScore
from pathoprog.scoring.slide_result import SlideResult, SlideRun
from pathoprog.system.console import Progress, progress, warn
from pathoprog.text.plain_text import spelling

if TYPE_CHECKING:
    from pathoprog.scoring.scorer import Scorer

LEDGER = "ledger.sqlite"
SlideFiles: TypeAlias = tuple[Context, SlideResult, SlideRun]
"""Whose slide it is, its result.json and its run.json."""


class ScoringBatch:
    """One run over a list of slides.

    Attributes:
        plan: what is the same for all of them.
        tasks: by slide id, in the order given.
        out: the result folder; one folder per slide lies in `slides_folder`.
        ledger: its file.
        refused: reasons by id, of what the call names and is no slide.
        n_slides: of each patient and role, those that are refused included.
        not_taken: what the folders hold beside slides.
        scored_now: slides that this run finished; `tiles` and `seconds` it took for them.

    Raises:
        ConfigError: outlines are needed, and no slide has one.
    """

    def __init__(self, config: ScoreConfig, found: Found, plan: ScoringPlan, device: str):
        self.config, self.plan, self.device = config, plan, device
        slides, self.not_taken = found.slides, found.not_taken
        self.refused = _rows(found)
        self.out = Path(config.out)
        self.slides_folder = self.out / "slides"
        self.ledger = Path(config.ledger) if config.ledger else self.out / LEDGER
        if plan.tumour_policy == "outline" and not any(slide.outline_path for slide in slides):
            raise ConfigError(
                "the tumour policy is outline, and no slide has one: give outlines=FOLDER with <slide_id>.geojson, a "
                "cohort with outline_path, or tumour_policy=network or tissue"
            )
        self.n_slides = Counter((slide.patient_id, slide.role) for slide in slides)
        if plan.other_features:
            looks = look_at_features(slides)
        else:
            looks = look_at_all(slides, plan.tumour_policy, config.settle_s, config.stream.timeout_s, warn)
        self._judged: dict[frozenset[tuple[str, str]], Eligibility] = {}
        self.tasks = {slide.slide_id: self._task(slide, looks[slide.slide_id]) for slide in slides}
        self._seen = {slide_id: (look.source, look.recent) for slide_id, look in looks.items()}
        self.n_slides.update((slide_id, "") for slide_id in self.refused)
        self._whole: dict[int, int] = {}
        self.scored_now, self.tiles, self.seconds = 0, 0, 0.0
        self._scorer: Scorer | None = None

    def _task(self, slide: SlideInput, look: Look) -> ScoringTask:
        """A patient's thresholds belong to the rule that joins the slides: one of several is slide level."""
        several = self.n_slides[slide.patient_id, slide.role] > 1
        traits = frozenset(slide.traits.items())
        if traits not in self._judged:  # slides of the same traits share what is said of them
            self._judged[traits] = judge(slide.traits, self.plan.made_for)
        return ScoringTask(
            slide=slide,
            outline_sha256=look.outline_sha256,
            outline_author=look.outline_author,
            class_level=SLIDE_LEVEL if several else PATIENT_LEVEL,
            keep_instances=several and self.plan.aggregation == "bag",
            eligibility=self._judged[traits],
        )

    def new_jobs(self) -> Iterator[NewJob]:
        """What the ledger is told of each slide, in the order given."""
        for slide_id, task in self.tasks.items():
            source, recent = self._seen[slide_id]
            delay_s = self.config.settle_s if recent else 0.0
            yield NewJob(slide_id, task.slide.path, source, task.request(), delay_s)

    def standing(self, ledger: Ledger) -> dict[str, str]:
        """The slides whose work is done or under way, each with the state of its job."""
        return ledger.standing(self.new_jobs(), self.plan.config, self.config.requeue, self._holds)

    def _holds(self, job: Job) -> bool:
        """Whether a result is still there, whole, and all that its patient needs; each is read once in a run."""
        if self._whole.get(job.job_id) == job.attempt:
            return True
        found = read_slide(self.slides_folder, job.slide_id)
        if found is None or found[0].result_key != job.result_key:
            return False
        needed = self.tasks[job.slide_id].keep_instances and found[0].status == "scored"
        if needed and not has_instances(self.slides_folder, job.slide_id):
            return False
        self._whole[job.job_id] = job.attempt
        return True

    def look(self) -> dict[str, str]:
        """`standing`, without making anything."""
        if not self.ledger.is_file():
            return {}
        ledger = Ledger(self.ledger)
        try:
            return self.standing(ledger)
        finally:
            ledger.close()

    def score(self) -> bool:
        """Score what is not done yet; returns False if stopped before the end.

        Raises:
            WriteError: the disk is full or fails.
            ConfigError: the workers asked for cannot be had.
        """
        ledger = Ledger(self.ledger)
        try:
            ledger.enrol(self.new_jobs(), self.plan.config, self.standing(ledger))
            todo = ledger.unfinished(self.plan.config)
            if not todo:
                return True
            with transport_of(self.config) as crew:
                return self._run(crew, ledger, todo)
        finally:
            ledger.close()

    def _run(self, crew: Transport, ledger: Ledger, todo: int) -> bool:
        readers = self.config.stream.workers or crew.cores
        threads = self.config.threads or min(self.plan.shape.most_members, crew.cores)
        starts = [Start(self.config, self.plan, device, readers, threads) for device in crew.devices]
        begun = time.monotonic()
        with progress("scoring", todo, "slides") as counter:
            complete = Engine(crew, starts, ledger, self.tasks, _Counts(self, counter)).run()
        self.seconds = time.monotonic() - begun
        return complete

    def results(self) -> Iterator[SlideFiles]:
        """Context, result.json and run.json of each slide, in the order given; what is no slide comes last.

        Each is read when its turn comes: a run of many slides holds one of them at a time.

        Raises:
            PathoprogError: a result is gone since it was written.
        """
        ledger = Ledger(self.ledger)
        try:
            failures = ledger.failures(self.plan.config)
        finally:
            ledger.close()
        for slide_id, task in self.tasks.items():
            files = read_slide(self.slides_folder, slide_id, verify=False)
            if slide_id in failures and (files is None or files[0].reason != failures[slide_id]):
                yield self._failed(task, failures[slide_id])  # its folder could not be replaced
            elif files is None:
                raise PathoprogError(f"{self.slides_folder}: the result of {slide_id} is gone; run again")
            else:
                yield self.plan.context(task, None), *files
        for slide_id, reason in self.refused.items():
            task = ScoringTask(SlideInput(slide_id, "", slide_id), "", PATIENT_LEVEL, keep_instances=False)
            yield self._failed(task, reason)

    def _failed(self, task: ScoringTask, reason: str) -> SlideFiles:
        """What stands in the tables for a failure that has no folder."""
        outcome = SlideScore(task.slide.slide_id, "failed", reason=reason, code="input", stage="open")
        context = self.plan.context(task, None)
        return context, result_record(outcome, context), run_record("", 0, 0.0)

    def scorer(self) -> "Scorer":
        """The networks, for bags over several slides."""
        if self._scorer is None:
            import torch

            from pathoprog.ensemble.loading import load_bundle
            from pathoprog.scoring.scorer import Scorer
            from pathoprog.system.machine.device import DTYPES

            bundle = load_bundle(self.config.ensemble)
            if bundle.ensemble_id != self.plan.ensemble_id:
                raise PathoprogError(f"{self.config.ensemble}: the bundle was changed during this run")
            self._scorer = Scorer(bundle, torch.device(self.device), DTYPES[self.plan.settings["dtype"]])
        return self._scorer


@dataclass(frozen=True)
class _Counts:
    """Counts for the run, and on the terminal."""

    batch: ScoringBatch
    counter: Progress

    def given(self, slide_id: str) -> None:
        """Not counted."""

    def put_back(self, slide_id: str, reason: str) -> None:
        """Not counted: the engine has said it."""

    def done(self, slide_id: str, state: str) -> None:
        """See `EngineListener`."""
        self.batch.scored_now += 1
        self.counter.advance()

    def tiles(self, n: int) -> None:
        """See `EngineListener`."""
        self.batch.tiles += n
        self.counter.advance(0, f"{self.batch.tiles} tiles")

    def worker_died(self) -> None:
        """Not counted: the engine has said it."""


def _rows(found: Found) -> dict[str, str]:
    """Ids and reasons of what is no slide, each id once in the run, however it is spelt."""
    taken = {spelling(slide.slide_id) for slide in found.slides}
    rows: dict[str, str] = {}
    for fault in found.faults:
        slide_id, number = fault.slide_id, 1
        while spelling(slide_id) in taken:
            number += 1
            slide_id = f"{fault.slide_id} ({number})"
        taken.add(spelling(slide_id))
        rows[slide_id] = fault.reason
    return rows
