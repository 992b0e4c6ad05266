"""A patient's slides joined by the bundle's rule; where several become one, by the networks, in a child process."""

import json
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pathoprog
from pathoprog.errors import PathoprogError
from pathoprog.inference.service.work.lane import LanePlan
from pathoprog.inference.service.work.submissions import OPEN, Submission
from pathoprog.scoring.patients import Instances, PatientScore, PatientSlide, score_patients
from pathoprog.scoring.results import load_instances, read_slide
from pathoprog.scoring.slide_result import SlideResult
from pathoprog.text.plain_text import log_end

KEPT = 256
"""Joined patients that are kept in memory: the networks take seconds to load."""
CHILD_S = 300.0
PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); from pathoprog.inference.service.work.patients import main; main()"
)


@dataclass(frozen=True)
class Joined:
    """A patient's slides, by id, and what they come to.

    Attributes:
        slides: results of those that have one.
        score: of all; ``failed`` where one has none.
        open: ids of those that are still to be scored: then `score` is no verdict yet.
    """

    slides: Mapping[str, SlideResult]
    score: PatientScore
    open: tuple[str, ...] = ()


class PatientJoiner:
    """Joins patients, one at a time, and keeps the last ones."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, ...], PatientScore] = OrderedDict()
        self._lock = threading.Lock()

    def joined(self, submissions: Sequence[Submission], lane: LanePlan, role: str) -> Joined:
        """What a patient's slides come to; those without a result count as failed, and are named where one will come.

        Args:
            submissions: of one patient, one of each slide, on routes of one role.
            lane: of the bundle.
            role: of the routes.

        Raises:
            PathoprogError: the networks could not join them.
        """
        results: dict[str, SlideResult] = {}
        slides, keys, still_open = [], [], []
        for one in submissions:
            work = one.work_of(lane.name)
            found = read_slide(lane.slides_folder, one.slide_id, verify=False) if work is not None else None
            if work is None or found is None or found[0].result_key != work.result_key:
                if work is not None and work.state in OPEN:
                    still_open.append(one.slide_id)
                waits = f"no result yet ({work.state if work is not None else 'absent'})"
                slides.append(
                    PatientSlide(
                        slide_id=one.slide_id,
                        patient_id=one.patient_id,
                        cohort="",
                        role=role,
                        status="failed",
                        reason=waits,
                    )
                )
                continue
            results[one.slide_id] = found[0]
            keys.append(f"{one.slide_id} {found[0].result_key}")
            slides.append(_slide(one, role, found[0]))
        if sum(slide.status == "scored" for slide in slides) < 2 or any(slide.status == "failed" for slide in slides):
            (score,) = score_patients(slides, lane.plan.aggregation, _no_networks, _no_instances)
            return Joined(results, score, tuple(still_open))
        with self._lock:
            key = (lane.name, lane.plan.config, role, *sorted(keys))
            if key not in self._kept:
                self._kept[key] = _by_networks(slides, lane)
            self._kept.move_to_end(key)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            return Joined(results, self._kept[key])


def _slide(submission: Submission, role: str, result: SlideResult) -> PatientSlide:
    return PatientSlide(
        slide_id=submission.slide_id,
        patient_id=submission.patient_id,
        cohort="",
        role=role,
        status=result.status,
        reason=result.reason,
        duplicate_of=result.duplicate_of,
        risk_class=result.risk_class,
        borderline=result.borderline,
        scores={name: found.score for name, found in result.scores.items()},
        members={name: dict(found.members) for name, found in result.scores.items()},
    )


def _no_networks() -> Any:
    raise AssertionError("one slide needs no joining")


def _no_instances(slide_id: str) -> Instances:
    raise AssertionError(f"{slide_id}: one slide needs no joining")


def _by_networks(slides: list[PatientSlide], lane: LanePlan) -> PatientScore:
    question = {
        "ensemble": lane.config.ensemble,
        "ensemble_id": lane.plan.ensemble_id,
        "dtype": lane.plan.settings["dtype"],
        "rule": lane.plan.aggregation,
        "slides_folder": str(lane.slides_folder),
        "slides": [asdict(slide) for slide in slides],
    }
    root = Path(pathoprog.__file__).resolve().parents[1]
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(root)],
            input=json.dumps(question).encode(),
            capture_output=True,
            timeout=CHILD_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PathoprogError(f"the patient's slides could not be joined within {CHILD_S:.0f} s") from error
    if done.returncode:
        said = log_end(done.stderr.decode(errors="replace"), 300)
        raise PathoprogError(f"the patient's slides could not be joined: {said}")
    return PatientScore(**json.loads(done.stdout))


def main() -> None:
    """The child: one question on its standard input, the patient's score on its output."""
    import torch

    from pathoprog.ensemble.loading import load_bundle
    from pathoprog.scoring.scorer import Scorer
    from pathoprog.system.machine.device import DTYPES

    question = json.load(sys.stdin)
    bundle = load_bundle(question["ensemble"])
    if bundle.ensemble_id != question["ensemble_id"]:
        raise PathoprogError("the bundle was changed since the service began")
    scorer = Scorer(bundle, torch.device("cpu"), DTYPES[question["dtype"]])

    def networks() -> Scorer:
        return scorer

    def instances(slide_id: str) -> Instances:
        return load_instances(Path(question["slides_folder"]), slide_id)

    slides = [PatientSlide(**slide) for slide in question["slides"]]
    (score,) = score_patients(slides, question["rule"], networks, instances)
    json.dump(asdict(score), sys.stdout)
