"""The child that looks at files: what it cannot answer it says without a name of a file."""

from pathlib import Path

from pathoprog.inference.slides.inputs import SlideInput
from pathoprog.inference.slides.looks import Looker


def test_a_defect_of_the_child_ends_the_look_alone_and_names_no_file(tmp_path, capfd):
    path = tmp_path / "Nordmann" / "26H04711.svs"
    with Looker(60.0) as looker:
        odd = looker.look(SlideInput("S1", path, "S1"), "tissue", None)  # type: ignore[arg-type]
        assert "failed: TypeError in identity.py line" in odd.trouble and not odd.silent
        assert "Nordmann" not in odd.trouble and "26H04711" not in odd.trouble
        path.parent.mkdir()
        Path(path).write_bytes(b"x")
        assert looker.look(SlideInput("S1", str(path), "S1"), "tissue", 0.0).source, "the next one is answered"
    said = "".join(capfd.readouterr())
    assert "Nordmann" not in said and "26H04711" not in said
