"""`pathoprog serve service.yaml`: the batch service, from its settings to its stop."""

import logging
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

import uvicorn

from pathoprog import __version__
from pathoprog.errors import ConfigError
from pathoprog.inference.service.access.access_config import TOKENS_FILE
from pathoprog.inference.service.access.gate import Gate
from pathoprog.inference.service.access.lockout import Lockout
from pathoprog.inference.service.access.rate_limits import RateLimits
from pathoprog.inference.service.access.sessions import Sessions, is_loopback, needs_secure_cookie
from pathoprog.inference.service.access.tokens import TokenStore
from pathoprog.inference.service.catalogue import Catalogue
from pathoprog.inference.service.checks import check_settings
from pathoprog.inference.service.config import ServeConfig, ServiceSettings, settings_of, staging_folder
from pathoprog.inference.service.demo_service import prepare_demo
from pathoprog.inference.service.intake.staging import StagingCache
from pathoprog.inference.service.names import Names
from pathoprog.inference.service.records.audit_lines import Action
from pathoprog.inference.service.records.audit_log import AUDIT_FILE, AuditLog
from pathoprog.inference.service.state_folder import IDS_KEY, alone, forgotten_file
from pathoprog.inference.service.viewing.slide_viewing import SlideViewing
from pathoprog.inference.service.vigil import Vigil
from pathoprog.inference.service.web.app import make_app
from pathoprog.inference.service.web.limits import timed_protocol
from pathoprog.inference.service.web.service import Service
from pathoprog.inference.service.work.conductor import Conductor
from pathoprog.inference.service.work.forgetting import Forgetting, Holdings
from pathoprog.inference.service.work.lane import LanePlan, plan_lane
from pathoprog.inference.service.work.patients import PatientJoiner
from pathoprog.inference.service.work.preparing import Preparers, RootPreparer
from pathoprog.inference.service.work.snapshot import Snapshot
from pathoprog.inference.service.work.watching import WatchedFolder
from pathoprog.inference.slides.pseudonyms import KEY, MAP, read_key
from pathoprog.slides.config import SlideSettings
from pathoprog.system.console import say
from pathoprog.text.plain_text import defect_text
from pathoprog.text.wording import count

MIB, GIB = 1 << 20, 1 << 30
GRACE_S = 5
"""Seconds that answers under way have at a stop; streams of events end by themselves."""


def run(config: ServeConfig) -> int:
    """Serve until told to stop; returns 0 after an orderly stop, 1 if the service ended by itself."""
    if bool(config.settings) == bool(config.demo):
        raise ConfigError("give either the service's settings file, or demo=FOLDER")
    settings = settings_of(config.settings or str(prepare_demo(Path(config.demo), config.demo_port)))
    check_settings(settings)
    plans = [plan_lane(bundle, settings) for bundle in settings.bundles]
    for plan in plans:
        say(f"{plan.name}: ensemble {plan.plan.ensemble_id[:12]}, on {', '.join(plan.devices)}")
    if config.check:
        say(f"{count(len(settings.routes), 'route')}; nothing is wrong with the settings")
        return 0
    state = Path(settings.state)
    with alone(state):
        return _serve(settings, plans, state)


def _serve(settings: ServiceSettings, plans: list[LanePlan], state: Path) -> int:
    """Start the parts, each to be ended in the reverse order, and answer requests until told to stop."""
    snapshot = Snapshot()
    names = Names(settings.routes, state / KEY, state / MAP)
    conductor = Conductor(settings, plans, snapshot, names.paths)
    audit = AuditLog(state / AUDIT_FILE, most_bytes=int(settings.audit.most_mib * MIB))
    gate, secure = _gate(settings, state)
    catalogue = Catalogue(settings.roots, read_key(state / IDS_KEY), settings.scoring.stream.timeout_s)
    folders = {root.name: root.folder for root in settings.roots}
    routes = {route.name: route for route in settings.routes}
    watched = []
    for watch in settings.watch:
        route = routes[watch.route]
        watched.append(WatchedFolder(watch, route, SlideSettings(roots=[folders[route.root]]), conductor, names))
    audit.append("service", "", Action.SERVICE_STARTED, secrets.token_hex(4), version=__version__)
    with ExitStack() as parts:
        parts.enter_context(_defects_without_words())
        staging = _staging(settings, parts)
        preparers = _preparers(settings, conductor, staging)
        conductor.start(Preparers(preparers))
        parts.callback(conductor.stop, settings.stop_s)
        holdings = Holdings(
            store=conductor.desk.store,
            ledger=conductor.desk.ledger,
            snapshot=snapshot,
            slides_folders=[plan.slides_folder for plan in plans],
            names=names.paths,
            staging=staging,
        )
        forgetting = Forgetting(holdings, forgotten_file(settings), read_key(state / IDS_KEY))
        vigil = Vigil(settings, state, conductor, watched, state / AUDIT_FILE, forgetting)
        running: list[RootPreparer | WatchedFolder | Vigil] = [*preparers.values(), *watched, vigil]
        for part in running:
            part.start()
            parts.callback(part.stop)
        viewing = SlideViewing(settings.viewing, staging)
        parts.callback(viewing.stop)
        service = Service(
            settings=settings,
            snapshot=snapshot,
            conductor=conductor,
            gate=gate,
            audit=audit,
            catalogue=catalogue,
            names=names,
            plans={plan.name: plan for plan in plans},
            joiner=PatientJoiner(),
            vigil=vigil,
            forgetting=forgetting,
            viewing=viewing,
            secure=secure,
        )
        _Server(service, conductor).run()
        say(f"stopping: slides in hand have {settings.stop_s:.0f} s")
    audit.append("service", "", Action.SERVICE_STOPPED, "", orderly=not conductor.failed)
    return 1 if conductor.failed else 0


