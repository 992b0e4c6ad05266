"""Scores slides one at a time in the caller's process, with the code and the rules of `pathoprog score`.

The caller's process holds the networks; a reader process opens the slide. There is no ledger, no result folder and no
second try: a batch, or anything that must survive a crash, is for `pathoprog score`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pathoprog.ensemble.loading import load_bundle
from pathoprog.ensemble.signature import check_signature
from pathoprog.ensemble.tuning_basis import locked_precision
from pathoprog.errors import ConfigError
from pathoprog.networks.engines.choice import choose_runtime
from pathoprog.networks.feature_encoder import load_encoders
from pathoprog.networks.tumour import NetworkOutliner, of_bundle
from pathoprog.quality.checks import read_rules
from pathoprog.quality.config import QualitySettings
from pathoprog.regions.tumour_config import OutlineSettings
from pathoprog.scoring.eligibility import judge
from pathoprog.scoring.scorer import Scorer
from pathoprog.scoring.slide_outcomes import SlideScore
from pathoprog.scoring.slide_scores import judge_eligibility, score_stream, upsampled
from pathoprog.slides.config import SlideSettings
from pathoprog.slides.identity import slide_id_of
from pathoprog.stream.slide_stream import SlideJob, StreamSettings, TileStream
from pathoprog.system.machine.cores import cores
from pathoprog.system.machine.device import DTYPES, device_name, one_thread, resolve_device
from pathoprog.system.machine.device_choice import scoring_precision
from pathoprog.system.machine.pinned import register_for
from pathoprog.text.plain_text import plain_reason

THUMBNAIL_PX = 640
"""Longer side of the slide in the tile map, as `pathoprog score` has it."""


@dataclass(frozen=True)
class InProcessResult:
    """What is found of one slide: `outcome` as the command's workers have it; `flags` with the overrides in force."""

    outcome: SlideScore
    flags: tuple[str, ...]


class InProcessScorer:
    """A locked ensemble, verified and loaded, that scores one slide after the other.

    Args:
        folder: the bundle.
        device: ``auto``, ``cpu`` or ``cuda:N``.
        threads: on a CPU, how many members compute at once; 0: one per core, up to as many as one resolution has.
            It changes no bit.
        key: public key (PEM) that must have signed the bundle; empty: none.
        encoder_weights: files of the encoders' weights that the bundle names by their hash alone.
        runtime: the networks' engine, as of `pathoprog score`: ``auto``, or one of `engines.choice.ENGINES`.

    Raises:
        BundleError: the bundle is not whole and unchanged, or not signed with the key.
        ConfigError: no such device; encoders' weights are missing.
    """

    def __init__(
        self,
        folder: str | Path,
        device: str = "auto",
        threads: int = 0,
        key: str = "",
        encoder_weights: Sequence[str] = (),
        runtime: str = "auto",
    ):
        bundle = load_bundle(folder)
        if bundle.manifest.other_features and not bundle.manifest.encoders:
            raise ConfigError(
                f"{folder}: its members take features of another tool, which nothing here makes of a slide: score files"
                " of features with `pathoprog score features=FOLDER`"
            )
        if key:
            check_signature(folder, key)
        self.bundle = bundle
        self.device = resolve_device(device)
        precision = scoring_precision("auto", str(self.device), locked_precision(bundle.manifest))
        self.dtype = DTYPES[precision]
        self._stream = StreamSettings(workers=1)
        at_once = threads or min(bundle.manifest.shape.most_members, cores())
        kind, records = self.device.type, bundle.manifest.encoders or {}
        engines = {name: choose_runtime(runtime, kind, record.dtype) for name, record in records.items()}
        encoders = load_encoders(bundle.folder, records, encoder_weights, self.device, engines, at_once)
        engine = choose_runtime(runtime, kind, precision)
        self._scorer = Scorer(bundle, self.device, self.dtype, at_once, encoders, engine, compiled=True)
        self._rules = read_rules(folder, QualitySettings(), bundle.tumour_policy)
        self._outliner: NetworkOutliner | None = None
        self._overview = OutlineSettings()
        if bundle.manifest.tumour is not None:
            self._overview = bundle.manifest.tumour.outline.settings
        if bundle.tumour_policy == "network":
            outlines = choose_runtime(runtime, kind)
            network = of_bundle(bundle.folder, bundle.manifest.tumour, self.device, outlines, at_once)
            self._outliner = NetworkOutliner(network)

    @property
    def device_name(self) -> str:
        """What results say of the device."""
        return device_name(self.device)

    def score(
        self,
        path: str | Path,
        outline: str | Path = "",
        traits: Mapping[str, str] | None = None,
        slides: SlideSettings | None = None,
        slide_id: str = "",
    ) -> InProcessResult:
        """Score one slide, or say why it has no class.

        Args:
            path: the slide.
            outline: the tumour's, under the policies ``outline`` and ``network`` (there in place of the network's).
            traits: what is known of the slide's eligibility: organ, specimen, stain, neoadjuvant.
            slides: how it is opened.
            slide_id: what it is called; empty: after its file.

        Raises:
            ConfigError: the bundle's tumour policy needs an outline, or would not look at the one given.
        """
        slides = slides or SlideSettings()
        name = slide_id or slide_id_of(str(path))
        job = self._job(name, Path(path), Path(outline) if str(outline) else None, slides)
        with one_thread(), TileStream(self._stream, register_for(self.device)) as stream:
            events = stream.read([job], self._outliner)
            (outcome,) = score_stream(events, self._scorer, rules=self._rules)
        outcome.reason = plain_reason(outcome.reason, name, job.path, job.outline_path)
        if outcome.status == "failed":
            return InProcessResult(outcome, ())
        made_for = self.bundle.manifest.made_for or {}
        judge_eligibility(outcome, judge(dict(traits or {}), made_for), "enforce")
        overrides: dict[str, Any] = {"slides.mpp": slides.mpp} if slides.mpp > 0 else {}
        if slides.allow_upsampling and (outcome.opened is None or upsampled(outcome.opened)):
            overrides["slides.allow_upsampling"] = True
        said = [f"override: {key}={value}" for key, value in sorted(overrides.items())]
        said += [self.bundle.manifest.shape.caution] if not self.bundle.manifest.shape.is_methods else []
        return InProcessResult(outcome, (*outcome.quality, *said))

    def _job(self, name: str, path: Path, outline: Path | None, slides: SlideSettings) -> SlideJob:
        policy = self.bundle.tumour_policy
        if policy == "outline" and outline is None:
            raise ConfigError("the ensemble's tumour policy is outline, and the slide has none: give outline=FILE")
        if policy == "tissue" and outline is not None:
            raise ConfigError(
                f"outline={outline}: the ensemble's tumour policy is tissue, so no outline counts; leave it out"
            )
        return SlideJob(
            slide_id=name,
            path=str(path.resolve()),
            specs=[self.bundle.specs[resolution] for resolution in self.bundle.resolutions],
            slides=slides,
            tumour_policy=policy,
            outline_path=str(outline.resolve()) if outline else "",
            overview=self._overview,
            thumbnail_px=THUMBNAIL_PX,
        )
