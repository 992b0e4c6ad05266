"""The public Python API: a slide, its tiles, a locked ensemble, a score and its map; a cohort and its curves.

Every call runs the code of the command that does the same, with the same rules and refusals. Nothing is printed:
lines and warnings go to the logger ``pathoprog``. `pathoprog.training.api` trains and locks. For research use only.

A slide, from its file to the map of its tile scores:

    from pathoprog.api import lay_tiles, load_ensemble, open_slide, score_slide

    slide = open_slide("slides/S1.svs")
    tiles = lay_tiles(slide, "10x")
    ensemble = load_ensemble("bundle")
    scored = score_slide(slide, ensemble)
    scored.draw_map()

A cohort, from its tables to its curves:

    from pathoprog.api import draw_curves, read_cohort, read_results

    cohort = read_cohort("cohort")
    results = read_results("scores", "bundle")
    draw_curves(cohort, results, role="external")

Scores lie in [0, 1], higher = worse; coordinates are level-0 pixels, top left corner. Heavy imports come late.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pathoprog.cohort_tables.shown_cohort import Cohort
from pathoprog.commands.init_config import InitConfig
from pathoprog.ensemble.clinical import ClinicalModel, ClinicalNumber
from pathoprog.report.curves_figure import CurvesFigure
from pathoprog.settings import refuse_others
from pathoprog.simulate.config import SimulateConfig
from pathoprog.slide_report.shown_slides import LaidTiles, LoadedEnsemble, ScoredSlide, ViewedSlide, scored_slide
from pathoprog.system.console import OnProgress, logged

if TYPE_CHECKING:
    import pandas as pd

    from pathoprog.commands.init import FirstFiles
    from pathoprog.tiles.config import TileSpec

__all__ = [
    "ClinicalModel",
    "ClinicalNumber",
    "Cohort",
    "CurvesFigure",
    "InitConfig",
    "LaidTiles",
    "LoadedEnsemble",
    "ScoredSlide",
    "SimulateConfig",
    "ViewedSlide",
    "clinical_number",
    "draw_curves",
    "lay_tiles",
    "load_ensemble",
    "open_slide",
    "read_cohort",
    "read_results",
    "score_slide",
    "simulate_cohort",
    "write_first_files",
]


def open_slide(
    path: str | Path,
    *,
    mpp: float = 0.0,
    backend: str = "auto",
    allow_upsampling: bool = False,
) -> ViewedSlide:
    """Open a slide and look at it, in a process of its own: a file that crashes its library ends that process alone.

    Args:
        path: the file; for DICOM the folder of instances, or one of them; for MIRAX the ``.mrxs`` file.
        mpp: um per level-0 pixel in place of what the file says; 0: from the file. Only if you know it.
        backend: what reads the file: ``auto``, ``openslide``, ``tiffslide`` or ``jpeg``.
        allow_upsampling: read it at resolutions that it is too coarse for; not validated, and the result says so.

    Raises:
        SlideError: the slide cannot be used; the message says why, and `code` in one word.
        ConfigError: a setting is out of range.
    """
    from pathoprog.settings import built_by_hand, check
    from pathoprog.slides.config import SlideSettings
    from pathoprog.stream.one_slide import look_at

    settings = SlideSettings(backend=backend, mpp=mpp, allow_upsampling=allow_upsampling)
    settings = built_by_hand(settings, SlideSettings)
    check(settings, "slides.")
    path = Path(path).absolute()  # it is the same after a change of directory
    opened = look_at(path, settings, [])
    return ViewedSlide(
        path=str(path),
        facts=opened.facts,
        thumbnail=opened.thumbnail,
        thumbnail_downsample=opened.thumbnail_downsample,
        tissue_area_um2=opened.tissue_area_um2,
        _settings=settings,
        _opened=opened,
    )


def lay_tiles(
    slide: ViewedSlide, resolution: str, outline: str | Path | None = None, spec: "TileSpec | None" = None
) -> LaidTiles:
    """Lay the tiles of one resolution on a slide.

    Args:
        slide: of `open_slide`.
        resolution: ``10x`` (1.0 um/px), ``20x`` (0.5 um/px) or ``40x`` (0.25 um/px).
        outline: file of the tumour's outline (QuPath's GeoJSON, ASAP XML, ImageScope XML); None: all tissue.
        spec: what a tile is, such as an ensemble's ``specs["10x"]``; None: 448 x 448 px, at least half inside the
            region.

    Raises:
        SlideError: the slide is too coarse for the resolution, or the outline cannot be used.
        ConfigError: no such resolution, or a spec of another.
    """
    from pathoprog.errors import ConfigError, SlideError
    from pathoprog.slides.resolutions import RESOLUTION_MPP
    from pathoprog.stream.one_slide import look_at
    from pathoprog.tiles.config import standard_spec

    refuse_others(slide, ViewedSlide, "slide", "open_slide")
    if resolution not in RESOLUTION_MPP:
        raise ConfigError(f"resolution={resolution!r}: must be one of {', '.join(RESOLUTION_MPP)}")
    spec = spec or standard_spec(resolution)
    if spec.resolution != resolution:
        raise ConfigError(f"spec is of {spec.resolution}, and resolution={resolution!r} was asked for")
    opened = look_at(slide.path, slide._settings, [spec], outline)
    if resolution in opened.refused:
        raise SlideError(f"{slide.path}: {opened.refused[resolution]}", "resolution", not_reportable=True)
    grid = opened.grids[resolution]
    return LaidTiles(
        resolution=resolution,
        x0=grid.x0,
        y0=grid.y0,
        width0=grid.width0,
        height0=grid.height0,
        coverage=grid.coverage,
        region=opened.region_source,
        _opened=opened,
        _grid=grid,
    )


def load_ensemble(
    path: str | Path,
    *,
    device: str = "auto",
    threads: int = 0,
    key: str | Path = "",
    encoder_weights: Sequence[str | Path] = (),
    runtime: str = "auto",
) -> LoadedEnsemble:
    """Verify a locked bundle and load its networks.

    Args:
        path: the bundle's folder.
        device: ``auto`` (the first CUDA device, else the CPU), ``cpu`` or ``cuda:N``.
        threads: on a CPU, how many networks compute at once; 0: one per core, up to as many as one resolution has. It
            changes no score.
        key: public key (PEM) that must have signed it; empty: whole and unchanged is enough.
        encoder_weights: weights files of encoders that the bundle names by their hash alone.
        runtime: what computes the networks: ``auto`` (torch on CUDA, OpenVINO on a CPU if installed, else torch),
            ``openvino`` or ``torch``.

    Raises:
        BundleError: the bundle is not whole and unchanged, or not signed with the key.
        ConfigError: no such device or engine, or an encoder's weights are missing.
    """
    from pathoprog.scoring.in_process import InProcessScorer

    with logged():
        scorer = InProcessScorer(path, device, threads, str(key), [str(file) for file in encoder_weights], runtime)
    bundle = scorer.bundle
    return LoadedEnsemble(
        folder=bundle.folder.absolute(),
        ensemble_id=bundle.ensemble_id,
        name=bundle.manifest.name or "",
        thresholds=dict(bundle.thresholds),
        specs=dict(bundle.specs),
        tumour_policy=bundle.tumour_policy,
        device=scorer.device_name,
        clinical_model=bundle.manifest.covariates,
        _scorer=scorer,
    )


def score_slide(
    slide: ViewedSlide | str | Path,
    ensemble: LoadedEnsemble,
    *,
    outline: str | Path | None = None,
    traits: Mapping[str, str] | None = None,
    slide_id: str = "",
) -> ScoredSlide:
    """Score one slide: the scores and the class that `pathoprog score` gives it, bit for bit.

    Nothing is written and nothing tried again; for many slides, use the command.

    Args:
        slide: a file, or a slide of `open_slide` with the settings that it was opened with.
        ensemble: of `load_ensemble`.
        outline: file of the tumour's outline; needed under the policy ``outline``, a correction under ``network``.
        traits: what is known of ``organ``, ``specimen``, ``stain`` and ``neoadjuvant``. A slide that the ensemble was
            not made for gets no class; one of which it is not known is flagged.
        slide_id: what to call it; empty: after its file.

    Raises:
        ConfigError: an outline is missing, or would not count, under the ensemble's tumour policy; an unknown trait.
    """
    from pathoprog.errors import ConfigError
    from pathoprog.scoring.eligibility import TRAITS

    refuse_others(ensemble, LoadedEnsemble, "ensemble", "load_ensemble")
    if unknown := sorted(set(traits or ()) - set(TRAITS)):
        raise ConfigError(f"traits: {', '.join(unknown)}: must be among {', '.join(TRAITS)}")
    viewed = slide if isinstance(slide, ViewedSlide) else None
    path = viewed.path if viewed else str(slide)
    with logged():
        found = ensemble._scorer.score(path, outline or "", traits, viewed._settings if viewed else None, slide_id)
    return scored_slide(found, ensemble)


def clinical_number(
    ensemble: LoadedEnsemble | str | Path,
    scored: ScoredSlide | float | None,
    covariates: Mapping[str, str | float | int | None],
) -> ClinicalNumber:
    """What an ensemble's Cox model over its one number and clinical covariates says of a patient.

    The number that `pathoprog score` writes as ``clinical_number``: a log hazard ratio against the mean tuning patient,
    higher = worse. It changes no class, and no risk of death follows from it: tuning is selected on outcome. A
    covariate that is missing (absent, None, NaN or empty), a level that tuning did not have and a text that is no
    number are handled by the rule that was locked: no number, or the typical value of tuning; ``notes`` says which.

    Args:
        ensemble: of `load_ensemble`, or its bundle's folder, which needs no PyTorch.
        scored: of `score_slide`, if it is the patient's only slide; else ``one_number`` of the patient's row of
            `read_results`, in [-1, 1]. None or NaN: the patient has none, and so no clinical number.
        covariates: of the patient, by name (``ensemble.clinical_model.names``); others are not looked at.

    Returns:
        ``value`` (None without one), ``covariates`` as they were read, ``notes``.

    Raises:
        ConfigError: the ensemble has no such model, or a value is of another type than text or number.
        InputError: the slide was scored by another ensemble; a one number outside [-1, 1].
        CohortError: an age or number of nodes that is no number from 0 to 150.
        BundleError: no bundle there.
    """
    from pathoprog.ensemble.bundle import ensemble_id, read_manifest
    from pathoprog.ensemble.given_covariates import number_for

    if isinstance(ensemble, LoadedEnsemble):
        model, name = ensemble.clinical_model, ensemble.ensemble_id
    else:
        model, name = read_manifest(ensemble).covariates, ensemble_id(ensemble)
    if isinstance(scored, ScoredSlide):
        return number_for(model, scored.one_number, covariates, scored.ensemble_id == name, scored.reason)
    return number_for(model, scored, covariates)


def read_cohort(folder: str | Path, *, outcomes: bool = True) -> Cohort:
    """Read and check a cohort: cohort.csv, overlap.json and outcomes.csv of one folder, the last two if they are there.

    This opens the outcomes without putting it on record. Do not use it on a cohort whose validation is still to come:
    `pathoprog validate` locks first.

    Args:
        folder: holds the files.
        outcomes: False leaves outcomes.csv closed.

    Raises:
        CohortError: a table breaks its rules; the message lists each row at fault.
    """
    from pathoprog.cohort_tables import cohort as tables

    folder = Path(folder).absolute()
    overlap = folder / "overlap.json"
    slides = tables.read_cohort(folder / "cohort.csv", overlap if overlap.is_file() else "")
    known = folder / "outcomes.csv"
    return Cohort(folder, slides, tables.read_outcomes(known) if outcomes and known.is_file() else None)


def simulate_cohort(
    out: str | Path, *, settings: SimulateConfig | None = None, on_progress: OnProgress | None = None
) -> Cohort:
    """Make patients up, with their slides and outcomes, to try everything on: `pathoprog simulate`.

    Args:
        out: folder of the tables and slides; what an earlier call drew with the same settings is kept.
        settings: how many patients, how large slides …; None: the command's defaults. Its `out` is not looked at.
        on_progress: told ``(label, done, total)``.

    Raises:
        ConfigError: a setting is out of range.
    """
    from pathoprog.settings import built_by_hand, check
    from pathoprog.simulate.run import run

    own = replace(built_by_hand(settings or SimulateConfig(), SimulateConfig), out=str(out))
    check(own)
    with logged(on_progress):
        run(own)
    return read_cohort(out)


def write_first_files(table: str | Path, folder: str | Path, *, settings: InitConfig | None = None) -> "FirstFiles":
    """Write a first mapping, plan and experiment from a clinical sheet, as `pathoprog init` does.

    Args:
        table: the sheet.
        folder: to write to.
        settings: where the slides lie, which endpoint is wanted …; None: the command's defaults. Its `table` and
            `folder` are not looked at.

    Returns:
        Every guess with its certainty and reason (``.first.guesses``), and what the mapping makes of the sheet.

    Raises:
        InputError: the sheet cannot be read, or a file is there already and ``settings.overwrite`` is not set.
        ConfigError: the sheet has no such endpoint.
    """
    from pathoprog.commands.init import write_first_files as write
    from pathoprog.settings import built_by_hand, check

    own = replace(built_by_hand(settings or InitConfig(), InitConfig), table=str(table), folder=str(folder))
    check(own)
    with logged():
        return write(own)


def read_results(path: str | Path, ensemble: LoadedEnsemble | str | Path) -> "pd.DataFrame":
    """Read the patients' scores and classes that `pathoprog score` wrote, and check them against the ensemble.

    Args:
        path: the result folder, or its patients.csv.
        ensemble: that scored them: its bundle's folder, or loaded.

    Returns:
        One row per patient and role, as in patients.csv; the scores of its resolutions, `one_number` and, where the
        ensemble has one, `clinical_number` are floats.

    Raises:
        InputError: a column is missing or holds no numbers, a patient is twice in a role, a role or status is unknown.
        LockError: another ensemble scored them, or a class does not follow from its scores and the thresholds.
    """
    from pathoprog.ensemble.bundle import read_manifest
    from pathoprog.ensemble.stage_groups import scoring_ids
    from pathoprog.validation import score_tables

    bundle = ensemble.folder if isinstance(ensemble, LoadedEnsemble) else Path(ensemble)
    manifest = read_manifest(bundle)
    path = Path(path)
    patients = path / "patients.csv" if path.is_dir() else path
    slides = patients.with_name("results.csv")
    if slides.is_file():  # patients.csv does not name its ensemble
        score_tables.read_results(slides, scoring_ids(bundle), manifest.shape.resolutions)
    table = score_tables.read_patients(patients, manifest.cuts)
    return table if manifest.covariates is None else score_tables.with_clinical_numbers(patients, table)


def draw_curves(
    cohort: Cohort,
    results: "pd.DataFrame",
    *,
    role: str = "external",
    name: str = "",
    years: Sequence[float] | None = None,
    title: str = "",
) -> CurvesFigure:
    """Draw the Kaplan-Meier curves of the risk classes, with the numbers at risk.

    Deaths of other causes are censored, as in the published method. The figure is stamped *exploratory*, since no plan
    was locked before it was drawn, and says it where the role was selected on outcome.

    Args:
        cohort: of `read_cohort`, with its outcomes.
        results: of `read_results`.
        role: ``training``, ``tuning``, ``test`` or ``external``.
        name: one cohort of that role; empty: all of them together.
        years: ticks of the axis and columns of the table, from 0; None: round ones.
        title: above the curves; empty: what the role is.

    Raises:
        InputError: no outcomes were read, or no scored patient of that role and cohort has one.
    """
    from pathoprog.report.curves_figure import curves_of

    return curves_of(cohort, results, role, name, years, title)
