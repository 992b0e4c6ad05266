"""Manifests of every format: read and written to the same bytes; what is missing or wrong is said with its place."""

import copy
import hashlib
import json

import pytest

from pathoprog.ensemble.bundle import read_manifest
from pathoprog.ensemble.manifest import manifest_of, manifest_text
from pathoprog.ensemble.manifest_checks import manifest_problems
from pathoprog.ensemble.shape import METHOD_SHAPE
from pathoprog.errors import BundleError
from pathoprog.system.files import canonical_json
from pathoprog.system.records import RecordError

SHA = "ab" * 32
FACTS = {"n_patients": 20, "n_slides": 21, "n_tiles": 900, "n_events": 8, "sha256": SHA}
NETWORK = {"encoder": "mobilenet_v2", "width": 1.0, "weights": "", "instance_dim": 64, "pooling": "noisy_and"}


def spec(resolution, mpp):
    return {"resolution": resolution, "mpp": mpp, "size_px": 448, "min_coverage": 0.5, "max_per_slide": 0}


def member(resolution, number):
    name = f"{resolution}-seed{number}"
    return {
        "name": name, "resolution": resolution, "file": f"members/{name}.safetensors", "sha256": SHA,
        "network": dict(NETWORK), "score_map": [0.0, 1.0], "seed": number, "step": 40, "tuning_c": 0.625,
    }  # fmt: skip


def first():
    """As the first version wrote it: nothing that came later, and whole numbers where floats may be."""
    members = [member(resolution, number) for resolution in ("10x", "40x") for number in range(5)]
    return {
        "format": 1,
        "name": "Darm, größer",
        "members": members,
        "thresholds": {name: {"value": 0.5, "lower": 0.375, "upper": 1, "share_above": 0.25, "rule": "largest"}
                       for name in ("10x", "40x")},
        "tile_specs": {"10x": spec("10x", 1), "40x": spec("40x", 0.25)},
        "normalisation": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
        "aggregation": "bag",
        "tumour_policy": "tissue",
        "cohorts": {"training": dict(FACTS), "tuning": dict(FACTS)},
        "training": {"labels": {"good_after_years": 6.0}, "fit": {"evaluate_tiles": 256, "steps": 40}, "augment": {}},
        "code_version": "0.1.0",
        "files": {one["file"]: SHA for one in members},
    }  # fmt: skip


def second():
    """With members on features: the encoder's weights in the bundle at 10x, by their hash alone at 40x."""
    found = first()
    record = {
        "encoder": "timm/vit", "width": 1.0, "encoder_options": "", "input_px": 224, "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5], "dtype": "fp32", "precision": "fp16", "d": 96, "weights_sha256": SHA,
    }  # fmt: skip
    found["encoders"] = {"10x": {**record, "file": "encoders/abab.safetensors"}, "40x": record}
    for one in found["members"]:
        one["network"] |= {"encoder": "none", "feature_dim": 96}
    found["files"]["encoders/abab.safetensors"] = SHA
    return {**found, "format": 2}


def third():
    """All that a lock of today may write, and what a later one of this format may add."""
    found = first()
    cohort = {"n_patients": 3, "n_slides": 4, "sha256": SHA}
    outline = {"mpp": 4.0, "window_px": 256, "overlap_px": 64, "threshold": 0.5, "min_area_um2": 20000.0,
               "min_hole_um2": 10000.0, "simplify_um": 2.0}  # fmt: skip
    found |= {
        "format": 3,
        "research_use_only": "For research use only",
        "intended_use": "",
        "preprocessing": "2",
        "precision": "bf16",
        "made_for": {"organ": ["colorectum"], "specimen": [], "stain": ["H&E", "HES"], "neoadjuvant": ["no"]},
        "tuning_scores": {"n_patients": 20, "n_slides": 21, "n_tiles": {"10x": 90, "40x": 900},
                          "left_out": {"not_reportable": 1}, "ranked_on_tiles": 256,
                          "batch_tiles": {"10x": 64, "40x": 64}, "sha256": SHA},
        "tumour": {"file": "tumour.safetensors", "network": {"encoder": "mobilenet_v2", "decoder": 16, "weights": ""},
                   "outline": outline, "step": 40, "tuning_dice": 0.875, "tuning_dice_lowest": 0.5,
                   "cohorts": {"training": cohort, "tuning": cohort}},
        "parent": {"ensemble_id": SHA, "name": ""},
        "stage_groups": {"supersedes": SHA, "in_sample": False},
        "later": {"more": [1, None, {"deep": "ä"}]},
    }  # fmt: skip
    found["cohorts"]["tuning"] |= {"out_of_folds": 5, "together": "", "verdict_sha256": SHA, "later": 1}
    for one in found["members"]:
        one |= {"scored_c": 0.6875, "parent_member": "10x-seed1"}
        one["network"] |= {"a_later_setting": 3}
    return found


