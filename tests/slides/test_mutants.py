"""Damaged copies of slides of eight formats: no crash, no hang, and no class from what a strict check sees."""

import importlib.util
import sys
from pathlib import Path

import pytest
from made_mutants import KINDS, dicom_items, directories, mutant, tile_ranges, write_sources
from strict_check import complaints

from pathoprog.errors import SlideError
from pathoprog.slides import open_slide


def benchmark():
    """`benchmarks/mutants.py` as a module."""
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "mutants.py"
    spec = importlib.util.spec_from_file_location("benchmark_mutants", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    return write_sources(tmp_path_factory.mktemp("sources"))


def test_the_sources_are_sound_and_the_check_finds_nothing_in_them(sources):
    backends = {}
    for name, path in sources.items():
        assert complaints(path.read_bytes()) == [], name
        with open_slide(path) as slide:
            backends[name] = slide.backend
            assert slide.mpp == pytest.approx(0.25)
    assert set(backends.values()) >= {"openslide", "tiffslide", "openslide+jpeg", "tiffslide+jpeg"}
    assert len(sources) >= 6 and len(KINDS) >= 8


def test_a_mutant_is_the_same_again_and_never_the_original(sources):
    for name, path in sources.items():
        data = path.read_bytes()
        for kind in KINDS:
            made = [mutant(data, name, kind, number, seed=3) for number in range(4)]
            assert made == [mutant(data, name, kind, number, seed=3) for number in range(4)]
            assert (data not in made and len(set(made)) > 1) or kind == "line ends"


def test_the_strict_check_sees_plain_damage_in_every_source(sources):
    """It tells what the benchmark counts as a fault: it must not be blind."""
    for name, path in sources.items():
        data = path.read_bytes()
        start, length = tile_ranges(data)[3]
        cut = data[: start + length // 3] + bytes(length - length // 3) + data[start + length :]
        if name != "jpeg2000":  # zeros in its packets are legal
            assert complaints(cut), name
        assert complaints(data[: len(data) // 2]), name
        assert complaints(b"XX" + data[2:]) or name == "dicom"
    data = sources["jpeg"].read_bytes()
    found = directories(data)
    changed = bytearray(data)
    found.put(changed, found.links[-1], found.link_size, found.starts[0])
    assert complaints(bytes(changed)) == ["directory: a link leads back"]
    assert len(dicom_items(sources["dicom"].read_bytes())) == 17


def test_half_lost_tiles_of_every_source_are_refused(sources, tmp_path):
    """Each mutant of a tile's stream is refused, or its pixels are the original's, or only a checksum could tell."""
    told = 0
    for name, path in sources.items():
        for number in range(4):
            target = tmp_path / f"{number}{''.join(path.suffixes)}"
            target.write_bytes(mutant(path.read_bytes(), name, "tile stream", number, seed=1))
            if not complaints(target.read_bytes()):
                continue
            told += 1
            with open_slide(target) as slide, pytest.raises(SlideError):
                for level, facts in enumerate(slide.levels):
                    slide.read_region(0, 0, level, (facts.width, facts.height))
    assert told > 20


def check(found, inspected, scored):
    text = benchmark().report(found)
    assert found.inspected == inspected and sum(found.scored.values()) == scored, text
    assert not found.crashes and not found.hangs and not found.visible, text
    assert found.scored["failed"] > 0 and found.same + len(found.unseen) > 0, text


def test_a_seeded_set_gives_no_class_from_visible_damage(tmp_path, monkeypatch):
    module = benchmark()
    monkeypatch.setattr(module, "SIZE", 64)  # as other tests' bundles: converted networks are theirs
    check(module.run(tmp_path, inspected=12, scored=6, seed=1), 12, 6)


@pytest.mark.slow
def test_all_mutants_give_no_class_from_visible_damage(tmp_path):
    found = benchmark().run(tmp_path, inspected=352, scored=176, seed=0)
    print(benchmark().report(found))
    check(found, 352, 176)
