"""A small cohort of two external trials whose outcomes were opened once, and what its report then says."""

import html
import re
from typing import Any

import pytest
from made_cohort import MadeCohort
from matplotlib.figure import Figure

from pathoprog.cohorts import validate
from pathoprog.cohorts.config import ValidateConfig


def without_rendering(patch: pytest.MonkeyPatch) -> None:
    """Let figures be made and not rendered, which is most of a validation's time: other tests render them."""
    patch.setattr(Figure, "savefig", lambda figure, stream, **how: stream.write(b"<svg/>"))


def run(made: MadeCohort, out: str = "validation", **more: Any) -> None:
    """Validate, without rendering: it is no question of openings."""
    with pytest.MonkeyPatch.context() as patch:
        without_rendering(patch)
        validate.run(ValidateConfig(**made.settings(out, permutations=100, **more)))


def first_page(made: MadeCohort, out: str = "validation") -> str:
    """The text before the list of sections, without markup."""
    page = (made.folder / out / "report.html").read_text().split("<nav>")[0]
    return " ".join(html.unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.S)).split())


def statuses(made: MadeCohort, out: str = "validation") -> set[str]:
    page = (made.folder / out / "report.html").read_text()
    return set(re.findall(r'<span class="status \w+">([^<]+)</span>', page))