def fourth():
    """Of another shape than METHOD's: three members at 20x alone."""
    found = third()
    del found["tumour"]
    members = [member("20x", number) for number in range(3)]
    return found | {
        "format": 4,
        "holds": ["other_shape"],
        "other_shape": {
            "members": {"20x": 3},
            "caution": "not METHOD's ensemble: 3 networks at 20x, where METHOD has 5 networks at 10x and 5 at 40x",
        },
        "members": members,
        "files": {one["file"]: SHA for one in members},
        "thresholds": {"20x": found["thresholds"]["10x"]},
        "tile_specs": {"20x": spec("20x", 0.5)},
        "tuning_scores": found["tuning_scores"] | {"n_tiles": {"20x": 300}, "batch_tiles": {"20x": 64}},
    }


@pytest.mark.parametrize("made", [first, second, third])
def test_what_is_read_is_written_to_the_same_bytes(made, tmp_path):
    text = canonical_json(made())
    (tmp_path / "manifest.json").write_text(text, encoding="utf-8")
    manifest = read_manifest(tmp_path)
    assert manifest_text(manifest) == text
    assert hashlib.sha256(manifest_text(manifest).encode()).digest() == hashlib.sha256(text.encode()).digest()
    assert manifest.format == made()["format"] and len(manifest.members_at("40x")) == 5
    assert manifest.cuts == {"10x": 0.5, "40x": 0.5} and manifest.tile_specs["40x"].mpp == 0.25


@pytest.mark.parametrize("made", [first, second, third])
def test_any_optional_key_may_be_absent_and_is_not_written_then(made):
    whole = made()
    needed = {"members", "thresholds", "tile_specs", "aggregation", "tumour_policy", "files", "format"}
    by_format = {"encoders", "tuning_scores"}
    for name in whole.keys() - needed - by_format:
        less = {key: value for key, value in whole.items() if key != name}
        assert manifest_text(manifest_of(less)) == canonical_json(less), name


def test_younger_settings_have_their_defaults_and_unknown_ones_are_kept_apart():
    network = manifest_of(first()).members[0].network
    assert network.settings.head == "poor" and {"head", "slope", "feature_dim"} <= network.younger
    assert not network.unknown and manifest_of(third()).members[0].network.unknown == {"a_later_setting": 3}


