"""Made slides with a tumour that a small network learns in seconds: pink tissue, a purple disc with its outline."""

from pathlib import Path

import numpy as np
import shapely
from made_slides import PURPLE, texture, write_pyramid

from pathoprog import cli
from pathoprog.ensemble.bundle import lock, read_manifest
from pathoprog.regions.annotations import write_outline
from pathoprog.training.config import EnsembleConfig
from pathoprog.training.lock.tumour import add_tumour

SIDE, MPP, MARGIN = 1280, 0.25, 80  # level-0 px; um/px; px of glass
SETTINGS = [
    "network.encoder=tu-mobilenetv3_small_050", "network.decoder=4", "outline.window_px=64", "outline.overlap_px=16",
    "outline.min_area_um2=2000", "outline.min_hole_um2=1000", "fit.steps=40", "fit.evaluate_every=20", "fit.lr=0.01",
    "fit.windows_per_step=6", "fit.warmup_steps=5", "stream.workers=1", "device=cpu", "track.tracking=none",
]  # fmt: skip


def disc(centre: tuple[int, int], radius: int) -> shapely.Polygon:
    """The outline of a tumour, level-0 px."""
    return shapely.Point(centre).buffer(radius)


def write_slide(path: Path, seed: int, centre: tuple[int, int] = (0, 0), radius: int = 0) -> Path:
    """A slide of pink tissue with a purple disc (none where the radius is 0)."""
    image = np.clip(texture(SIDE, SIDE, seed=seed, margin=MARGIN).astype(np.int16) // 8 * 8, 0, 255)
    glass = image.min(axis=2) > 230
    image[~glass] = np.array((214, 150, 188)) + image[~glass] // 16
    y, x = np.mgrid[:SIDE, :SIDE]
    inside = np.hypot(x - centre[0], y - centre[1]) < radius
    image[inside & ~glass] = np.array(PURPLE) + image[inside & ~glass] // 16
    return write_pyramid(path, image.astype(np.uint8), mpp=MPP)


def made_cohort(folder: Path) -> Path:
    """Eight slides with outlines (four training, two tuning, two external) and one external without a tumour."""
    (folder / "outlines").mkdir(parents=True)
    rng = np.random.default_rng(3)
    rows = ["patient_id,slide_id,slide_path,outline_path,cohort,role"]
    for number, role in enumerate(["training"] * 4 + ["tuning"] * 2 + ["external"] * 3):
        name, healthy = f"T{number}", number == 8
        centre, radius = tuple(map(int, rng.integers(480, 800, 2))), int(rng.integers(220, 340))
        write_slide(folder / f"{name}.tif", number, centre, 0 if healthy else radius)
        outline = "" if healthy else f"outlines/{name}.geojson"
        if outline:
            write_outline(folder / outline, disc(centre, radius), name=name)
        rows.append(f"P{number},{name},{name}.tif,{outline},North,{role}")
    (folder / "cohort.csv").write_text("\n".join(rows) + "\n")
    return folder / "cohort.csv"


def train(cohort: Path, out: Path, *more: str) -> int:
    """`pathoprog segment mode=train`, in seconds."""
    return cli.main(["segment", f"cohort={cohort}", f"out={out}", *SETTINGS, *more])


def bundle_with_tumour(bundle: Path, trained: Path, out: Path, policy: str = "network") -> Path:
    """A bundle's members locked again with a tumour network; returns the folder."""
    manifest = read_manifest(bundle)
    files: dict[str, Path | str] = {name: bundle / name for name in manifest.files}
    lock(out, add_tumour(EnsembleConfig(tumour=str(trained), tumour_policy=policy), manifest, files), files)
    return out
