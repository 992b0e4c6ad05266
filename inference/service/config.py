"""Settings of `pathoprog serve`: one typed file, the environment on top (light); secrets are in files that it names."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from pathoprog.cohort_tables.roles import ROLES as COHORT_ROLES
from pathoprog.inference.service.access.access_config import AccessSettings
from pathoprog.inference.service.intake.intake_config import (
    IdentitySettings,
    PatientRule,
    StagingSettings,
    WatchSettings,
)
from pathoprog.inference.service.outbound.outbound_config import OutboundSettings
from pathoprog.inference.service.records.records_config import AuditLogSettings
from pathoprog.inference.service.settings_file import read_settings
from pathoprog.inference.service.viewing.viewing_config import ViewingSettings
from pathoprog.networks.engines.choice import RUNTIME_HELP, RUNTIMES
from pathoprog.quality.config import QualitySettings
from pathoprog.regions.tumour_config import POLICIES as TUMOUR_POLICIES
from pathoprog.scoring.eligibility import TRAITS
from pathoprog.settings import setting
from pathoprog.stream.config import StreamSettings

PREFIX = "PATHOPROG_SERVE"
"""Of the variables that stand above the file: PATHOPROG_SERVE__LISTEN__PORT=9000."""
PRIORITIES = ("urgent", "routine")
"""In the order in which they are taken."""


@dataclass
class ListenSettings:
    """Where the service answers."""

    host: str = setting("127.0.0.1", "address to listen on; any but this machine's own needs TLS or a named proxy")
    port: int = setting(8417, "port (0: any free one, printed at the start)", low=0, high=65535)
    tls_certificate: str = setting("", "certificate chain (PEM) for TLS of its own", kind="path")
    tls_key: str = setting("", "private key (PEM) of the certificate; readable by its owner alone", kind="path")


@dataclass
class RequestLimits:
    """What one client may take."""

    body_kib: int = setting(64, "largest body of a request, KiB", low=1, high=65536)
    outline_kib: int = setting(4096, "largest body that holds a corrected outline, KiB", low=1, high=65536)
    header_s: float = setting(10.0, "seconds in which a request's head must have come", open_low=True, low=0, high=600)
    body_s: float = setting(20.0, "seconds in which a request's body must have come", open_low=True, low=0, high=600)
    connections: int = setting(200, "connections at the same time; more are told to come later", low=1, high=10000)
    page: int = setting(200, "most rows of one page of a list", low=1, high=5000)


@dataclass
class BundleSettings:
    """A locked ensemble that the service holds ready."""

    name: str = setting("", "its name in addresses and folders", required=True)
    folder: str = setting("", "folder of the locked bundle", kind="path", required=True)
    key: str = setting("", "public key (PEM); a bundle that was not signed with it is refused", kind="path")
    encoder_weights: list[str] = setting([], "encoder weights that the bundle names only by hash", kind="paths")
    validation: str = setting("", "output folder of `pathoprog validate` for it: its curves on the pages", kind="path")
    tumour_policy: str = setting(
        "bundle", "where tiles may lie; bundle: as it says", choices=("bundle", *TUMOUR_POLICIES)
    )
    outlines: str = setting("", "folder with outlines, <slide_id>.geojson, for the policy outline", kind="path")


@dataclass
class RootSettings:
    """A folder that slides may come from; no client names a path in it."""

    name: str = setting("", "its name in lists", required=True)
    folder: str = setting("", "the folder", kind="path", required=True)


@dataclass
class RouteSettings:
    """A way in: which slides, for which bundles, on whose word.

    The class is withheld where `eligibility` leaves a trait unknown.
    """

    name: str = setting("", "its name", required=True)
    root: str = setting("", "name of the root that its slides lie in", required=True)
    bundles: list[str] = setting(
        [], "bundles by name: the first is the champion, others score beside it", required=True
    )
    priority: str = setting("routine", "priority of what comes without one", choices=PRIORITIES)
    patients: PatientRule = setting(PatientRule(), "whose its slides are, and by which names they go")
    identity: IdentitySettings = setting(IdentitySettings(), "what is done if a slide could name a person")
    retention_days: int = setting(
        0, "forget a slide, its patient's ids and its results so many days after its end (0: keep)", low=0, high=36500
    )
    staged: bool = setting(False, "copy its slides to the local disk first (staging), since they lie on a slow share")
    eligibility: dict[str, str] = setting(
        {}, f"what its slides are: {', '.join(TRAITS)} (a table of the route may say it for each slide)"
    )
    role: str = setting("", "role of its slides in a cohort", choices=("", *COHORT_ROLES))
    cohort: str = setting("", "cohort that its slides belong to")


@dataclass
class ScoringSettings:
    """How slides are scored; a change of what a score hangs on means other results, and new work."""

    workers: int = setting(0, "worker processes of each bundle (0: one per GPU, or one)", low=0, high=64)
    device: str = setting("auto", "device: auto (a GPU if there is one), cpu or cuda:N")
    dtype: str = setting("auto", "precision; auto takes the bundle's", choices=("auto", "fp32", "bf16"))
    runtime: str = setting("auto", RUNTIME_HELP, choices=RUNTIMES)
    threads: int = setting(
        0, "networks that compute at the same time on a CPU (0: one per core, up to 5)", low=0, high=5
    )
    thumbnail_px: int = setting(640, "longer side of the tile map's background image, px", low=64, high=4096)
    pdf: bool = setting(True, "also write each slide's page as report.pdf")
    settle_s: float = setting(10.0, "a file that changed in the last seconds is not read yet", low=0, high=86400)
    quality: QualitySettings = setting(QualitySettings(eligibility="require"), "checks of quality and eligibility")
    stream: StreamSettings = setting(StreamSettings(), "the reader processes")


@dataclass
class ServiceSettings:
    """`pathoprog serve`."""

    state: str = setting(
        "", "folder of the ledger, submissions, tokens and audit log; a local disk", kind="path", required=True
    )
    out: str = setting("", "folder of the results, one below it for each bundle", kind="path", required=True)
    listen: ListenSettings = setting(ListenSettings(), "where it answers")
    limits: RequestLimits = setting(RequestLimits(), "what one client may take")
    bundles: list[BundleSettings] = field(default_factory=list, metadata={"help": "locked ensembles", "required": True})
    roots: list[RootSettings] = field(
        default_factory=list, metadata={"help": "folders that slides may come from", "required": True}
    )
    routes: list[RouteSettings] = field(default_factory=list, metadata={"help": "ways in", "required": True})
    watch: list[WatchSettings] = field(default_factory=list, metadata={"help": "watched folders"})
    staging: StagingSettings = setting(StagingSettings(), "local copies of slides that lie on slow shares")
    outbound: OutboundSettings = setting(OutboundSettings(), "webhooks, alarms, the log")
    audit: AuditLogSettings = setting(AuditLogSettings(), "the audit log")
    backups: str = setting("", "folder for backups of the state; without one none are made", kind="path")
    forgotten: str = setting(
        "",
        "file that says, as keyed hashes, what was forgotten, for a restore to do it again; keep it on another disk "
        "(default: forgotten.jsonl in the folder of backups, without one in the state folder)",
        kind="path",
    )
    scoring: ScoringSettings = setting(ScoringSettings(), "how slides are scored")
    access: AccessSettings = setting(AccessSettings(), "who may do what")
    viewing: ViewingSettings = setting(ViewingSettings(), "how slides are shown on the page")
    stop_s: float = setting(
        60.0,
        "at a stop, seconds for the slides in hand; what is not done then goes on at the next start",
        low=0,
        high=3600,
    )


@dataclass
class ServeConfig:
    """The command's own settings: the file, and nothing else."""

    settings: str = setting("", "the service's settings file (YAML; docs/service.md)", kind="path")
    demo: str = setting("", "instead of a file: the folder of the demo's results, to try the service on", kind="path")
    demo_port: int = setting(8417, "port of that", low=1, high=65535)
    check: bool = setting(False, "check the settings, bundles and folders, say what would run, and stop")


@dataclass
class ForgetConfig:
    """`pathoprog forget`."""

    settings: str = setting("", "the service's settings file", kind="path", required=True)
    patient: str = setting(
        "", "the patient's id as the service shows it, or the one that it stands for", kind="name", required=True
    )


@dataclass
class RestoreConfig:
    """`pathoprog restore`."""

    settings: str = setting("", "the service's settings file", kind="path", required=True)
    backup: str = setting("", "folder of the backup", kind="path", required=True)


def settings_of(file: str) -> ServiceSettings:
    """The service's settings, the environment on top.

    Raises:
        ConfigError: what is wrong with them.
    """
    return read_settings(ServiceSettings, Path(file), os.environ, PREFIX)


def staging_folder(settings: ServiceSettings) -> Path:
    """Where local copies of slides lie."""
    return Path(settings.staging.folder or Path(settings.state) / "staging")
