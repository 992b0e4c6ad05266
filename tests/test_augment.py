"""Augmentation: repeatable, bounded, and doing what it says."""

import pytest
import torch

from pathoprog.augment import augment, blur, jitter_stain, recompress, turn, zoom
from pathoprog.augment_config import AugmentSettings

NOTHING = AugmentSettings(flips=False, stain=0, stain_shift=0, brightness=0, blur=0, zoom=0, jpeg=0)
ALL = AugmentSettings(flips=True, stain=0.2, stain_shift=0.02, brightness=0.1, blur=1.0, zoom=0.1, jpeg=0.5)


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def tiles():
    return torch.randint(0, 256, (6, 24, 24, 3), dtype=torch.uint8, generator=seeded(0))


def test_nothing_changes_nothing(tiles):
    assert torch.equal(augment(tiles, NOTHING, seeded()), tiles.float())


def test_equal_seeds_give_equal_tiles_and_others_do_not(tiles):
    first, again, other = (augment(tiles, ALL, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == tiles.shape and first.min() >= 0 and first.max() <= 255


def test_turns_only_move_pixels(tiles):
    turned = turn(tiles.float(), seeded())
    for before, after in zip(tiles.float(), turned, strict=True):
        assert torch.equal(before.flatten().sort().values, after.flatten().sort().values)
    assert not torch.equal(turned, tiles.float())


def test_stain_jitter_leaves_white_white_and_changes_tissue():
    white = torch.full((2, 4, 4, 3), 255, dtype=torch.uint8)
    assert jitter_stain(white, 0.3, 0.05, seeded()).min() > 254
    tissue = torch.full((2, 4, 4, 3), 120, dtype=torch.uint8)
    assert (jitter_stain(tissue, 0.3, 0.05, seeded()) - 120).abs().max() > 2
    assert (jitter_stain(tissue, 0.0, 0.0, seeded()) - 120).abs().max() < 1e-2


def test_blur_keeps_the_mean_and_lowers_the_contrast(tiles):
    soft = blur(tiles.float(), 2.0, seeded())
    assert soft.std() < tiles.float().std()
    flat = torch.full((2, 16, 16, 3), 77.0)
    assert torch.allclose(blur(flat, 2.0, seeded()), flat, atol=1e-3)


def test_zoom_of_a_flat_tile_is_flat():
    flat = torch.full((2, 16, 16, 3), 77.0)
    assert torch.allclose(zoom(flat, 0.2, seeded()), flat, atol=1e-3)


def test_recompression_touches_about_its_share(tiles):
    assert torch.equal(recompress(tiles, 0.0, seeded()), tiles)
    changed = (recompress(tiles, 1.0, seeded()) != tiles).flatten(1).any(1)
    assert changed.all()
