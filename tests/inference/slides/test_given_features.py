"""Which file of features is which slide's: by the names that the cohort's table says, as in training."""

from pathlib import Path

import numpy as np
import pandas as pd
from made_foreign import write_clam

from pathoprog.cohort_tables.cohort_files import paths_as_given
from pathoprog.inference.slides.given_features import slides_of_features, with_features
from pathoprog.inference.slides.inputs import Found, slides_from_cohort

VALUES = np.zeros((2, 3), np.float32)


def made(folder, names):
    """A cohort of `names` by id, whose slides are links into a store, and CLAM's features by the links' names."""
    (folder / "slides").mkdir()
    rows = []
    for number, (slide_id, name) in enumerate(names.items()):
        (folder / "slides" / f"{name}.svs").symlink_to(folder / f"store/{number}c4e.svs")
        role = "external" if number else "training"
        rows.append({"patient_id": slide_id, "slide_id": slide_id, "slide_path": f"slides/{name}.svs", "cohort": "c"})
        rows[-1]["role"] = role
        write_clam(folder, name, VALUES, pickled=False)
    pd.DataFrame(rows).to_csv(folder / "cohort.csv", index=False)
    return str(folder / "cohort.csv")


def found_in(folder, cohort):
    slides = slides_from_cohort(cohort, roles=["external"])
    return with_features(Found(slides), {"20x": folder}, paths_as_given(cohort))


def test_a_slide_that_is_a_link_has_the_features_of_the_link_s_name(tmp_path):
    cohort = made(tmp_path, {"id-1": "A.1 scan", "id-2": "B.2", "id-3": "C"})
    found = found_in(tmp_path, cohort)
    assert not found.faults
    files = {slide.slide_id: Path(slide.features["20x"]).name for slide in found.slides}
    assert files == {"id-2": "B.2.h5", "id-3": "C.h5"}


def test_features_of_the_cohort_s_other_roles_are_not_called_strangers(tmp_path, capsys):
    cohort = made(tmp_path, {"id-1": "A", "id-2": "B"})
    write_clam(tmp_path, "stranger", VALUES, pickled=False)
    found_in(tmp_path, cohort)
    assert "features of 1 slide that the cohort does not have are left: stranger" in "".join(capsys.readouterr())


def test_without_a_cohort_each_file_is_a_slide_by_its_whole_name(tmp_path):
    for name in ("a", "a.svs"):
        write_clam(tmp_path, name, VALUES, pickled=False)
    found = slides_of_features({"20x": tmp_path})
    files = {slide.slide_id: Path(slide.features["20x"]).name for slide in found.slides}
    assert files == {"a": "a.h5", "a.svs": "a.svs.h5"} and not found.faults
