"""The study file: what it may hold, and what is wrong with others."""

from pathlib import Path

import pytest
from house import ROOT

from pathoprog.errors import InputError
from pathoprog.validation.study_facts import STUDY_FACTS, read_study_facts


def test_facts_in_the_order_of_the_guidelines_and_empty_ones_left_out(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(
        "funding: none\nethics: |\n  Approved by\n  a board.\nsetting:\nsample_size: 300\n", encoding="utf-8"
    )
    assert read_study_facts(path) == {"sample_size": "300", "ethics": "Approved by a board.", "funding": "none"}
    assert list(read_study_facts(path)) == [
        name for name in STUDY_FACTS if name in ("sample_size", "ethics", "funding")
    ]
    path.write_text("# nothing yet\n")
    assert read_study_facts(path) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fundings: none", "does not know fundings; its keys are context"),
        ("- funding", "must be a mapping"),
        ("funding: [a, b]", "funding must be a text"),
        ("conflicts: no", "conflicts must be a text, not False; put it into quotes"),
        ("funding: {", "no YAML"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read_study_facts(path)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_study_facts(tmp_path / "study.yaml")


def test_the_document_names_every_key() -> None:
    text = (ROOT / "docs" / "validation.md").read_text(encoding="utf-8")
    assert not [key for key in STUDY_FACTS if f"`{key}`" not in text]
