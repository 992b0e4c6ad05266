"""By which bundles, and in which roles, a patient's slides are joined."""

from fastapi import APIRouter

from pathoprog.inference.service.page.bundle_routes import has_stage_table
from pathoprog.inference.service.page.page_answers import PatientGroup, PatientGroups
from pathoprog.inference.service.web.answers import Given, sees
from pathoprog.inference.service.web.problems import documented
from pathoprog.inference.service.web.service import Reading, Served
from pathoprog.inference.service.work.desk import GONE

router = APIRouter(prefix="/v1/patients", tags=["page"])


@router.get("/{patient}/groups", responses=documented(401, 403, 422, 429, 503))
async def groups(patient: Given, who: Reading, service: Served) -> PatientGroups:
    """What `/v1/patients/{patient}` may be asked with, as far as whoever asks may see it; champions first."""
    found: dict[tuple[str, str], PatientGroup] = {}
    for one in service.snapshot.of_patient(patient):
        route = service.routes.get(one.route)
        if route is None or one.state in GONE:
            continue
        for place, work in enumerate(one.works):
            if work.bundle in service.plans and sees(who, service.snapshot.bundles.get(work.bundle)):
                group = PatientGroup(
                    bundle=work.bundle,
                    role=route.role,
                    beside=place > 0,
                    has_stage_groups=has_stage_table(service.plans[work.bundle]),
                )
                found.setdefault((work.bundle, route.role), group)
    return PatientGroups(patient_id=patient, groups=sorted(found.values(), key=lambda group: group.beside))
