"""Settings of the laboratories' commands, gathered from the parts of the library that they configure (light)."""

from dataclasses import dataclass

from pathoprog.cohort_tables.roles import ROLES
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
        -1, "most tiles per slide and resolution, spread evenly (0: all; -1: as the bundle says)", low=-1
    )


@dataclass
class Outputs:
    """What is written of each slide beside its result; none of it changes a score or a class."""

    pdf: bool = setting(True, "the slide's page as report.pdf, beside report.html")
    validation: str = setting(
        "",
        "folder of `pathoprog validate` of this ensemble: the page shows its cohort's curve of the class",
        kind="path",
    )


@dataclass
class ScoreConfig:
    """`pathoprog score`."""

    paths: list[str] = setting([], "slides: files, folders, globs, or a .txt list of them", kind="paths")
    cohort: str = setting("", "cohort.csv in place of slides=…: ids, patients, roles and outlines", kind="path")
    overlap: str = setting("", "overlap.json that declares patients shared by design", kind="path")
    roles: list[str] = setting([], "score only these roles of the cohort (none given: all)", choices=ROLES)
    outlines: str = setting("", "folder with <slide_id>.geojson tumour outlines, for slides=…", kind="path")
    ensemble: str = setting("", "the locked bundle", kind="path", required=True)
    key: str = setting("", "public key (PEM): refuse an ensemble that it has not signed", kind="path")
    encoder_weights: list[str] = setting(
        [], "safetensors files with the weights of encoders that the bundle names by their hash alone", kind="paths"
    )
    out: str = setting("", "folder for the results; running again goes on where it stopped", kind="path", required=True)
    tumour_policy: str = setting(
        "bundle",
        "where tiles may lie: in the outline of the bundle's network, in given outlines, in all tissue; bundle: as "
        "locked in it",
        choices=("bundle", *POLICIES),
    )
    corrected_outlines: str = setting(
        "", "folder with <slide_id>.geojson outlines that stand in place of the network's", kind="path"
    )
    slides: SlideSettings = setting(SlideSettings(), "how slides are read")
    tiles: TileOverrides = setting(TileOverrides(), "tiles")
    quality: QualitySettings = setting(QualitySettings(), "checks of the slides' quality, and eligibility")
    stream: StreamSettings = setting(StreamSettings(), "the reader processes")
    ids: str = setting(
        "given",
        "what slides and patients are called in all that is written: as given (file name or table), or by pseudonyms",
        choices=("given", "pseudonym"),
    )
    ids_key: str = setting(
        "", "file with the secret key of the pseudonyms, made if absent (none: out/pseudonyms.key)", kind="path"
    )
    requeue: bool = setting(False, "try slides again that failed before, though their files are unchanged")
    go_on: bool = setting(
        False, "where slides=… names something that is no slide, make failed rows of it and score the rest"
    )
    settle_s: float = setting(
        10.0,
        "a file changed within so many seconds must first stand still for as long; <file>.ready says it is whole",
        low=0.0,
        high=86400,
    )
    engine: str = setting(
        "local", "where the workers run: processes of this machine, or Ray over nodes", choices=("local", "ray")
    )
    ray: RaySettings = setting(RaySettings(), "")
    ledger: str = setting(
        "", "file of the ledger, on a local disk, where out=… is a share (none: out/ledger.sqlite)", kind="path"
    )
    workers: int = setting(
        0, "processes with the networks (0: one per GPU; without one, one per machine)", low=0, high=64
    )
    device: str = setting("auto", "auto, cpu or cuda:N")
    dtype: str = setting(
        "auto",
        "precision: auto takes the one that the bundle locks, another is refused",
        choices=("auto", "fp32", "bf16"),
    )
    threads: int = setting(0, "networks that compute at once on a CPU (0: one per core, up to 5)", low=0, high=5)
    thumbnail_px: int = setting(640, "longer side of the slide in the tile map, px", low=64, high=4096)
    outputs: Outputs = setting(Outputs(), "files of each slide")
    dry_run: bool = setting(False, "check the input, say what would be done, and stop")
