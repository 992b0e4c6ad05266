"""What the handlers of requests stand on: the snapshot to read, the conductor to ask, the gate, the audit log."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from pathoprog.inference.service.access.gate import Gate
from pathoprog.inference.service.access.principal import Principal
from pathoprog.inference.service.access.roles import Permission
from pathoprog.inference.service.catalogue import Catalogue
from pathoprog.inference.service.config import RouteSettings, ServiceSettings
from pathoprog.inference.service.names import Names
from pathoprog.inference.service.records.audit_lines import Action
from pathoprog.inference.service.records.audit_log import AuditLog
from pathoprog.inference.service.viewing.slide_viewing import SlideViewing
from pathoprog.inference.service.vigil import Vigil
from pathoprog.inference.service.work.conductor import Conductor
from pathoprog.inference.service.work.desk import AbsentError
from pathoprog.inference.service.work.forgetting import Forgetting
from pathoprog.inference.service.work.lane import LanePlan
from pathoprog.inference.service.work.patients import PatientJoiner
from pathoprog.inference.service.work.snapshot import Snapshot
from pathoprog.slide_report.heatmap import CAPTION_UNKNOWN, caption_of

Answer = TypeVar("Answer")
BEARER = HTTPBearer(auto_error=False, description="a token of `pathoprog token add`")
ANSWER_S = 30.0
"""How long a request waits for the conductor."""


@dataclass(frozen=True)
class Service:
    """What a handler may use.

    Attributes:
        settings: of the service.
        snapshot: what is shown.
        conductor: for changes.
        gate: who asks.
        audit: what is put on record.
        catalogue: the slides of the roots.
        names: the ids of slides and patients.
        plans: of the bundles, by name.
        joiner: of patients' slides.
        vigil: what the service looks after by itself.
        forgetting: of patients.
        viewing: of slides.
        secure: whether browsers reach it over TLS.
    """

    settings: ServiceSettings
    snapshot: Snapshot
    conductor: Conductor
    gate: Gate
    audit: AuditLog
    catalogue: Catalogue
    names: Names
    plans: Mapping[str, LanePlan]
    joiner: PatientJoiner
    vigil: Vigil
    forgetting: Forgetting
    viewing: SlideViewing
    secure: bool

    @property
    def routes(self) -> dict[str, RouteSettings]:
        """By name."""
        return {route.name: route for route in self.settings.routes}

    def route(self, name: str) -> RouteSettings:
        """One route.

        Raises:
            AbsentError: there is none by this name.
        """
        if name not in self.routes:
            raise AbsentError(f"no route '{name}'")
        return self.routes[name]

    def slides_folder(self, bundle: str) -> Path:
        """Where a bundle's results lie."""
        return Path(self.settings.out) / bundle / "slides"

    def caption(self, bundle: str) -> str:
        """What the tiles of a bundle's results show and do not show."""
        lane = self.plans.get(bundle)
        return CAPTION_UNKNOWN if lane is None else caption_of(lane.plan.weighings)

    async def change(self, what: Callable[[], Answer]) -> Answer:
        """Have something done by the conductor, and wait for it."""
        future: Future[Answer] = self.conductor.ask(what)
        return await asyncio.wait_for(asyncio.wrap_future(future), ANSWER_S)

    async def record(self, who: Principal, action: Action, subject: str, **detail: Any) -> None:
        """Put something on record before it is answered; what cannot be recorded is not shown.

        Raises:
            AuditError: it could not be written.
        """
        await asyncio.to_thread(self.audit.append, who.name, who.role.value, action, subject, **detail)


def service_of(request: Request) -> Service:
    """The service that a request came to."""
    service: Service = request.app.state.service
    return service


def principal_of(
    request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)] = None
) -> Principal:
    """Who asks. The gate reads the token itself; that it is one is for the description of the interface.

    Raises:
        AccessError: nobody that is known.
    """
    host = request.client.host if request.client is not None else ""
    url = f"{request.url.path}?{request.url.query}"
    return service_of(request).gate.authenticate(request.headers, request.cookies, host, request.method, url)


Served = Annotated[Service, Depends(service_of)]
Asking = Annotated[Principal, Depends(principal_of)]


@dataclass(frozen=True)
class Needs:
    """A dependency: whoever asks must have a permission."""

    permission: Permission

    async def __call__(self, who: Asking) -> Principal:
        """See the class.

        Raises:
            AccessError: 403.
        """
        who.demand(self.permission)
        return who


Viewing = Annotated[Principal, Depends(Needs(Permission.SEE_QUEUE))]
Reading = Annotated[Principal, Depends(Needs(Permission.SEE_RESULTS))]
Submitting = Annotated[Principal, Depends(Needs(Permission.SUBMIT))]
Requeueing = Annotated[Principal, Depends(Needs(Permission.REQUEUE))]
Cancelling = Annotated[Principal, Depends(Needs(Permission.CANCEL))]
Prioritising = Annotated[Principal, Depends(Needs(Permission.PRIORITISE))]
Releasing = Annotated[Principal, Depends(Needs(Permission.RELEASE))]
LookingUp = Annotated[Principal, Depends(Needs(Permission.LOOK_UP))]
Correcting = Annotated[Principal, Depends(Needs(Permission.CORRECT_OUTLINE))]
Measuring = Annotated[Principal, Depends(Needs(Permission.SEE_METRICS))]
Forgets = Annotated[Principal, Depends(Needs(Permission.FORGET))]
Redelivering = Annotated[Principal, Depends(Needs(Permission.REDELIVER))]
Auditing = Annotated[Principal, Depends(Needs(Permission.SEE_AUDIT))]
