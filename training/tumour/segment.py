"""`pathoprog segment`: train the tumour network from outlines, or outline a cohort's slides with it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from pathoprog import RESEARCH_USE_ONLY
from pathoprog.cohort_tables.cohort import read_cohort
from pathoprog.cohort_tables.cohort_files import absent_files, absent_said
from pathoprog.cohort_tables.roles import DEVELOPMENT_ROLES
from pathoprog.ensemble.bundle import MANIFEST, verify
from pathoprog.errors import ConfigError, InputError, SlideError
from pathoprog.networks.engines.choice import choose_runtime
from pathoprog.networks.tumour import NetworkOutliner, TumourNetwork, load, of_bundle, record
from pathoprog.networks.tumour_record import TumourRecord
from pathoprog.regions.annotations import TUMOUR_CLASS, Annotation, annotations_json
from pathoprog.regions.overview import check_outline_settings
from pathoprog.regions.slide_outline import given_outline
from pathoprog.regions.tumour_map import area_um2, dice
from pathoprog.stream.slide_stream import SlideDone, SlideFailed, SlideJob, SlideOpened, TileStream
from pathoprog.system.console import progress, say, warn
from pathoprog.system.csv_files import csv_text, frame_text
from pathoprog.system.file_names import file_name
from pathoprog.system.files import (
    not_replaced,
    read_json,
    sha256_value,
    write_json,
    write_or_beside,
    write_text,
)
from pathoprog.system.machine.cores import cores
from pathoprog.system.machine.device import resolve_device
from pathoprog.system.records import record_of
from pathoprog.text.plain_text import plain_reason
from pathoprog.training.data.checks import check_share
from pathoprog.training.held_folder import holds_its_folder
from pathoprog.training.member import checkpoint
from pathoprog.training.member.metrics import add_metrics, read_metrics
from pathoprog.training.tracking import Tracking
from pathoprog.training.tumour import view_store
from pathoprog.training.tumour.config import SegmentConfig
from pathoprog.training.tumour.fit import fingerprint, fit
from pathoprog.training.tumour.view_store import View

WEIGHTS, RECORD = "tumour.safetensors", "tumour.json"
KEPT = ("network", "outline", "step", "tuning_dice", "tuning_dice_lowest", "cohorts")
"""Of the record: what a bundle keeps."""
COLUMNS = ("slide_id", "patient_id", "role", "status", "tumour_area_um2", "tissue_area_um2", "given_area_um2", "dice",
           "reason")  # fmt: skip


@holds_its_folder("segment")
def run(settings: SegmentConfig) -> int:
    """Train or apply; returns 1 if some slides could not be read."""
    cohort = read_cohort(settings.cohort, settings.overlap)
    return train(settings, cohort) if settings.mode == "train" else apply(settings, cohort)


def train(settings: SegmentConfig, cohort: pd.DataFrame) -> int:
    """Learn from the outlines of training, judge by those of tuning.

    Writes ``tumour.safetensors`` and, when all is done, ``tumour.json``: settings and what tuning said.
    """
    check_outline_settings(settings.outline)
    if settings.augment.crop > 0:
        raise ConfigError(f"augment.crop={settings.augment.crop:g}: windows lie at random places already; must be 0")
    out = Path(settings.out)
    tracking = Tracking(settings.track)
    chosen = cohort[cohort["role"].isin(DEVELOPMENT_ROLES)]
    check_slides(settings, chosen)
    store = view_store.folder_of(settings)
    failed = view_store.build(chosen, settings, store)
    check_share(failed, len(chosen), settings.max_missing, f"{failed} slides are missing (named above)", "max_missing")
    views = {role: view_store.read(chosen[chosen["role"] == role], store) for role in DEVELOPMENT_ROLES}
    for role, found in views.items():
        if not found:
            raise InputError(f"{settings.cohort}: no slide of the role {role} could be read")
    cohorts = {role: cohort_facts(found) for role, found in views.items()}
    mark = fingerprint(settings, cohorts)
    if (out / RECORD).is_file():
        if read_json(out / RECORD)["fingerprint"] != mark:
            raise InputError(f"{out}: holds a network of other settings or slides; give another out=…")
        say(f"  {out}: trained before with the same settings and slides")
        return 1 if failed else 0
    run_id = tracking.start("tumour network", settings)
    tracking.datasets(run_id, cohorts)
    sent = 0
    with progress("tumour network", settings.fit.steps, "steps") as counter:

        def log(line: dict[str, Any]) -> None:
            add_metrics(out, line)

        def tick(done: int) -> None:
            nonlocal sent
            counter.advance(done - counter.done)
            if done % settings.fit.log_every == 0:
                lines = read_metrics(out)
                tracking.metrics(run_id, lines[sent:])
                sent = len(lines)

        try:
            best = fit(settings, views["training"], views["tuning"], mark, log, tick)
        except BaseException:
            tracking.end(run_id, "FAILED")
            raise
    tracking.metrics(run_id, read_metrics(out)[sent:])
    tensors, _ = checkpoint.read(out / best["file"])
    checkpoint.write(out / WEIGHTS, tensors, {})
    write_json(
        out / RECORD,
        {
            **record(settings.network, settings.outline),
            "research_use_only": RESEARCH_USE_ONLY,
            "fingerprint": mark,
            "step": best["step"],
            "tuning_dice": best["dice"],
            "tuning_dice_lowest": min(best["dices"]),
            "cohorts": cohorts,
        },
    )
    tracking.file(run_id, out / RECORD)
    tracking.end(run_id)
    say(
        f"  {out / WEIGHTS}: Dice on {len(best['dices'])} tuning slides {best['dice']:.3f}"
        f" (lowest {min(best['dices']):.3f}) at step {best['step']}"
    )
    return 1 if failed else 0


def check_slides(settings: SegmentConfig, chosen: pd.DataFrame) -> None:
    """Refuse, before a slide is read, slides without outlines, a role without slides, and too many missing files.

    Raises:
        InputError: what is missing.
    """
    view_store.check_outlines(chosen)
    for role in DEVELOPMENT_ROLES:
        if role not in set(chosen["role"]):
            raise InputError(f"{settings.cohort}: no row has the role {role}; training and tuning are both needed")
    if absent := absent_files(chosen):
        n, said = len({item.slide_id for item in absent}), f"{settings.cohort}: {absent_said(absent, len(chosen))}"
        check_share(n, len(chosen), settings.max_missing, said, "max_missing")


def cohort_facts(views: list[View]) -> dict[str, Any]:
    """How many, and the hash over the slides' content and outlines; no id leaves with it."""
    return {
        "n_patients": len({view.patient_id for view in views}),
        "n_slides": len(views),
        "sha256": sha256_value([[view.sha256, view.outline.wkt] for view in views]),
    }


