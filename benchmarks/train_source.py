"""How fast training's bags come straight from slides, against the tile store: both in one run, by turns.

    python benchmarks/train_source.py [key=value …]

Keys: patients (each with a slide), side (of a slide, px), most (tiles of a slide), tiles (drawn of a patient), steps,
rounds, workers (reader processes), device. First reading alone, as the loop reads ahead, at both resolutions; then the
loop itself, as benchmarks/train_step.py runs it. Everything lies in the page cache: what a slow storage adds follows
from the bytes a tile that are printed.
"""

import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch
from read_tiles import cpu_seconds, made_slide
from train_step import SMALL, by_the_loop, full_recipe

from pathoprog.cohort_tables.cohort import read_cohort
from pathoprog.slides import open_slide
from pathoprog.slides.adapters.jpeg_adapter import JpegSlide
from pathoprog.slides.tiff.facts import tiles_under
from pathoprog.stream.requests import PlacedTiles, TileRequests
from pathoprog.system.machine.device import device_name, resolve_device
from pathoprog.tiles.config import TileSpec
from pathoprog.training.config import TrainConfig
from pathoprog.training.data import slide_source, tile_store
from pathoprog.training.data.bags import Patient, Sampler, read_patients
from pathoprog.training.data.data_config import DataSettings
from pathoprog.training.data.prefetch import Prefetch

SIZES = {
    "patients": 8, "side": 12_000, "most": 128, "tiles": 16, "steps": 6, "rounds": 3, "workers": 0, "size_px": 448
}  # fmt: skip
SOURCES = ("store", "slides")


def made_data(folder: Path, sizes: dict[str, int]) -> DataSettings:
    """A cohort of equal slides, half of its patients poor, with its store and its grids."""
    slide = made_slide(folder / "made.tif", sizes["side"])
    rows, outcomes = [], []
    for number in range(sizes["patients"]):
        path = folder / f"P{number}.tif"
        path.hardlink_to(slide)
        rows.append([f"P{number}", f"P{number}-A", str(path), "b", "north", "training"])
        outcomes.append([f"P{number}", 400 if number % 2 else 2300, number % 2])
    names = ["patient_id", "slide_id", "slide_path", "block_id", "cohort", "role"]
    pd.DataFrame(rows, columns=names).to_csv(folder / "cohort.csv", index=False)
    names = ["patient_id", "followup_days", "event"]
    pd.DataFrame(outcomes, columns=names).to_csv(folder / "outcomes.csv", index=False)
    data = DataSettings(
        cohort=str(folder / "cohort.csv"),
        outcomes=str(folder / "outcomes.csv"),
        store=str(folder / "store"),
        tumour_policy="tissue",
        tiles_10x=TileSpec("10x", 1.0, sizes["size_px"], max_per_slide=sizes["most"]),
        tiles_40x=TileSpec("40x", 0.25, sizes["size_px"], max_per_slide=sizes["most"]),
    )
    data.stream.workers = sizes["workers"]
    cohort = read_cohort(data.cohort)
    if tile_store.build(cohort, data):
        sys.exit("slides that were just made cannot be read")
    slide_source.lay(cohort, replace(data, source="slides"))
    return data


@dataclass
class Reading:
    """Tiles a second by the clock; CPU seconds a tile of this process and of the readers together."""

    rate: float
    own_cpu: float
    reader_cpu: float


def by_reading(patients: list[Patient], sizes: dict[str, int], seed: int, requests: TileRequests) -> Reading:
    """The steps' bags, read ahead as in the loop."""
    sampler = Sampler(patients, "class", sizes["patients"], sizes["tiles"], seed)
    own, readers, began = time.process_time(), cpu_of_readers(requests), time.perf_counter()
    with Prefetch(sampler, 0, sizes["steps"], 2) as batches:
        n = sum(len(batches.get(step).tiles) for step in range(sizes["steps"]))
    seconds = time.perf_counter() - began
    return Reading(n / seconds, (time.process_time() - own) / n, (cpu_of_readers(requests) - readers) / n)


