"""Makes the README's picture from the demo's files: `python docs/images/make_overview.py [runs/demo]`."""

import sys
from pathlib import Path

from PIL import Image

HEIGHT_PX = 620
GAP_PX = 24


def main(demo: Path) -> None:
    """Put a poor slide's tile maps beside the external cohort's curves."""
    import pandas as pd

    table = pd.read_csv(demo / "scores" / "results.csv", dtype={"slide_id": str})
    cohort = pd.read_csv(demo / "cohort" / "cohort.csv", dtype={"slide_id": str}).set_index("slide_id")
    external = table[table["slide_id"].map(cohort["role"]) == "external"]
    slide = external.sort_values("score_40x").iloc[-1]["slide_id"]
    paths = (
        demo / "scores" / "slides" / slide / "heatmap.png",
        *sorted(demo.glob("validation/figures/survival_ext*.png")),
    )
    pictures = []
    for path in paths[:2]:
        with Image.open(path) as picture:
            size = (round(picture.width * HEIGHT_PX / picture.height), HEIGHT_PX)
            pictures.append(picture.convert("RGB").resize(size, Image.Resampling.LANCZOS))
    whole = Image.new("RGB", (sum(p.width for p in pictures) + GAP_PX, HEIGHT_PX), "white")
    left = 0
    for picture in pictures:
        whole.paste(picture, (left, 0))
        left += picture.width + GAP_PX
    whole = whole.quantize(256, dither=Image.Dither.NONE)
    whole.save(Path(__file__).with_name("overview.png"), optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo"))
