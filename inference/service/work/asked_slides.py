"""The slide that a submission asks for: where it lies, by the map, and what is known of its eligibility."""

from collections.abc import Mapping
from pathlib import Path

from pathoprog.inference.service.config import RouteSettings
from pathoprog.inference.service.intake.path_names import PathNames
from pathoprog.inference.service.work.store import SlideFile
from pathoprog.inference.service.work.submissions import Submission
from pathoprog.inference.slides.inputs import SlideInput
from pathoprog.slides.identity import slide_id_of


def slide_of(submission: Submission, file: SlideFile, route: RouteSettings, names: PathNames) -> SlideInput | None:
    """What readers are told of it; None where the map does not know where it lies.

    With pseudonyms it says what they stand for, so that reasons can be kept free of it.
    """
    path = names.path(file.file)
    if not path:
        return None
    hidden = names.hides(route.name)
    return SlideInput(
        slide_id=submission.slide_id,
        path=path,
        patient_id=submission.patient_id,
        cohort=route.cohort,
        role=route.role,
        traits=file.traits,
        given_id=slide_id_of(Path(path).name) if hidden else "",
        given_patient_id=names.stands_for(submission.patient_id) if hidden else "",
    )


def paths_of(file: SlideFile, names: PathNames) -> tuple[str, ...]:
    """Paths of all its files, where a watched folder has told them; none where the map does not know them all."""
    found = tuple(names.path(one) for one in file.files)
    return found if all(found) else ()


def traits_of(route: RouteSettings, known: Mapping[str, str]) -> dict[str, str]:
    """What is known of a slide's eligibility: the route's word, and above it that of its table."""
    return {**route.eligibility, **{trait: value for trait, value in known.items() if value}}