def apply(settings: SegmentConfig, cohort: pd.DataFrame) -> int:
    """Outline slides: ``outlines/<slide_id>.geojson``, ``tumour.csv``, and ``cohort.csv`` with these outlines in it."""
    out = Path(settings.out)
    network = trained_network(settings)
    chosen = cohort[cohort["role"].isin(settings.roles)] if settings.roles else cohort
    if chosen.empty:
        raise InputError(f"{settings.cohort}: no slide in the roles {', '.join(settings.roles)}")
    rows = {str(row["slide_id"]): row for row in chosen.to_dict("records")}
    jobs = [
        SlideJob(
            slide_id=name,
            path=str(row["slide_path"]),
            specs=[],
            slides=settings.slides,
            tumour_policy="network",
            overview=network.outline,
            hash_content=False,
        )
        for name, row in rows.items()
    ]
    said: dict[str, dict[str, Any]] = {}
    with progress("outlines", len(jobs), "slides") as counter, TileStream(settings.stream) as stream:
        for event in stream.read(jobs, NetworkOutliner(network)):
            if isinstance(event, SlideOpened):
                said[event.slide_id] = outlined(event, rows[event.slide_id], out, settings.slides.roots)
            elif isinstance(event, SlideFailed):
                row = rows[event.slide_id]
                reason = plain_reason(str(event.error), event.slide_id, row["slide_path"], row["outline_path"])
                warn(f"{event.slide_id}: {reason}")
                said[event.slide_id] = {"status": "failed", "reason": reason}
                counter.advance()
            elif isinstance(event, SlideDone):
                counter.advance()
    elsewhere = write_table(out, rows, said)
    dices = [entry["dice"] for entry in said.values() if "dice" in entry]
    if dices:
        found = f"mean {np.mean(dices):.3f}, lowest {min(dices):.3f}"
        say(f"  Dice against the given outlines of {len(dices)} slides: {found}")
    empty = sum(entry.get("tumour_area_um2") == 0 for entry in said.values())
    say(f"  {out / 'tumour.csv'}: {len(said)} slides, {empty} without tumour. {RESEARCH_USE_ONLY}")
    for line in elsewhere:
        warn(line)
    return 1 if elsewhere or any(entry["status"] == "failed" for entry in said.values()) else 0


