"""One run over a list of slides: what it must do, what holds from before, and the results when it is done."""

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pathoprog import eligibility
from pathoprog.bundle import MEMBERS_PER_RESOLUTION
from pathoprog.console import progress
from pathoprog.errors import ConfigError, InputError, PathoprogError
from pathoprog.inference.config import ScoreConfig
from pathoprog.inference.crew import Crew, crew_of
from pathoprog.inference.engine import Engine
from pathoprog.inference.inputs import SlideInput
from pathoprog.inference.jobs import Job, NewJob
from pathoprog.inference.ledger import Ledger
from pathoprog.inference.messages import Start
from pathoprog.inference.work import Plan, Task, is_recent, outline_author, outline_sha256, source_sha256
from pathoprog.results import PATIENT_LEVEL, SLIDE_LEVEL, Context, has_instances, read_slide

if TYPE_CHECKING:
    from pathoprog.scorer import Scorer

LEDGER = "ledger.sqlite"


class Batch:
    """One run over a list of slides.

    Attributes:
        plan: what is the same for all of them.
        tasks: by slide id, in the order given.
        out: the result folder; one folder per slide lies in `slides_folder`.
        ledger: its file.
        scored_now: slides that this run finished; `tiles` and `seconds` it took for them.

    Raises:
        ConfigError: outlines are needed, and no slide has one.
    """

    def __init__(self, config: ScoreConfig, slides: list[SlideInput], plan: Plan, device: str):
        self.config, self.plan, self.device = config, plan, device
        self.out = Path(config.out)
        self.slides_folder = self.out / "slides"
        self.ledger = Path(config.ledger) if config.ledger else self.out / LEDGER
        if plan.tumour_policy == "outline" and not any(slide.outline_path for slide in slides):
            raise ConfigError(
                "the tumour policy is outline, and no slide has one: give outlines=FOLDER with <slide_id>.geojson, a "
                "cohort with outline_path, or tumour_policy=network or tissue"
            )
        siblings = Counter((slide.patient_id, slide.role) for slide in slides)
        self.tasks = {slide.slide_id: self._task(slide, siblings[slide.patient_id, slide.role]) for slide in slides}
        self.new = [
            NewJob(
                slide_id=task.slide.slide_id,
                path=task.slide.path,
                source=source_sha256(task.slide.path),
                request=task.request(),
                delay_s=config.settle_s if is_recent(task.slide.path, config.settle_s) else 0.0,
            )
            for task in self.tasks.values()
        ]
        self.scored_now, self.tiles, self.seconds = 0, 0, 0.0
        self._scorer: Scorer | None = None

    def _task(self, slide: SlideInput, n_slides: int) -> Task:
        """A patient's thresholds belong to the rule that joins the slides: one of several is slide level."""
        try:
            outline = outline_sha256(slide, self.plan)
        except InputError:
            outline = ""  # named and not there: the reader says so, and the slide alone fails
        several = n_slides > 1
        return Task(
            slide=slide,
            outline_sha256=outline,
            outline_author=outline_author(slide, self.plan),
            class_level=SLIDE_LEVEL if several else PATIENT_LEVEL,
            keep_instances=several and self.plan.aggregation == "bag",
            eligibility=eligibility.judge(slide.traits, self.plan.made_for),
        )

    def standing(self, ledger: Ledger) -> dict[str, Job]:
        """The slides whose work is done or under way, by id."""
        return ledger.standing(self.new, self.plan.config, self.config.requeue, self._holds)

    def _holds(self, job: Job) -> bool:
        """Whether a result is still there, whole, and all that its patient needs."""
        found = read_slide(self.slides_folder, job.slide_id)
        if found is None or found[0]["result_key"] != job.result_key:
            return False
        needed = self.tasks[job.slide_id].keep_instances and found[0]["status"] == "scored"
        return not needed or has_instances(self.slides_folder, job.slide_id)

    def look(self) -> dict[str, Job]:
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
            ledger.enrol(self.new, self.plan.config, self.standing(ledger))
            todo = ledger.unfinished(self.plan.config)
            if not todo:
                return True
            with crew_of(self.config) as crew:
                return self._run(crew, ledger, todo)
        finally:
            ledger.close()

    def _run(self, crew: Crew, ledger: Ledger, todo: int) -> bool:
        readers = self.config.stream.workers or crew.cores
        threads = self.config.threads or min(MEMBERS_PER_RESOLUTION, crew.cores)
        starts = [Start(self.config, self.plan, device, readers, threads) for device in crew.devices]
        begun = time.monotonic()
        with progress("scoring", todo, "slides") as counter:

            def count(n: int) -> None:
                self.tiles += n
                counter.advance(0, f"{self.tiles} tiles")

            def finished() -> None:
                self.scored_now += 1
                counter.advance()

            complete = Engine(crew, starts, ledger, self.tasks, finished, count).run()
        self.seconds = time.monotonic() - begun
        return complete

    def results(self) -> list[tuple[Context, dict[str, Any], dict[str, Any]]]:
        """Context, result.json and run.json of each slide, in the order given.

        Raises:
            PathoprogError: a result is gone since it was written.
        """
        found = []
        for slide_id, task in self.tasks.items():
            files = read_slide(self.slides_folder, slide_id, verify=False)
            if files is None:
                raise PathoprogError(f"{self.slides_folder}: the result of {slide_id} is gone; run again")
            found.append((self.plan.context(task, None), *files))
        return found

    def scorer(self) -> "Scorer":
        """The networks, for bags over several slides."""
        if self._scorer is None:
            import torch

            from pathoprog.device import DTYPES
            from pathoprog.ensemble import load_bundle
            from pathoprog.scorer import Scorer

            bundle = load_bundle(self.config.ensemble)
            if bundle.ensemble_id != self.plan.ensemble_id:
                raise PathoprogError(f"{self.config.ensemble}: the bundle was changed during this run")
            self._scorer = Scorer(bundle, torch.device(self.device), DTYPES[self.plan.settings["dtype"]])
        return self._scorer
