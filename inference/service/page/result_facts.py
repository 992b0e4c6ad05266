"""A few facts of each result, kept in memory, so that counting hundreds of them reads each file once."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pathoprog.inference.service.work.submissions import Work
from pathoprog.scoring.results import read_slide

KEPT = 20_000


@dataclass(frozen=True, slots=True)
class ResultFacts:
    """What is counted and compared.

    Attributes:
        status: scored, not_reportable or failed.
        risk_class: where scored, else empty.
        code: the reason's short name.
        scores: by resolution.
        vendor: of the slide's file; empty where it could not be opened.
        mpp: um per level-0 px, as text of two places; likewise.
    """

    status: str
    risk_class: str
    code: str
    scores: Mapping[str, float]
    vendor: str
    mpp: str

    @property
    def said(self) -> str:
        """The class, or the status where there is none."""
        return self.risk_class or self.status


class FactsOfResults:
    """Reads facts, and keeps the last ones."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str, str], ResultFacts] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, slides_folder: Path, slide_id: str, work: Work) -> ResultFacts | None:
        """Facts of a work's result; None where its files are not there (any more).

        Args:
            slides_folder: of the bundle.
            slide_id: of the slide.
            work: the bundle's, ended.
        """
        key = (work.bundle, slide_id, work.result_key)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        found = read_slide(slides_folder, slide_id, verify=False)
        if found is None or found[0].result_key != work.result_key:
            return None
        result = found[0]
        facts = ResultFacts(
            status=result.status,
            risk_class=result.risk_class,
            code=result.code,
            scores={name: one.score for name, one in result.scores.items()},
            vendor=result.slide.vendor if result.slide is not None else "",
            mpp=f"{result.slide.mpp_x:.2f}" if result.slide is not None else "",
        )
        with self._lock:
            self._kept[key] = facts
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return facts
