"""One bundle under way: its plan, its engine and workers, and the folder of its results."""

from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from pathoprog.ensemble.bundle import read_manifest
from pathoprog.ensemble.tuning_basis import locked_precision
from pathoprog.inference.config import Outputs, ScoreConfig
from pathoprog.inference.engine.engine import Engine
from pathoprog.inference.engine.exchange import Start
from pathoprog.inference.engine.ledger import Ledger
from pathoprog.inference.engine.listener import EngineListener
from pathoprog.inference.engine.scoring_plan import ScoringPlan, ScoringTask, make_plan
from pathoprog.inference.engine.transport import LocalCrew, WorkerProcess
from pathoprog.inference.service.config import BundleSettings, ServiceSettings, staging_folder
from pathoprog.inference.service.viewing.outline_files import corrected_folder
from pathoprog.inference.slides.inputs import SlideInput
from pathoprog.inference.slides.jobs import Job, NewJob
from pathoprog.inference.slides.looks import Look
from pathoprog.scoring.eligibility import judge
from pathoprog.scoring.results import PATIENT_LEVEL, SLIDE_LEVEL, has_instances, read_slide
from pathoprog.scoring.slide_result import SlideResult, SlideRun
from pathoprog.slides.config import SlideSettings
from pathoprog.system.machine.device_choice import choose_device, scoring_precision, worker_devices


@dataclass(frozen=True)
class LanePlan:
    """What is fixed of a bundle before anything runs.

    Attributes:
        name: of the bundle in the settings.
        config: as the command `score` would have it.
        plan: that all its slides share.
        devices: one per worker.
    """

    name: str
    config: ScoreConfig
    plan: ScoringPlan
    devices: tuple[str, ...]

    @property
    def slides_folder(self) -> Path:
        """Where its results lie."""
        return Path(self.config.out) / "slides"


def plan_lane(bundle: BundleSettings, settings: ServiceSettings) -> LanePlan:
    """Verify a bundle, and fix how its slides are scored.

    Raises:
        BundleError: it is not whole and unchanged, or not signed with the key that is required.
        ConfigError, InputError: see `make_plan`.
    """
    scoring = settings.scoring
    roots = [root.folder for root in settings.roots]
    if any(route.staged for route in settings.routes):
        roots.append(str(staging_folder(settings)))  # local copies are read from there
    roots += [bundle.outlines] if bundle.outlines else []
    roots.append(str(corrected_folder(settings)))
    config = ScoreConfig(
        ensemble=bundle.folder,
        key=bundle.key,
        encoder_weights=bundle.encoder_weights,
        out=str(Path(settings.out) / bundle.name),
        tumour_policy=bundle.tumour_policy,
        outlines=bundle.outlines,
        slides=SlideSettings(roots=roots),
        quality=scoring.quality,
        stream=scoring.stream,
        settle_s=scoring.settle_s,
        workers=scoring.workers,
        device=scoring.device,
        dtype=scoring.dtype,
        runtime=scoring.runtime,
        threads=scoring.threads,
        thumbnail_px=scoring.thumbnail_px,
        outputs=Outputs(pdf=scoring.pdf, validation=bundle.validation),
    )
    device = choose_device(config.device)
    precision = scoring_precision(config.dtype, device, locked_precision(read_manifest(config.ensemble)))
    plan = make_plan(config, precision, device.partition(":")[0])
    return LanePlan(bundle.name, config, plan, tuple(worker_devices(config.device, config.workers)))


class Lane:
    """A bundle at work; everything here runs in the conductor's thread.

    Args:
        plan: of the bundle.
        ledger: shared by all lanes.
        listener: told what becomes of its slides.
    """

    def __init__(self, plan: LanePlan, ledger: Ledger, listener: EngineListener):
        self.name, self.config, self.plan = plan.name, plan.config, plan.plan
        self.slides_folder, self.ledger, self.listener = plan.slides_folder, ledger, listener
        self.devices = list(plan.devices)
        self.tasks: dict[str, ScoringTask] = {}
        self.engine: Engine | None = None

    @property
    def key(self) -> str:
        """What the ledger knows its jobs by."""
        return self.plan.config

    def begin(self) -> None:
        """Start the workers; what an engine before had in hand waits again.

        Raises:
            WriteError: the disk is full or fails.
        """
        self.slides_folder.mkdir(parents=True, exist_ok=True)
        self.ledger.release(self.key)
        crew = LocalCrew(self.devices)
        readers = self.config.stream.workers or crew.cores
        threads = self.config.threads or min(self.plan.shape.most_members, crew.cores)
        starts = [Start(self.config, self.plan, device, readers, threads) for device in self.devices]
        engine = Engine(crew, starts, self.ledger, self.tasks, self.listener)
        self.engine = engine
        engine.begin()

    def end(self) -> None:
        """End the workers at once."""
        engine, self.engine = self.engine, None
        if engine is not None:
            engine.end()

    def connections(self) -> list[Connection]:
        """On which its workers speak."""
        lines = [worker.line for worker in self.engine.workers] if self.engine is not None else []
        return [line.connection for line in lines if isinstance(line, WorkerProcess)]

    def task(self, slide: SlideInput, look: Look, several: bool) -> ScoringTask:
        """What is to be done with a slide; `several`: its patient has others, whose results it is joined with."""
        return ScoringTask(
            slide=slide,
            outline_sha256=look.outline_sha256,
            outline_author=look.outline_author,
            class_level=SLIDE_LEVEL if several else PATIENT_LEVEL,
            keep_instances=several and self.plan.aggregation == "bag",
            eligibility=judge(slide.traits, self.plan.made_for),
        )

    def admit(self, task: ScoringTask, look: Look, place: int, requeue: bool) -> str:
        """Take a slide in, unless its work stands as it is.

        Args:
            task: what is to be done.
            look: at its files.
            place: in the queue.
            requeue: a failed one is tried again.

        Returns:
            The state of its job in the ledger.

        Raises:
            WriteError: the disk is full or fails.
        """
        slide_id = task.slide.slide_id
        self.tasks[slide_id] = task
        delay_s = self.config.settle_s if look.recent else 0.0
        path = "" if task.slide.given_id else task.slide.path  # where ids are pseudonyms, the map alone says it
        new = NewJob(slide_id, path, look.source, task.request(), delay_s)
        standing = self.ledger.standing([new], self.key, requeue, self._holds)
        self.ledger.admit(new, self.key, place, anew=slide_id not in standing)
        if self.engine is not None:
            self.engine.look_for_work()
        job = self.ledger.state_of(slide_id, self.key)
        assert job is not None
        return job.state

    def _holds(self, job: Job) -> bool:
        found = read_slide(self.slides_folder, job.slide_id)
        if found is None or found[0].result_key != job.result_key:
            return False
        needed = self.tasks[job.slide_id].keep_instances and found[0].status == "scored"
        return not needed or has_instances(self.slides_folder, job.slide_id)

    def result(self, slide_id: str) -> tuple[SlideResult, SlideRun] | None:
        """A slide's result as it lies on the disk."""
        return read_slide(self.slides_folder, slide_id, verify=False)


ListenerOf = Callable[[str], EngineListener]
"""Gives what listens to the lane of a bundle."""
