"""Eligibility: what the cohort table says of a slide, held against what the bundle was made for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pathoprog.quality.config import MadeForSettings
from pathoprog.settings import as_dict
from pathoprog.system.records import Record

TRAITS = ("organ", "specimen", "stain", "neoadjuvant")
CONFIRMED, NOT_CONFIRMED, NOT_ELIGIBLE = "confirmed", "not confirmed", "not eligible"
UNKNOWN = ("", "unknown", "not known", "missing", "na", "n/a", "nan", "?", "-")
SAME = {"none": "no", "false": "no", "0": "no", "true": "yes", "1": "yes"}
"""Other ways to write whether there was neoadjuvant treatment."""


@dataclass(frozen=True)
class Eligibility(Record):
    """Whether a slide is one that the bundle was made for.

    Attributes:
        verdict: ``confirmed``, ``not confirmed`` (something is not known) or ``not eligible``.
        says: one sentence.
        slide: what the table says, by trait; empty where nothing is known.
        made_for: values that the bundle was made for, by trait.
    """

    verdict: str = NOT_CONFIRMED
    says: str = "nothing was said of the slide"
    slide: Mapping[str, str] = field(default_factory=dict)
    made_for: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def judge(slide: Mapping[str, str], made_for: Mapping[str, Sequence[str]]) -> Eligibility:
    """Hold a slide's traits against those of the bundle.

    Upper and lower case, spaces and signs make no difference: "H&E" is "HE", and not "HES".

    Args:
        slide: trait -> value from the table; absent, empty or "unknown" is not known.
        made_for: trait -> values, of the bundle's manifest; a trait without values is not known.
    """
    known = {trait: str(slide.get(trait, "")).strip() for trait in TRAITS}
    known = {trait: value for trait, value in known.items() if value.casefold() not in UNKNOWN}
    wanted = {trait: tuple(made_for.get(trait, ())) for trait in TRAITS}
    wrong = [
        f"{trait} is {value}, the ensemble was made for {' or '.join(wanted[trait])}"
        for trait, value in known.items()
        if wanted[trait] and _plain(trait, value) not in [_plain(trait, other) for other in wanted[trait]]
    ]
    no_word = [trait for trait in TRAITS if trait not in known]
    no_rule = [trait for trait in TRAITS if trait in known and not wanted[trait]]
    if wrong:
        return Eligibility(NOT_ELIGIBLE, "; ".join(wrong), known, wanted)
    if no_word or no_rule:
        parts = [f"{', '.join(no_word)} not known"] if no_word else []
        parts += [f"the bundle does not say for which {', '.join(no_rule)} it was made"] if no_rule else []
        return Eligibility(NOT_CONFIRMED, "; ".join(parts), known, wanted)
    return Eligibility(CONFIRMED, "organ, specimen, stain and neoadjuvant treatment as in training", known, wanted)


def made_for(settings: MadeForSettings, rows: list[dict[Any, Any]]) -> dict[str, list[str]]:
    """What an ensemble is made for, for its manifest.

    Args:
        settings: values that a person gave.
        rows: of the training and tuning cohort: where none was given, the values that occur in it.
    """
    given: dict[str, list[str]] = as_dict(settings)
    return {
        trait: list(given[trait])
        or sorted(
            {
                str(row[trait]).strip()
                for row in rows
                if trait in row and str(row[trait]).strip().casefold() not in UNKNOWN
            }
        )
        for trait in TRAITS
    }


def _plain(trait: str, value: str) -> str:
    plain = "".join(letter for letter in value.casefold() if letter.isalnum())
    return SAME.get(plain, plain) if trait == "neoadjuvant" else plain
