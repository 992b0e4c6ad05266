"""What is to be done: the scoring configuration, the result's key, and which results already hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pathoprog.ensemble.bundle import ensemble_id, verify
from pathoprog.ensemble.clinical import ClinicalModel
from pathoprog.ensemble.shape import Shape
from pathoprog.ensemble.signature import check_signature
from pathoprog.errors import ConfigError
from pathoprog.inference.config import ScoreConfig
from pathoprog.inference.slides.given_features import scored_features
from pathoprog.inference.slides.inputs import SlideInput
from pathoprog.networks.config import WEIGHINGS
from pathoprog.networks.encoder_records import weights_files
from pathoprog.networks.engines.choice import choose_runtime
from pathoprog.networks.foreign.maker import FeatureMaker
from pathoprog.quality import checks as quality
from pathoprog.quality.config import QUALITY_VERSION
from pathoprog.regions.tumour_config import OutlineSettings
from pathoprog.scoring.eligibility import Eligibility
from pathoprog.scoring.results import Context
from pathoprog.settings import as_dict
from pathoprog.slide_report.cohort_curves import CohortCurves, read_cohort_curves
from pathoprog.slides.config import reading
from pathoprog.slides.identity import source_sha256 as source_sha256  # what the ledger knows a slide's files by
from pathoprog.slides.mpp import is_upsampled
from pathoprog.stream.slide_stream import SlideJob, SlideOpened, StreamSettings, tiles_at_once
from pathoprog.system.files import sha256_value
from pathoprog.system.records import plain
from pathoprog.tiles.config import PREPROCESSING_VERSION, TileSpec


@dataclass
class ScoringPlan:
    """One scoring configuration: what is the same for all slides of a run.

    Attributes:
        ensemble_id: of the bundle.
        aggregation: the bundle's rule for several slides of a patient.
        thresholds: by resolution.
        shape: the bundle's: which resolutions, how many members.
        specs: tile specs in force, the coarsest resolution first.
        tumour_policy: in force.
        overview: the view that the bundle's tumour network is shown, where there is one.
        settings: the scoring configuration as plain values: part of each result's key.
        overrides: settings that depart from the bundle or the files.
        rules: by which a slide's quality is judged.
        made_for: what the bundle was made for: trait -> values.
        curves: of the cohort on which the ensemble was validated, for the slides' pages.
        weighings: what a tile's part in the members' scores is (`networks.config.WEIGHINGS`).
        covariates: the bundle's Cox model over its number and clinical covariates, where it has one.
        other_features: who makes the features that come in place of slides, by resolution; none where slides come.
    """

    ensemble_id: str
    aggregation: str
    thresholds: dict[str, float]
    shape: Shape
    specs: list[TileSpec]
    tumour_policy: str
    overview: OutlineSettings
    settings: dict[str, Any]
    overrides: dict[str, Any]
    rules: quality.QualityRules = field(default_factory=quality.QualityRules)
    made_for: dict[str, list[str]] = field(default_factory=dict)
    curves: CohortCurves | None = None
    weighings: frozenset[str] = frozenset()
    other_features: dict[str, FeatureMaker] = field(default_factory=dict)
    covariates: ClinicalModel | None = None

    def job(self, task: "ScoringTask", config: ScoreConfig, source: str | None = None) -> SlideJob:
        """What the readers are told of a slide; `source` is what its files look like, see `SlideJob`."""
        slide = task.slide
        return SlideJob(
            slide_id=slide.slide_id,
            path=slide.path,
            specs=self.specs,
            slides=config.slides,
            tumour_policy=self.tumour_policy,
            outline_path=slide.outline_path if self.tumour_policy != "tissue" else "",
            overview=self.overview,
            thumbnail_px=config.thumbnail_px,
            source=source,
            outline_sha256=task.outline_sha256 if source is not None else None,
            names=slide.names,
            features=slide.features,
        )

    @property
    def config(self) -> str:
        """Hash of all that is the same for the slides of a run."""
        return self.key("", "", {})

    def key(self, slide_sha256: str, outline_sha256: str, traits: Mapping[str, str]) -> str:
        """The result's key (OPERATIONS): content, outline and overrides, bundle, configuration, preprocessing.

        `traits` is what the table says of the slide, which the result hangs on too; see `ScoringTask.said`.
        """
        return sha256_value(
            {
                "slide": slide_sha256,
                "outline": outline_sha256,
                "traits": traits,
                "ensemble": self.ensemble_id,
                "settings": self.settings,
                "preprocessing": PREPROCESSING_VERSION,
            }
        )

    def context(self, task: "ScoringTask", opened: SlideOpened | None) -> Context:
        """What a slide's result says beside its scores.

        Overrides that made no difference to the slide are left out.
        """
        overrides = dict(self.overrides)
        if opened is not None and not any(
            is_upsampled(opened.facts.mpp, grid.spec.mpp) for grid in opened.grids.values()
        ):
            overrides.pop("slides.allow_upsampling", None)
        slide = task.slide
        return Context(
            slide_id=slide.slide_id,
            patient_id=slide.patient_id,
            cohort=slide.cohort,
            role=slide.role,
            key=self.key(opened.sha256, task.outline_sha256, task.said) if opened is not None else "",
            ensemble_id=self.ensemble_id,
            thresholds=self.thresholds,
            settings=self.settings,
            overrides=overrides,
            outline_sha256=task.outline_sha256,
            outline_author=task.outline_author,
            class_level=task.class_level,
            caution=self.shape.caution,
        )


@dataclass(frozen=True, slots=True)
class ScoringTask:
    """A slide to score, and what its result must say and keep because of the patient's other slides."""

    slide: SlideInput
    outline_sha256: str
    class_level: str
    keep_instances: bool
    outline_author: dict[str, str] = field(default_factory=dict)
    eligibility: Eligibility = field(default_factory=Eligibility)

    @property
    def said(self) -> dict[str, str]:
        """What the table says that the result hangs on: eligibility, and the covariates of the bundle's model."""
        covariates = {f"covariate {name}": value for name, value in (self.slide.covariates or {}).items()}
        return {**self.eligibility.slide, **covariates}

    def request(self) -> dict[str, Any]:
        """What the ledger keeps of it; a change of any of it is other work."""
        return {
            "patient_id": self.slide.patient_id,
            "cohort": self.slide.cohort,
            "role": self.slide.role,
            "outline_path": self.slide.outline_path,
            "outline_sha256": self.outline_sha256,
            "traits": self.said,
            "class_level": self.class_level,
            "keep_instances": self.keep_instances,
        }