def _staging(settings: ServiceSettings, parts: ExitStack) -> StagingCache | None:
    """The folder of local copies, which all routes with such copies share."""
    if not any(route.staged for route in settings.routes):
        return None
    folder = staging_folder(settings)
    given = settings.staging
    staging = StagingCache(folder, int(given.max_gib * GIB), int(given.keep_free_gib * GIB))
    parts.callback(staging.close)
    return staging


def _preparers(
    settings: ServiceSettings, conductor: Conductor, staging: StagingCache | None
) -> dict[str, RootPreparer]:
    """One for each root."""
    timeout_s = settings.scoring.stream.timeout_s
    return {
        root.name: RootPreparer(root.name, root.folder, timeout_s, staging, conductor.prepared)
        for root in settings.roots
    }


def _gate(settings: ServiceSettings, state: Path) -> tuple[Gate, bool]:
    """Who comes in, and whether browsers reach the service over TLS."""
    access = settings.access
    secure = needs_secure_cookie("https" if settings.listen.tls_certificate else "http", settings.listen.host)
    tokens = TokenStore(state / TOKENS_FILE)
    return Gate(access, tokens, Sessions(access), Lockout(access), RateLimits(access), secure), secure


class _Server:
    """uvicorn over the service's application, ended by a signal or by the conductor's end."""

    def __init__(self, service: Service, conductor: Conductor):
        listen, limits = service.settings.listen, service.settings.limits
        config = uvicorn.Config(
            make_app(service),
            host=listen.host,
            port=listen.port,
            http=timed_protocol(limits.header_s),
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,  # addresses hold ids; the audit log has what counts
            server_header=False,
            proxy_headers=False,  # the gate alone decides whom to believe
            limit_concurrency=limits.connections,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=GRACE_S,
            ssl_certfile=listen.tls_certificate or None,
            ssl_keyfile=listen.tls_key or None,
        )
        self._server = _Announced(config, service)
        self._conductor = conductor

    def run(self) -> None:
        """Serve until a signal comes, or the conductor ends."""
        threading.Thread(target=self._watch, name="watches the conductor", daemon=True).start()
        self._server.run()

    def _watch(self) -> None:
        self._conductor.wait()
        self._server.should_exit = True


@contextmanager
def _defects_without_words() -> Iterator[None]:
    """Have defects of threads and of the server told without their words, which may hold the name of a file."""
    loggers = [logging.getLogger(name) for name in ("uvicorn.error", "asyncio")]
    before = threading.excepthook
    threading.excepthook = _tell_defect
    for logger in loggers:
        logger.addFilter(_leave_words_out)
    try:
        yield
    finally:
        threading.excepthook = before
        for logger in loggers:
            logger.removeFilter(_leave_words_out)


def _tell_defect(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        print(defect_text(args.exc_value), file=sys.stderr, flush=True)


def _leave_words_out(record: logging.LogRecord) -> bool:
    if record.exc_info and record.exc_info[1] is not None:
        record.exc_text = defect_text(record.exc_info[1])
    return True


class _Announced(uvicorn.Server):
    """Says where it answers, once it does; streams of events are told to end before it waits for them."""

    def __init__(self, config: uvicorn.Config, service: Service):
        super().__init__(config)
        self._service = service

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            scheme = "https" if self.config.ssl_certfile else "http"
            say(
                f"listening on {scheme}://{host}:{port} (this machine only)"
                if is_loopback(host)
                else f"listening on {scheme}://{host}:{port}"
            )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """See uvicorn, which raises the signal again at its end: then slides in hand would not be waited for."""
        before = {sig: signal.signal(sig, self.handle_exit) for sig in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """See uvicorn: a second signal does not wait for answers under way."""
        super().handle_exit(sig, frame)
        self._service.conductor.will_stop()