def outlined(opened: SlideOpened, row: dict[Any, Any], out: Path, roots: list[str]) -> dict[str, Any]:
    """Write a slide's outline; what the table says of it."""
    assert opened.outline is not None
    areas = [Annotation(opened.outline, TUMOUR_CLASS)] if not opened.outline.is_empty else []
    text = annotations_json(areas, opened.slide_id, note=RESEARCH_USE_ONLY)
    write_text(outline_path(out, opened.slide_id), text)
    found: dict[str, Any] = {
        "status": "outlined",
        "tumour_area_um2": opened.tumour_area_um2,
        "tissue_area_um2": opened.tissue_area_um2,
    }
    if row["outline_path"]:
        try:
            given, _ = given_outline(str(row["outline_path"]), opened.facts, roots=roots)
        except SlideError as error:
            found["reason"] = plain_reason(str(error), opened.slide_id, row["slide_path"], row["outline_path"])
        else:
            found |= {"given_area_um2": area_um2(given, opened.facts), "dice": dice(opened.outline, given)}
    return found


def outline_path(out: Path, slide_id: str) -> Path:
    """Where a slide's outline is written."""
    return out / "outlines" / f"{file_name(slide_id)}.geojson"


def write_table(out: Path, rows: dict[str, dict[Any, Any]], said: dict[str, dict[str, Any]]) -> list[str]:
    """Write tumour.csv, and the cohort table with the network's outlines, for `pathoprog tiles`.

    Returns:
        What must be said of tables that could not be replaced, and lie beside.
    """
    lines = [
        {"slide_id": name, "patient_id": row["patient_id"], "role": row["role"], **said[name]}
        for name, row in rows.items()
    ]
    tables = {"tumour.csv": csv_text(lines, COLUMNS)}
    kept = [
        {**row, "outline_path": str(outline_path(out, name).resolve())}
        for name, row in rows.items()
        if said[name].get("tumour_area_um2", 0) > 0
    ]
    if kept:
        tables["cohort.csv"] = frame_text(pd.DataFrame(kept))
    places = {name: write_or_beside(out / name, table) for name, table in tables.items()}
    return [not_replaced(out / name, place, why) for name, (place, why) in places.items() if why]


def trained_network(settings: SegmentConfig) -> TumourNetwork:
    """The network to apply.

    Raises:
        ConfigError: none was named, or none is there.
    """
    if not settings.trained:
        raise ConfigError("trained is missing: give trained=FOLDER of `pathoprog segment mode=train`, or a bundle")
    folder, device = Path(settings.trained), resolve_device(settings.device)
    torch.set_num_threads(settings.fit.threads)
    how = (choose_runtime(settings.runtime, device.type), cores(), lambda text: say(f"    {text}"))
    if (folder / MANIFEST).is_file():
        return of_bundle(folder, verify(folder).tumour, device, *how)
    return load(folder / WEIGHTS, read_record(folder, "trained"), device, *how)


def read_record(folder: Path, setting: str) -> TumourRecord:
    """What ``tumour.json`` of a finished training says, as a bundle keeps it.

    Args:
        folder: of `pathoprog segment mode=train`.
        setting: that named it, for the message.

    Raises:
        ConfigError: no finished network is there.
        InputError: the file is damaged.
    """
    path = folder / RECORD
    if not path.is_file():
        raise ConfigError(f"{setting}={folder}: no finished tumour network there ({RECORD} is missing)")
    try:
        said = read_json(path)
        kept = {name: said[name] for name in KEPT if name in said}
        return record_of(TumourRecord, {"file": WEIGHTS, **kept})
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: damaged ({error}); delete it, and train again") from error
