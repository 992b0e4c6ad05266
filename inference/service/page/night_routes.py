"""Over the night: how much was scored, what failed and why, how much was not reportable, by scanner."""

from asyncio import to_thread
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query

from pathoprog.ensemble.classes import RISK_CLASSES
from pathoprog.inference.service.access.principal import Principal
from pathoprog.inference.service.page.night import KINDS, Ended, count_night
from pathoprog.inference.service.page.page_answers import BinAnswer, NightAnswer, ReasonAnswer, ScannerAnswer
from pathoprog.inference.service.page.page_data import PageData, PageServed
from pathoprog.inference.service.web.answers import sees, veiled_state
from pathoprog.inference.service.web.problems import documented
from pathoprog.inference.service.web.service import Served, Service, Viewing
from pathoprog.inference.service.work.submissions import DONE, FAILED, NOT_REPORTABLE, Submission

router = APIRouter(prefix="/v1", tags=["page"])


@router.get("/night", responses=documented(401, 403, 422, 429, 503))
async def night(
    who: Viewing,
    service: Served,
    data: PageServed,
    hours: Annotated[int, Query(ge=1, le=2400, description="how long it is")] = 12,
    ago: Annotated[int, Query(ge=0, le=100_000, description="so many hours ago it ended; 0: now")] = 0,
) -> NightAnswer:
    """Counts of what ended in so many hours; no id but one example of each reason."""
    return await to_thread(_night, service, data, who, hours, ago)


def _night(service: Service, data: PageData, who: Principal, hours: int, ago: int) -> NightAnswer:
    now = datetime.now(UTC).replace(microsecond=0)
    end = now - timedelta(hours=ago)
    start = end - timedelta(hours=hours)
    ended, submitted = [], 0
    for one in service.snapshot.newest(0):
        came = datetime.fromisoformat(one.submitted_at)
        submitted += start < came <= end
        if one.state in KINDS and start < (at := datetime.fromisoformat(one.ended_at)) <= end:
            ended.append(_ended(service, data, who, one, came, at))
    counts = count_night(ended, start, end)
    return NightAnswer(
        start=start.isoformat(),
        end=end.isoformat(),
        bin_hours=counts.bin_hours,
        submitted=submitted,
        done=counts.counts[DONE],
        not_reportable=counts.counts[NOT_REPORTABLE],
        failed=counts.counts[FAILED],
        open=len(service.snapshot.open()),
        median_s=counts.median_s,
        p90_s=counts.p90_s,
        longest_s=counts.longest_s,
        classes=dict(counts.classes),
        possible_classes=[
            name for name in RISK_CLASSES if any(name in lane.plan.shape.classes for lane in service.plans.values())
        ],
        bins=[
            BinAnswer(
                start=one.start.isoformat(),
                done=one.counts[DONE],
                not_reportable=one.counts[NOT_REPORTABLE],
                failed=one.counts[FAILED],
            )
            for one in counts.bins
        ],
        reasons=[
            ReasonAnswer(state=one.state, code=one.code, reason=one.reason, n=one.n, last=one.last)  # type: ignore[arg-type]
            for one in counts.reasons
        ],
        scanners=[
            ScannerAnswer(
                vendor=one.vendor,
                mpp=one.mpp,
                done=one.counts[DONE],
                not_reportable=one.counts[NOT_REPORTABLE],
                failed=one.counts[FAILED],
            )
            for one in counts.scanners
        ],
    )


def _ended(service: Service, data: PageData, who: Principal, one: Submission, came: datetime, at: datetime) -> Ended:
    """As whoever asks may see it: of a bundle in shadow that it is done, and from which scanner."""
    work = one.works[0]
    bundle = service.snapshot.bundles.get(work.bundle)
    facts = data.facts.of(service.slides_folder(work.bundle), one.slide_id, work) if work.result_key else None
    open_to = sees(who, bundle)
    state = veiled_state(one.state, bundle, who)
    return Ended(
        submission=one.id,
        submitted_at=came,
        ended_at=at,
        state=state,
        reason=one.reason if state != DONE else "",
        code=facts.code if facts is not None and state != DONE else "",
        vendor=facts.vendor if facts is not None else "",
        mpp=facts.mpp if facts is not None else "",
        risk_class=facts.risk_class if facts is not None and open_to else "",
    )
