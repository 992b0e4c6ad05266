"""Are spoilt slides told from good ones? `python benchmarks/quality.py [--seed 2] [--slides 50] [--folder FOLDER]`.

Made-up patients at a seed that was not used to set limits (that was seed 1): the reference comes from the development
slides, as `pathoprog ensemble` takes it; the good slides are those of the test and external roles, which training never
saw, of other laboratories and another scanner; each of the first external slides is spoilt in every way that
`simulate.spoil` knows. Printed: the share refused with Wilson's 95% interval, the share refused if there were no
distance to the training slides, and the share at least flagged.
"""

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from scipy.stats import binomtest

from pathoprog.quality.checks import DEFAULT_LIMITS, FAIL, WARN, Check, QualityRules
from pathoprog.quality.reference import Measured, fit_reference
from pathoprog.simulate.config import SimulateConfig
from pathoprog.simulate.run import run as simulate
from pathoprog.simulate.spoil import ALL_KINDS, spoil_slide
from pathoprog.stream.slide_stream import SlideFailed, SlideJob, SlideOpened, StreamSettings, TileStream

SENSITIVITY, FALSE_ALARMS = 0.95, 0.05


def main(seed: int, slides: int, folder: Path, development: int) -> int:
    settings = SimulateConfig(
        out=str(folder), seed=seed, development_patients=development, test_patients=40, external_patients=2 * slides
    )
    simulate(settings)
    cohort = pd.read_csv(folder / "cohort.csv")
    for column in ("slide_path", "outline_path"):
        cohort[column] = [str(folder / name) for name in cohort[column]]
    sites = dict(zip(cohort["slide_id"], cohort["prep_site"] + " / " + cohort["scanner"], strict=True))
    roles = dict(zip(cohort["slide_id"], cohort["role"], strict=True))
    opened = {found.slide_id: found for found in look(cohort)}
    development_slides = [
        Measured(found.look, sites[name], found.tumour_area_um2 / 1e6)
        for name, found in opened.items()
        if roles[name] in ("training", "tuning")
    ]
    reference, limits = fit_reference(development_slides)
    assert reference is not None
    rules = QualityRules(DEFAULT_LIMITS | {key: (pair[0], pair[1]) for key, pair in limits.items()}, reference)
    print(f"seed {seed}: reference of {reference.n_slides} slides, {reference.n_sites} sites; limits {limits}")

    for role in ("test", "external"):
        judged = [rules.judge(found) for name, found in opened.items() if roles[name] == role]
        tell(f"good, {role}", judged)
    good = [rules.judge(found) for name, found in opened.items() if roles[name] in ("test", "external")]
    ok = tell("good, all", good) <= FALSE_ALARMS

    chosen = cohort[cohort["role"] == "external"].drop_duplicates("patient_id").head(slides)
    for kind in ALL_KINDS:
        rows = []
        for name in chosen["slide_id"]:
            spoil_slide(folder, name, kind, seed, folder / "spoilt")
            stem = f"{name}-{kind}"
            rows.append(
                {
                    "slide_id": stem,
                    "slide_path": str(folder / "spoilt" / "slides" / f"{stem}.tif"),
                    "outline_path": str(folder / "spoilt" / "outlines" / f"{stem}.geojson"),
                }
            )
        ok &= tell(kind, [rules.judge(found) for found in look(pd.DataFrame(rows))]) >= SENSITIVITY
    print(
        f"sensitivity >= {SENSITIVITY} of every kind and false alarms <= {FALSE_ALARMS}: {'met' if ok else 'NOT met'}"
    )
    return 0


def look(table: pd.DataFrame) -> Iterator[SlideOpened]:
    """Measure slides as scoring does."""
    jobs = [
        SlideJob(row["slide_id"], row["slide_path"], [], tumour_policy="outline", outline_path=row["outline_path"])
        for row in table.to_dict("records")
    ]
    with TileStream(StreamSettings()) as stream:
        for event in stream.read(dataclasses.replace(job, hash_content=False) for job in jobs):
            assert not isinstance(event, SlideFailed), event
            if isinstance(event, SlideOpened):
                yield event


def tell(title: str, slides: list[list[Check]]) -> float:
    """Print what became of some slides; returns the share refused."""
    failed = [{check.name for check in checks if check.verdict == FAIL} for checks in slides]
    flagged = [any(check.verdict in (WARN, FAIL) for check in checks) for checks in slides]
    refused, n = sum(map(bool, failed)), len(slides)
    interval = binomtest(refused, n).proportion_ci(method="wilson")
    without = sum(bool(names - {"distance to the training slides"}) for names in failed)
    counts = pd.Series([name for names in failed for name in names], dtype=object).value_counts()
    by = ", ".join(f"{name} {count}" for name, count in counts.items())
    print(
        f"{title:<16} n {n:3d}  refused {refused / n:.3f} ({interval.low:.3f}-{interval.high:.3f})  without distance "
        f"{without / n:.3f}  flagged {sum(flagged) / n:.3f}  {by}",
        flush=True,
    )
    return refused / n


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--slides", type=int, default=50, help="spoilt slides of each kind")
    parser.add_argument("--development", type=int, default=120, help="patients of the reference")
    parser.add_argument("--folder", type=Path, default=Path("runs/quality"))
    given = parser.parse_args()
    raise SystemExit(main(given.seed, given.slides, given.folder, given.development))
