"""One run over a list of slides: what holds from before, scoring the rest, and writing each as soon as it is done."""

import os
import platform
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from pathoprog.bundle import MEMBERS_PER_RESOLUTION
from pathoprog.console import progress, warn
from pathoprog.device import DTYPES, device_name
from pathoprog.ensemble import load_bundle
from pathoprog.errors import ConfigError, InputError, PathoprogError
from pathoprog.files import canonical_json
from pathoprog.inference.config import ScoreConfig
from pathoprog.inference.inputs import SlideInput
from pathoprog.inference.work import Plan, outline_sha256, source_sha256
from pathoprog.results import (
    PATIENT_LEVEL,
    SLIDE_LEVEL,
    Context,
    has_instances,
    read_slide,
    remove_leftovers,
    result_record,
    slide_files,
    write_slide,
)
from pathoprog.scorer import Scorer
from pathoprog.scoring import SlideScore, score_stream
from pathoprog.stream import SlideJob, SlideOpened, TileStream

MOST_WRITES_WAITING = 8


class WriteError(PathoprogError):
    """Results cannot be written; what was written before is whole."""


class Batch:
    """One run over a list of slides.

    Attributes:
        slides: all of them, by id, in the order given.
        out: the result folder; one folder per slide lies in `slides_folder`.
        done: slide_id -> (result.json, run.json) of every slide that has a result, old or new.
    """

    def __init__(self, config: ScoreConfig, slides: list[SlideInput], plan: Plan, device: torch.device):
        self.config, self.plan, self.device = config, plan, device
        self.slides = {slide.slide_id: slide for slide in slides}
        self.out = Path(config.out)
        self.slides_folder = self.out / "slides"
        self.done: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        self._outlines: dict[str, str] = {}  # slide_id -> hash of its outline
        self._keys: dict[str, str] = {}  # result key -> the slide that has or will have the result
        self._duplicates: dict[str, str] = {}  # slide_id -> slide with the same key
        self._copies: dict[str, SlideOpened] = {}  # those of them whose result is taken from the other slide
        self._sources: dict[str, str] = {}  # slide_id -> `source_sha256` before it was read
        self._patients = Counter((slide.patient_id, slide.role) for slide in slides)
        self._scorer: Scorer | None = None
        if plan.tumour_policy == "outline" and not any(slide.outline_path for slide in slides):
            raise ConfigError(
                "the tumour policy is outline, and no slide has one: give outlines=FOLDER with <slide_id>.geojson, a "
                "cohort with outline_path, or tumour_policy=tissue"
            )

    def scorer(self) -> Scorer:
        """The networks, loaded when first needed."""
        if self._scorer is None:
            bundle = load_bundle(self.config.ensemble)
            if bundle.ensemble_id != self.plan.ensemble_id:
                raise InputError(f"{self.config.ensemble}: the bundle was changed while this run began")
            torch.set_num_threads(1)
            threads = self.config.threads or min(MEMBERS_PER_RESOLUTION, len(os.sched_getaffinity(0)))
            self._scorer = Scorer(bundle, self.device, DTYPES[self.plan.settings["dtype"]], threads)
        return self._scorer

    def find_done(self) -> list[SlideInput]:
        """Take over the results that hold; returns the slides that have none, in order.

        A result holds if its file is unchanged in place, size and time, its key is this run's, and all its files are
        whole. Failed slides are tried again.
        """
        copies = []
        for slide in self.slides.values():
            found = read_slide(self.slides_folder, slide.slide_id)
            if found is None or not self._holds(slide, *found):
                continue
            if found[0]["duplicate_of"]:
                copies.append((slide.slide_id, found))
                continue
            self.done[slide.slide_id] = found
            self._keys[found[0]["result_key"]] = slide.slide_id
        for slide_id, found in copies:  # a copy holds as long as its original does
            if self._keys.get(found[0]["result_key"]) == found[0]["duplicate_of"]:
                self.done[slide_id] = found
        return [slide for slide in self.slides.values() if slide.slide_id not in self.done]

    def _holds(self, slide: SlideInput, result: dict[str, Any], run: dict[str, Any]) -> bool:
        source = source_sha256(slide.path)
        if result["status"] == "failed" or not source or run.get("source") != source:
            return False
        try:
            outline = outline_sha256(slide, self.plan)
        except InputError:
            return False
        needs = result["status"] == "scored" and not result["duplicate_of"] and self.keeps_instances(slide)
        return bool(
            result["result_key"] == self.plan.key(result["slide"]["sha256"], outline)
            and result["class_level"] == self.class_level(slide)
            and (not needs or has_instances(self.slides_folder, slide.slide_id))
        )

    def has_siblings(self, slide: SlideInput) -> bool:
        """Whether the patient has other slides in the same role."""
        return self._patients[slide.patient_id, slide.role] > 1

    def class_level(self, slide: SlideInput) -> str:
        """What a slide's own class is worth: thresholds belong to patients, whose rule joins their slides."""
        return SLIDE_LEVEL if self.has_siblings(slide) else PATIENT_LEVEL

    def keeps_instances(self, slide: SlideInput) -> bool:
        """Whether the tiles' values must be kept, since the patient's bag spans several slides."""
        return self.plan.aggregation == "bag" and self.has_siblings(slide)

    def score(self, todo: list[SlideInput]) -> None:
        """Score slides and write each result as soon as it is there.

        Raises:
            WriteError: the disk is full or fails; what was written is whole, the same command goes on later.
        """
        try:
            remove_leftovers(self.slides_folder)
        except OSError as error:
            raise WriteError(f"{self.slides_folder}: {error.strerror or error}") from error
        if not todo:
            return
        scorer = self.scorer()
        waiting: list[Future[None]] = []
        with (
            progress("scoring", len(todo), "slides") as counter,
            ThreadPoolExecutor(1, "writer") as writer,  # drawing and compressing beside the networks
            TileStream(self.config.stream) as stream,
        ):
            tiles = 0

            def count(n: int) -> None:
                nonlocal tiles
                tiles += n
                counter.advance(0, f"{tiles} tiles")

            events = stream.read(self._jobs(todo))
            for outcome in score_stream(events, scorer, self._wanted, count):
                waiting.append(writer.submit(self._write, outcome))
                while len(waiting) > MOST_WRITES_WAITING or (waiting and waiting[0].done()):
                    waiting.pop(0).result()
                    counter.advance()
            for future in waiting:
                future.result()
                counter.advance()
            for slide_id, opened in self._copies.items():
                self._write_copy(slide_id, opened)
                counter.advance()

    def _jobs(self, todo: list[SlideInput]) -> Iterator[SlideJob]:
        """What the readers get; slides that cannot even be asked for are failed at once."""
        for slide in todo:
            self._sources[slide.slide_id] = source_sha256(slide.path)
            try:
                self._outlines[slide.slide_id] = outline_sha256(slide, self.plan)
                if self.plan.tumour_policy == "outline" and not slide.outline_path:
                    raise InputError(f"{slide.slide_id}: no tumour outline, and the tumour policy is outline")
            except InputError as error:
                self._write(SlideScore(slide.slide_id, "failed", reason=str(error), code="outline", stage="outline"))
                continue
            yield self.plan.job(slide, self.config)

    def _wanted(self, opened: SlideOpened) -> bool:
        """Score it, unless a slide with the same key is or will be scored: then its result is this slide's too."""
        slide = self.slides[opened.slide_id]
        key = self.plan.key(opened.sha256, self._outlines[opened.slide_id])
        original = self._keys.setdefault(key, opened.slide_id)
        if original == opened.slide_id:
            return True
        other = self.slides[original]
        self._duplicates[opened.slide_id] = original
        if (slide.patient_id, slide.role) != (other.patient_id, other.role):
            warn(f"{slide.slide_id} of {slide.patient_id} and {original} of {other.patient_id} are the same slide")
            if self.keeps_instances(slide) and not self.keeps_instances(other):
                return True  # its patient's bag needs its tiles' values, which the original does not keep
        self._copies[opened.slide_id] = opened
        return False

    def _write(self, outcome: SlideScore) -> None:
        slide = self.slides[outcome.slide_id]
        for private in (slide.path, str(Path(slide.path).parent)):  # nothing from the path leaves with a result
            outcome.reason = outcome.reason.replace(private, slide.slide_id)
        context = self.context(slide.slide_id, outcome.opened)
        files = slide_files(outcome, context, self.keeps_instances(slide))
        self._store(slide.slide_id, files, outcome.seconds)
        if outcome.status == "failed":
            warn(f"failed: {outcome.reason}")

    def _write_copy(self, slide_id: str, opened: SlideOpened) -> None:
        """Give a slide the result of another with the same key; its tiles and its map lie with that one."""
        result, _ = self.done[self._duplicates[slide_id]]
        own = result_record(SlideScore(slide_id, result["status"], opened=opened), self.context(slide_id, opened))
        same = ("risk_class", "borderline", "reason", "code", "stage", "scores", "batches_halved")
        record = {**own, **{name: result[name] for name in same}, "quality": result["quality"]}
        self._store(slide_id, {"result.json": canonical_json(record).encode("utf-8")}, 0.0)

    def _store(self, slide_id: str, files: dict[str, bytes], seconds: float) -> None:
        try:
            write_slide(self.slides_folder, slide_id, files, self._run_record(slide_id, seconds))
        except OSError as error:
            raise WriteError(
                f"{self.slides_folder}: {error.strerror or error}; the same command goes on later"
            ) from error
        found = read_slide(self.slides_folder, slide_id)
        if found is None:
            raise WriteError(f"{self.slides_folder}: the result of {slide_id} does not read back as it was written")
        self.done[slide_id] = found

    def context(self, slide_id: str, opened: SlideOpened | None = None) -> Context:
        """What a slide's result says beside its scores."""
        slide = self.slides[slide_id]
        outline = self._outlines.get(slide_id, "")
        return Context(
            slide_id=slide_id,
            patient_id=slide.patient_id,
            cohort=slide.cohort,
            role=slide.role,
            key=self.plan.key(opened.sha256, outline) if opened is not None else "",
            ensemble_id=self.plan.ensemble_id,
            thresholds=self.plan.thresholds,
            settings=self.plan.settings,
            overrides=self.plan.overrides_of(opened),
            outline_sha256=outline,
            class_level=self.class_level(slide),
            duplicate_of=self._duplicates.get(slide_id, ""),
        )

    def _run_record(self, slide_id: str, seconds: float) -> dict[str, Any]:
        return {
            "device": device_name(self.device),
            "torch": torch.__version__,
            "host": platform.node(),
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": seconds,
            "source": self._sources[slide_id],
        }