def cpu_of_readers(requests: TileRequests) -> float:
    """CPU seconds of the readers so far."""
    return sum(map(cpu_seconds, requests.readers()))


def bytes_of_a_tile(tiles: PlacedTiles) -> float:
    """Bytes that are read from the slide for a tile of its grid: of all compressed tiles that it meets."""
    places, size = tiles.places, (tiles.places.spec.size_px,) * 2
    with open_slide(tiles.path, "jpeg") as slide:
        assert isinstance(slide, JpegSlide)
        page = slide.page(slide.level_for(places.spec.mpp))
        assert page is not None
        sources = [slide.source(x0, y0, places.spec.mpp, size) for x0, y0 in zip(places.x0, places.y0, strict=True)]
        return sum(int(page.counts[tiles_under(page, *source[1:5])].sum()) for source in sources) / len(sources)


def main(arguments: list[str]) -> int:
    given = dict(argument.split("=", 1) for argument in arguments)
    device = resolve_device(given.pop("device", "auto"))
    sizes = SIZES | {key: int(value) for key, value in given.items()}
    if unknown := sizes.keys() - SIZES.keys():
        sys.exit(f"no such key: {', '.join(sorted(unknown))}; there are device, {', '.join(SIZES)}")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        data = made_data(Path(temporary), sizes)
        loop = SMALL | {"steps": 6, "size_px": sizes["size_px"]}
        recipe = full_recipe(str(device), "", loop)
        print(f"{device_name(device)}; {sizes['patients']} patients x {sizes['tiles']} tiles a step, by turns:")
        for spec in tile_store.specs(data):
            compare(data, spec.resolution, recipe, sizes)
    return 0


def compare(data: DataSettings, resolution: str, recipe: TrainConfig, sizes: dict[str, int]) -> None:
    """Print what both sources give at one resolution."""
    with TileRequests(data.stream) as requests:
        patients = {}
        for source in SOURCES:
            one = replace(recipe, resolution=resolution, data=replace(data, source=source))
            patients[source] = read_patients(one, "training", requests)
        tiles = patients["slides"][0].slides[0].tiles
        assert isinstance(tiles, PlacedTiles)
        stored, packed = 3 * sizes["size_px"] ** 2, bytes_of_a_tile(tiles)
        print(f"{resolution}: {stored / 1e3:.0f} kB a tile read from the store, {packed / 1e3:.0f} kB from the slide")
        by_reading(patients["slides"], sizes, 0, requests)  # starts the readers
        found: dict[str, list[Reading]] = {source: [] for source in SOURCES}
        for seed in range(1, sizes["rounds"] + 1):
            for source in SOURCES:
                found[source].append(by_reading(patients[source], sizes, seed, requests))
        rate = {source: statistics.median(one.rate for one in values) for source, values in found.items()}
        print(
            f"  reading alone: store {rate['store']:.0f} tiles/s, slides {rate['slides']:.0f} tiles/s with"
            f" {len(requests.readers())} readers; slides / store {rate['slides'] / rate['store']:.2f}"
        )
        own = {source: 1e3 * statistics.median(one.own_cpu for one in values) for source, values in found.items()}
        readers = 1e3 * statistics.median(one.reader_cpu for one in found["slides"])
        print(
            f"  CPU ms a tile: store {own['store']:.2f}, slides {own['slides']:.2f} and {readers:.2f} in the readers:"
            f" one core reads {1e3 / readers:.0f} tiles/s"
        )
        steps = {}
        for source in SOURCES:
            out = Path(data.store).parent / f"{source}{resolution}"
            steps[source] = by_the_loop(replace(recipe, out=str(out), resolution=resolution), patients[source])
    (store, store_waits), (slides, slides_wait) = steps["store"], steps["slides"]
    print(
        f"  the loop: store {store:.1f} tiles/s ({store_waits:.1%} waiting), slides {slides:.1f} tiles/s"
        f" ({slides_wait:.1%} waiting); slides / store {slides / store:.2f}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