def make_plan(config: ScoreConfig, dtype: str, device: str = "cpu") -> ScoringPlan:
    """Verify the bundle, and fix what is the same for all slides.

    Args:
        config: of the command.
        dtype: ``fp32`` or ``bf16``.
        device: ``cpu`` or ``cuda``; the engine of the networks goes by it.

    Raises:
        BundleError: the bundle is not whole and unchanged, or not signed with the key that is required.
        ConfigError: the engine asked for is not here; the tumour policy needs a network, and the bundle has none; an
            encoder's weights are missing, or others were given.
        InputError: the validation to show is of another ensemble.
    """
    manifest = verify(config.ensemble)
    if config.key:
        check_signature(config.ensemble, config.key)
    makers = scored_features(config, manifest)
    if not makers:  # the workers load them, and look again
        weights_files(config.ensemble, manifest.encoders, config.encoder_weights)
    bundle_specs = [manifest.tile_specs[resolution] for resolution in manifest.shape.resolutions]
    overrides: dict[str, Any] = {}
    specs = bundle_specs
    if config.tiles.max_per_slide >= 0:
        specs = [replace(spec, max_per_slide=config.tiles.max_per_slide) for spec in bundle_specs]
    if specs != bundle_specs:
        overrides["tiles.max_per_slide"] = config.tiles.max_per_slide
    policy = manifest.tumour_policy if config.tumour_policy == "bundle" else config.tumour_policy
    if policy != manifest.tumour_policy:
        overrides["tumour_policy"] = policy
    overview = OutlineSettings() if manifest.tumour is None else manifest.tumour.outline.settings
    batches = {spec.resolution: batch_tiles(spec, config.stream) for spec in specs}
    if policy == "network":
        if manifest.tumour is None:
            raise ConfigError(
                f"the tumour policy is network, and {config.ensemble} holds no tumour network: lock one into a bundle "
                "(`pathoprog segment`, `pathoprog ensemble … tumour=FOLDER`), or give tumour_policy=outline or tissue"
            )
        batches["overview"] = batch_tiles(TileSpec(size_px=overview.window_px), config.stream)
    if config.slides.mpp > 0:
        overrides["slides.mpp"] = config.slides.mpp
    if config.slides.allow_upsampling:
        overrides["slides.allow_upsampling"] = True
    overrides |= quality.overrides(config.quality)
    # the ensemble's id stands for the encoders too; named apart, a result says by itself what its features are of
    encoders = {
        resolution: {
            **{name: getattr(record, name) for name in ("weights_sha256", "dtype", "precision")},
            "runtime": choose_runtime(config.runtime, device, record.dtype).as_dict(),
        }
        for resolution, record in ({} if makers else manifest.encoders or {}).items()
    }
    return ScoringPlan(
        ensemble_id=ensemble_id(config.ensemble),
        aggregation=manifest.aggregation,
        thresholds=manifest.cuts,
        shape=manifest.shape,
        specs=specs,
        tumour_policy=policy,
        overview=overview,
        settings={
            "dtype": dtype,
            "runtime": choose_runtime(config.runtime, device, dtype).as_dict(),
            "batch_tiles": batches,
            "tumour_policy": policy,
            "tile_specs": [as_dict(spec) for spec in specs],
            "slides": reading(config.slides),
            "thumbnail_px": config.thumbnail_px,
            "quality": {"version": QUALITY_VERSION, **quality.in_force(config.quality)},
            **({"encoders": encoders} if encoders else {}),
            **({"other_features": plain(makers)} if makers else {}),
            **({"outline_runtime": choose_runtime(config.runtime, device).as_dict()} if policy == "network" else {}),
        },
        overrides=overrides,
        rules=quality.read_rules(config.ensemble, config.quality, policy),
        made_for={trait: list(values) for trait, values in (manifest.made_for or {}).items()},
        curves=_curves(config),
        weighings=frozenset(WEIGHINGS[member.network.settings.pooling] for member in manifest.members),
        other_features=dict(makers),
        covariates=manifest.covariates,
    )


def _curves(config: ScoreConfig) -> CohortCurves | None:
    if not config.outputs.validation:
        return None
    from pathoprog.ensemble.stage_groups import scoring_ids  # brings pandas

    return read_cohort_curves(config.outputs.validation, scoring_ids(config.ensemble))


def batch_tiles(spec: TileSpec, stream: StreamSettings) -> int:
    """How many tiles the networks are shown at once: as set, or as many as fit a third of the readers' buffer."""
    return tiles_at_once(spec.size_px, stream)
