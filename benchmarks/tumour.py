"""Does the tumour network hold on sites and a scanner it never saw, and do the classes hold with its outlines?

`python benchmarks/tumour.py [demo folder] [folder to write to] [external slides to score]`

Takes the folder of a finished demo (`pathoprog demo`). Trains the tumour network on training and tuning
(`pathoprog segment segmentation=demo`), outlines every external slide and prints Dice. Then locks it into a copy of the
demo's bundle, scores the external slides (all, or the first so many) with its outlines and with the true ones, and
prints how often the classes agree; and scores the tissue outside the true outlines, whose score must carry no
prognosis: c near 0.5.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import shapely

from pathoprog.ensemble.bundle import lock, read_manifest
from pathoprog.ensemble.classes import one_number
from pathoprog.regions.annotations import read_outline, write_outline
from pathoprog.slides import open_slide
from pathoprog.survival import harrell_c
from pathoprog.training.config import EnsembleConfig
from pathoprog.training.lock.tumour import add_tumour

MARGIN_UM = 10.0  # kept clear of the outline on its outer side


def main(demo: Path, out: Path, n_scored: int) -> int:
    out.mkdir(parents=True, exist_ok=True)
    cohort = ["cohort=" + str(demo / "cohort" / "cohort.csv"), f"overlap={demo / 'cohort' / 'overlap.json'}"]
    run("segment", "segmentation=demo", *cohort, f"out={out / 'network'}", "track.tracking=none")
    run("segment", "mode=apply", f"trained={out / 'network'}", *cohort, f"out={out / 'external'}", "roles=[external]")
    dices = pd.read_csv(out / "external" / "tumour.csv")["dice"]
    print(f"Dice on {len(dices)} external slides: mean {dices.mean():.3f}, lowest {dices.min():.3f} (target 0.85)")

    table = pd.read_csv(demo / "cohort" / "cohort.csv", dtype=str)
    table = table[table["role"] == "external"].head(n_scored).copy()
    for column in ("slide_path", "outline_path"):
        table[column] = [str((demo / "cohort" / path).resolve()) for path in table[column]]
    table.to_csv(out / "true.csv", index=False)
    table.assign(outline_path=outside(table, out / "outside")).to_csv(out / "outside.csv", index=False)
    bundle = with_network(demo / "ensemble", out)
    for name, policy, given in (("network", "network", "true"), ("true", "outline", "true"),
                                ("outside", "outline", "outside")):  # fmt: skip
        run("score", f"cohort={out / given}.csv", f"ensemble={bundle}", f"out={out / 'scores' / name}",
            f"tumour_policy={policy}", "quality.policy=report")  # fmt: skip
    found = {name: scores(out / "scores" / name) for name in ("network", "true", "outside")}
    for of in ("slide", "patient"):
        network, true = (scores(out / "scores" / name, of) for name in ("network", "true"))
        both = network.join(true, lsuffix="_network", rsuffix="_true", how="inner")
        agree = both["risk_class_network"] == both["risk_class_true"]
        print(f"{len(both)} external {of}s with both outlines: classes agree in {agree.mean():.1%} (target 90%)")
    for resolution in ("10x", "40x"):
        apart = (both[f"score_{resolution}_network"] - both[f"score_{resolution}_true"]).abs()
        print(f"  {resolution}: scores differ by {apart.mean():.4f} in the mean, {apart.max():.4f} at most")
    cuts = read_manifest(bundle).cuts
    outcomes = pd.read_csv(demo / "cohort" / "outcomes.csv", dtype={"patient_id": str}).set_index("patient_id")
    for name, title in (("true", "true outlines"), ("network", "the network's outlines"),
                        ("outside", "tissue outside the tumour")):  # fmt: skip
        print(f"c of the score of {title}: {c_index(found[name], cuts, outcomes)}")
    return 0


def run(command: str, *arguments: str) -> None:
    """One command in a process of its own; figures only on success."""
    code = subprocess.run([sys.executable, "-m", "pathoprog.cli", command, *arguments], check=False).returncode
    if code:
        raise SystemExit(f"{command} ended with exit code {code}")


def with_network(demo: Path, out: Path) -> Path:
    """The demo's ensemble, locked again with the tumour network."""
    manifest = read_manifest(demo)
    files: dict[str, Path | str] = {name: demo / name for name in manifest.files}
    manifest = add_tumour(EnsembleConfig(tumour=str(out / "network")), manifest, files)
    lock(out / "ensemble", manifest, files)
    return out / "ensemble"


def outside(table: pd.DataFrame, folder: Path) -> list[str]:
    """Outlines of all that lies outside the true ones, a margin left out; tiles of glass among it are no harm."""
    paths = []
    for row in table.to_dict("records"):
        with open_slide(row["slide_path"]) as slide:
            margin, box = MARGIN_UM / slide.mpp, shapely.box(0, 0, slide.width, slide.height)
        path = folder / f"{row['slide_id']}.geojson"
        write_outline(path, shapely.difference(box, read_outline(row["outline_path"]).buffer(margin)))
        paths.append(str(path.resolve()))
    return paths


def scores(folder: Path, of: str = "patient") -> pd.DataFrame:
    """What was scored, by id: patients, or slides."""
    table = pd.read_csv(folder / {"patient": "patients.csv", "slide": "results.csv"}[of], dtype={f"{of}_id": str})
    return table[table["status"] == "scored"].set_index(f"{of}_id")


def c_index(scored: pd.DataFrame, cuts: dict[str, float], outcomes: pd.DataFrame) -> str:
    """Harrell's c of METHOD's one number, with its 95% CI."""
    table = scored.join(outcomes, how="inner")
    risk = np.array(
        [one_number({name: row[f"score_{name}"] for name in cuts}, cuts) for row in table.to_dict("records")]
    )
    found = harrell_c(table["followup_days"].to_numpy(float), (table["event"] == 1).to_numpy(int), risk)
    return f"{found.value:.3f} (95% CI {found.lower:.3f} to {found.upper:.3f}, {len(table)} patients)"


if __name__ == "__main__":
    given = sys.argv[1:]
    sys.exit(main(Path(given[0] if given else "runs/demo"), Path(given[1] if len(given) > 1 else "runs/tumour"),
                  int(given[2]) if len(given) > 2 else 1000))  # fmt: skip
