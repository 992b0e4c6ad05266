"""The application: all routes of the interface, its errors and limits. It loads nothing from elsewhere."""

from fastapi import FastAPI

from pathoprog import RESEARCH_USE_ONLY, __version__
from pathoprog.inference.service.page import (
    bundle_routes,
    night_routes,
    patient_routes,
    slide_routes,
    static_routes,
    worklist_routes,
)
from pathoprog.inference.service.page.page_data import page_data
from pathoprog.inference.service.viewing import openseadragon_routes, outline_routes, view_routes
from pathoprog.inference.service.web import (
    admin_routes,
    event_routes,
    export_routes,
    open_routes,
    result_routes,
    submission_routes,
    webhook_routes,
)
from pathoprog.inference.service.web.limits import LimitedRequests
from pathoprog.inference.service.web.problems import handle_problems
from pathoprog.inference.service.web.service import Service

ROUTERS = (
    open_routes.router,
    submission_routes.router,
    result_routes.router,
    admin_routes.router,
    event_routes.router,
    export_routes.router,
    webhook_routes.router,
    worklist_routes.router,
    slide_routes.router,
    patient_routes.router,
    night_routes.router,
    bundle_routes.router,
    static_routes.router,
    view_routes.router,
    outline_routes.router,
    openseadragon_routes.router,
)


def make_app(service: Service) -> FastAPI:
    """The application of a service."""
    app = FastAPI(
        title="pathoprog",
        version=__version__,
        summary="Prognosis from digital pathology: slides in, results out.",
        description=RESEARCH_USE_ONLY,
        docs_url=None,  # their pages load scripts from a foreign host
        redoc_url=None,
        separate_input_output_schemas=False,
    )
    app.state.service = service
    app.state.page_data = page_data(service)
    for router in ROUTERS:
        app.include_router(router)
    handle_problems(app)
    app.add_middleware(LimitedRequests, limits=service.settings.limits)
    return app
