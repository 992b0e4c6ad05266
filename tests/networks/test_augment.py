"""Augmentation: repeatable, bounded, and doing what it says."""

import io

import numpy as np
import pytest
import torch
from made_slides import texture
from PIL import Image

from pathoprog.networks.augmentation import Draws, augment, blur, crop, jitter_stain, recompress_some, turn, zoom
from pathoprog.networks.augmentation_config import AugmentSettings
from pathoprog.networks.recompression import recompress

NOTHING = AugmentSettings(flips=False, crop=0, stain=0, stain_shift=0, brightness=0, blur=0, zoom=0, jpeg=0)
ALL = AugmentSettings(flips=True, crop=0.25, stain=0.2, stain_shift=0.02, brightness=0.1, blur=1.0, zoom=0.1, jpeg=0.5)


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draws(tiles: torch.Tensor) -> Draws:
    return Draws(seeded(), len(tiles))


@pytest.fixture
def tiles():
    return torch.randint(0, 256, (6, 24, 24, 3), dtype=torch.uint8, generator=seeded(0))


def test_nothing_changes_nothing(tiles):
    assert torch.equal(augment(tiles, NOTHING, seeded()), tiles.float())


def test_equal_seeds_give_equal_tiles_and_others_do_not(tiles):
    first, again, other = (augment(tiles, ALL, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (6, 18, 18, 3) and first.min() >= 0 and first.max() <= 255


@pytest.mark.parametrize("parts", [2, 3, 6])
def test_a_tile_is_changed_alike_whichever_of_the_step_s_tiles_are_changed_with_it(tiles, parts):
    whole = augment(tiles, ALL, seeded())
    n = len(tiles) // parts
    found = [augment(tiles[at : at + n], ALL, seeded(), at, len(tiles)) for at in range(0, len(tiles), n)]
    torch.testing.assert_close(torch.cat(found), whole, rtol=0, atol=1e-3)  # of 255
    alone = augment(tiles[n : 2 * n], ALL, seeded())  # draws of its own would be others
    assert (alone - whole[n : 2 * n]).abs().mean() > 1


def test_turns_only_move_pixels(tiles):
    turned = turn(tiles.float(), draws(tiles))
    for before, after in zip(tiles.float(), turned, strict=True):
        assert torch.equal(before.flatten().sort().values, after.flatten().sort().values)
    assert not torch.equal(turned, tiles.float())


def test_stain_jitter_leaves_white_white_and_changes_tissue():
    white = torch.full((2, 4, 4, 3), 255, dtype=torch.uint8)
    assert jitter_stain(white, 0.3, 0.05, draws(white)).min() > 254
    tissue = torch.full((2, 4, 4, 3), 120, dtype=torch.uint8)
    assert (jitter_stain(tissue, 0.3, 0.05, draws(tissue)) - 120).abs().max() > 2
    assert (jitter_stain(tissue, 0.0, 0.0, draws(tissue)) - 120).abs().max() < 1e-2


def test_blur_keeps_the_mean_and_lowers_the_contrast(tiles):
    soft = blur(tiles.float(), 2.0, draws(tiles))
    assert soft.std() < tiles.float().std()
    flat = torch.full((2, 16, 16, 3), 77.0)
    assert torch.allclose(blur(flat, 2.0, draws(flat)), flat, atol=1e-3)


def test_zoom_of_a_flat_tile_is_flat():
    flat = torch.full((2, 16, 16, 3), 77.0)
    assert torch.allclose(zoom(flat, 0.2, draws(flat)), flat, atol=1e-3)


def test_a_crop_is_a_window_of_the_tile_at_a_place_of_its_own(tiles):
    windows = crop(tiles, 20, draws(tiles))
    places = []
    for tile, window in zip(tiles, windows, strict=True):
        found = [(y, x) for y in range(5) for x in range(5) if torch.equal(tile[y : y + 20, x : x + 20], window)]
        assert len(found) == 1
        places += found
    assert len(set(places)) > 2
    assert augment(tiles, AugmentSettings(crop=0.5), seeded()).shape == (6, 12, 12, 3)


def test_features_are_left_as_they_are():
    features = torch.randn(5, 7).half()
    assert torch.equal(augment(features, ALL, seeded()), features.float())


def test_recompression_touches_about_its_share(tiles):
    assert torch.equal(recompress_some(tiles, 0.0, draws(tiles)), tiles)
    changed = (recompress_some(tiles, 1.0, draws(tiles)) != tiles).flatten(1).any(1)
    assert changed.all()
    many = torch.randint(0, 256, (200, 8, 8, 3), dtype=torch.uint8, generator=seeded(0))
    share = (recompress_some(many, 0.3, draws(many)) != many).flatten(1).any(1).float().mean()
    assert 0.2 < share < 0.4


@pytest.mark.parametrize("quality", [40, 60, 90])
@pytest.mark.parametrize("size_px", [64, 50])
def test_recompression_is_jpeg_s(quality, size_px):
    tile = texture(size_px, size_px, seed=3).astype(np.int16)
    tile = np.clip(tile + np.random.default_rng(0).normal(0, 12, tile.shape), 0, 255).astype(np.uint8)
    coded = io.BytesIO()
    Image.fromarray(tile).save(coded, "JPEG", quality=quality)
    wanted = np.asarray(Image.open(coded)).astype(float)
    found = recompress(torch.from_numpy(tile)[None], torch.tensor([quality]))[0].numpy().astype(float)
    loss = np.abs(wanted - tile).mean()
    assert loss > 2
    # libjpeg's integer arithmetic rounds some coefficients to the other side; the rest is the same
    assert np.abs(found - wanted).mean() < 0.15 * loss
    assert np.abs(np.abs(found - tile).mean() - loss) < 0.02 * loss
