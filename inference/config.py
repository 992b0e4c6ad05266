"""Settings of the laboratories' commands, gathered from the parts of the library that they configure (light)."""

from dataclasses import dataclass

from pathoprog.cohort_tables.roles import ROLES
from pathoprog.networks.engines.choice import RUNTIME_HELP, RUNTIMES
from pathoprog.quality.config import QualitySettings
from pathoprog.regions.tumour_config import POLICIES
from pathoprog.settings import setting
from pathoprog.slides.config import SlideSettings
from pathoprog.stream.config import StreamSettings
from pathoprog.system.ray_config import RaySettings


@dataclass
class TileOverrides:
    """What may depart from the bundle's tiles; each departure is written into the results."""

    max_per_slide: int = setting(
        -1, "largest number of tiles per slide and resolution, spread evenly (0: all; -1: as the bundle says)", low=-1
    )


@dataclass
class Outputs:
    """What is written of each slide beside its result; none of it changes a score or a class."""

    pdf: bool = setting(True, "the slide's page as report.pdf, beside report.html")
    validation: str = setting(
        "",
        "output folder of `pathoprog validate` for this ensemble; each slide's page then shows the curve of its class",
        kind="path",
    )


@dataclass
class ScoreConfig:
    """`pathoprog score`."""

    paths: list[str] = setting([], "slides: files, folders, globs, or a .txt list of them", kind="paths")
    cohort: str = setting(
        "", "cohort.csv to score, instead of slides=…; it gives ids, patients, roles and outlines", kind="path"
    )
    features: str = setting(
        "",
        "folder of features that TRIDENT, CLAM or STAMP wrote, or one with such a folder for each resolution, called"
        " after it; for an ensemble on another tool's features, in place of slides=…",
        kind="path",
    )
    features_10x: str = setting("", "folder of another tool's features at 10x (default: 10x in features)", kind="path")
    features_20x: str = setting("", "folder of another tool's features at 20x (default: 20x in features)", kind="path")
    features_40x: str = setting("", "folder of another tool's features at 40x (default: 40x in features)", kind="path")
    overlap: str = setting(
        "", "overlap.json: the patients that are meant to be in test and in development", kind="path"
    )
    roles: list[str] = setting([], "score only these roles of the cohort (if none is given: all)", choices=ROLES)
    outlines: str = setting(
        "", "folder with a tumour outline for each slide of slides=…, named <slide_id>.geojson", kind="path"
    )
    ensemble: str = setting("", "folder of the locked bundle", kind="path", required=True)
    key: str = setting("", "public key (PEM); an ensemble that was not signed with it is refused", kind="path")
    encoder_weights: list[str] = setting(
        [], "encoder weights (safetensors) that the bundle does not hold and names only by hash", kind="paths"
    )
    out: str = setting("", "folder for the results; running again goes on where it stopped", kind="path", required=True)
    tumour_policy: str = setting(
        "bundle",
        "where tiles may lie: in the outline drawn by the bundle's network, in given outlines, or in all tissue; "
        "bundle: as the bundle says",
        choices=("bundle", *POLICIES),
    )
    corrected_outlines: str = setting(
        "", "folder with corrected outlines, named <slide_id>.geojson, that replace the network's", kind="path"
    )
    slides: SlideSettings = setting(SlideSettings(), "how slides are read")
    tiles: TileOverrides = setting(TileOverrides(), "changes to the bundle's tiles")
    quality: QualitySettings = setting(QualitySettings(), "checks of the slides' quality, and eligibility")
    stream: StreamSettings = setting(StreamSettings(), "the reader processes")
    ids: str = setting(
        "given",
        "names of slides and patients in the output: as given (file name or table), or pseudonyms",
        choices=("given", "pseudonym"),
    )
    ids_key: str = setting(
        "",
        "file with the secret key of the pseudonyms; it is made if it does not exist (default: out/pseudonyms.key)",
        kind="path",
    )
    requeue: bool = setting(False, "try failed slides again, even if their files have not changed")
    go_on: bool = setting(
        False, "if slides=… names something that is not a slide, list it as failed and score the rest"
    )
    settle_s: float = setting(
        10.0,
        "wait until a file has not changed for this many seconds; a file named <file>.ready says that it is complete",
        low=0.0,
        high=86400,
    )
    engine: str = setting(
        "local",
        "where the workers run: local (processes on this machine) or ray (a Ray cluster)",
        choices=("local", "ray"),
    )
    ray: RaySettings = setting(RaySettings(), "the Ray cluster")
    ledger: str = setting(
        "", "ledger file; put it on a local disk if out=… is a network share (default: out/ledger.sqlite)", kind="path"
    )
    workers: int = setting(
        0,
        "worker processes, each with all the networks (0: one per GPU, or one if there is no GPU)",
        low=0,
        high=64,
    )
    device: str = setting("auto", "device: auto (a GPU if there is one), cpu or cuda:N")
    dtype: str = setting(
        "auto",
        "precision; auto takes the bundle's, and any other is refused",
        choices=("auto", "fp32", "bf16"),
    )
    runtime: str = setting("auto", RUNTIME_HELP, choices=RUNTIMES)
    threads: int = setting(
        0,
        "networks that compute at the same time on a CPU (0: one per core, up to as many as one resolution has)",
        low=0,
        high=64,
    )
    thumbnail_px: int = setting(640, "longer side of the tile map's background image, px", low=64, high=4096)
    outputs: Outputs = setting(Outputs(), "files that are written for each slide")
    dry_run: bool = setting(False, "check the input, list what would be done, and stop")

    @property
    def features_at(self) -> dict[str, str]:
        """The folder of features that was given for each resolution, empty for none."""
        return {"10x": self.features_10x, "20x": self.features_20x, "40x": self.features_40x}