def places(value, path=()):
    """Every place in nested JSON values."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def changed(value, path, change):
    """A copy in which `change` was done to the holder of a place."""
    made = copy.deepcopy(value)
    holder = made
    for key in path[:-1]:
        holder = holder[key]
    change(holder, path[-1])
    return made


WRONG = ["wrong", 17, 0.5, True, None, [], ["wrong"], {}, {"wrong": 1}, float("nan"), float("inf"), 10**400]


def set_to(wrong):
    return lambda holder, key: holder.__setitem__(key, wrong)


@pytest.mark.parametrize("made", [first, second, third, fourth])
def test_a_manifest_that_is_not_right_is_a_bundle_error_and_nothing_else(made, tmp_path):
    whole = made()
    changes = [lambda holder, key: holder.pop(key), *map(set_to, WRONG)]
    refused = written = n = 0
    found = [path for path in places(whole) if path[:2] not in {("members", k) for k in range(1, 10)}]
    for path in found:
        for change in changes:
            n += 1
            harmed = changed(whole, path, change)
            try:
                manifest = manifest_of(harmed)
            except RecordError:
                refused += 1
                continue
            # what is accepted is typed, and written as it was read
            assert all(isinstance(one.file, str) and isinstance(one.seed, int | None) for one in manifest.members)
            try:
                text = canonical_json(harmed)
            except ValueError:  # NaN, where any value may stand
                continue
            written += 1
            assert manifest_text(manifest) == text, path
    assert n > 800 and refused > 0.5 * n and written > 20


@pytest.mark.parametrize(
    ("path", "change", "said"),
    [
        (("members", 3, "file"), lambda holder, key: holder.pop(key), "members[3]: lacks file"),
        (("members", 3, "file"), set_to(7), "members[3].file: 7, must be text"),
        (("members", 0, "resolution"), set_to("20x"), "members[0].resolution: '20x', must be one of 10x, 40x"),
        (("members", 0, "score_map"), set_to([0.0]), "members[0].score_map: [0.0], must be a list of 2"),
        (("members", 0, "network", "width"), set_to("1"), 'members[0].network.width: "1", must be a finite number'),
        (("members", 0, "seed"), set_to(True), "members[0].seed: true, must be a whole number"),
        (("members",), set_to({"a": 1}), 'members: {"a": 1}, must be a list'),
        (("thresholds", "10x"), lambda holder, key: holder.pop(key), "thresholds: lacks 10x"),
        (("thresholds", "10x", "value"), set_to(None), "thresholds.10x.value: null, must be a finite number"),
        (("thresholds", "10x", "value"), set_to(float("nan")), "thresholds.10x.value: NaN, must be a finite number"),
        (("tile_specs", "40x", "mpp"), lambda holder, key: holder.pop(key), "tile_specs.40x: lacks mpp"),
        (("tile_specs", "40x"), lambda holder, key: holder[key].update(odd=1), "tile_specs.40x: holds what this"),
        (("tile_specs",), set_to({"20x": {}}), "tile_specs.20x: lacks resolution, mpp, size_px"),
        (("cohorts", "tuning", "n_events"), set_to("8"), 'cohorts.tuning.n_events: "8", must be a whole number'),
        (("tuning_scores",), set_to([]), "tuning_scores: [], must be a record"),
        (("tuning_scores",), set_to({"n_patients": 1}), "tuning_scores: lacks n_slides, n_tiles"),
        (("tuning_scores",), lambda holder, key: holder.pop(key), "format 3, but it holds what format 1 does"),
        (("format",), set_to(99), "format 99, this version reads 1 to 4; it was locked by a newer version"),
        (("format",), set_to(True), "format True, this version reads 1 to 4"),
        (("files",), set_to(["a"]), 'files: ["a"], must be a record'),
        (("tumour", "tuning_dice"), lambda holder, key: holder.pop(key), "tumour: lacks tuning_dice"),
        (("made_for", "stain"), set_to("HES"), 'made_for.stain: "HES", must be a list'),
        (("stage_groups", "in_sample"), set_to(0), "stage_groups.in_sample: 0, must be true or false"),
    ],
)  # fmt: skip
def test_it_says_what_is_wrong_and_where(path, change, said, tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps(changed(third(), path, change)))
    with pytest.raises(BundleError) as caught:
        read_manifest(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'manifest.json'}: {said}")


@pytest.mark.parametrize("text", ["[]", "null", "3", '"x"', "{", "", "[" * 100_000, '{"format": ' + "9" * 5000 + "}"])
def test_what_is_no_manifest_at_all_is_refused(text, tmp_path):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(BundleError, match=r"manifest\.json: (format|not JSON)"):
        read_manifest(tmp_path)


def test_another_shape_is_a_format_of_its_own(tmp_path):
    text = canonical_json(fourth())
    (tmp_path / "manifest.json").write_text(text, encoding="utf-8")
    manifest = read_manifest(tmp_path)
    assert manifest_text(manifest) == text and manifest.format == 4 and not manifest_problems(manifest)
    shape = manifest.shape
    assert shape.resolutions == ("20x",) and shape.classes == ("good", "poor") and not shape.is_methods
    assert shape.caution == manifest.other_shape.caution
    for made in (first, second, third):
        old = manifest_of(made())
        assert old.shape == METHOD_SHAPE and old.shape.is_methods and not old.shape.caution and not old.holds
        assert old.shape.classes == ("good", "uncertain", "poor") and old.shape.n_members == 10


@pytest.mark.parametrize(
    ("path", "change", "said"),
    [
        (("holds",), set_to(["other_shape", "aura"]), "holds: aura, which this version does not know"),
        (("holds",), set_to([]), "holds: , but there is other_shape"),
        (("holds",), set_to("other_shape"), "holds: must be a list"),
        (("holds",), lambda holder, key: holder.pop(key), "holds: must be a list"),
        (("other_shape",), lambda holder, key: holder.pop(key), "format 4, but it holds what format 3 does"),
        (("format",), set_to(3), "format 3, but it holds what format 4 does"),
        (("other_shape", "members"), set_to({}), "other_shape.members: none: an ensemble has one resolution or 2"),
        (("other_shape", "members"), set_to({"5x": 3}), "other_shape.members: resolution 5x: must be one of 10x, 20x"),
        (("other_shape", "members"), set_to({"20x": 0}), "other_shape.members: no member at 20x"),
        (("other_shape", "members"), set_to({"10x": 1, "20x": 1, "40x": 1}), "other_shape.members: 10x, 20x, 40x: an"),
        (("other_shape", "members"), set_to({"20x": 3, "40x": 3}), "thresholds: lacks 40x"),
        (("members", 0, "resolution"), set_to("10x"), "members[0].resolution: '10x', must be one of 20x"),
        (("tile_specs", "10x"), set_to(spec("10x", 1.0)), "tile_specs: '10x', must be one of 20x"),
    ],
)
def test_of_another_shape_it_says_what_is_wrong_too(path, change, said):
    with pytest.raises(RecordError) as caught:
        manifest_of(changed(fourth(), path, change))
    assert str(caught.value).startswith(said)


def test_members_are_as_many_as_the_shape_says():
    less = manifest_of(changed(fourth(), ("other_shape", "members"), set_to({"20x": 4})))
    assert "3 members at 20x, needs 4" in manifest_problems(less)
    own = third() | {key: fourth()[key] for key in ("format", "holds", "other_shape")}
    own["other_shape"]["members"] = {"10x": 5, "40x": 5}
    assert "other_shape: 5 networks at 10x and 5 at 40x is METHOD's own" in manifest_problems(manifest_of(own))
