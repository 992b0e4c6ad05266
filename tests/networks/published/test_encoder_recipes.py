"""Recipes of published encoders: at full size without memory, at depth 2 for real, and what their files must hold."""

from dataclasses import asdict, replace

import pytest
import timm
import torch
import yaml
from safetensors.torch import save_file
from timm.layers import SwiGLUPacked
from torch import nn

from pathoprog.errors import ConfigError
from pathoprog.networks.config import EncoderSettings, FeatureEncoderSettings, NetworkSettings
from pathoprog.networks.encoders import TokenFeatures, build, load_by_recipe, make_encoder, try_encoder
from pathoprog.networks.member import MilNetwork
from pathoprog.networks.published import encoder_recipes
from pathoprog.networks.published.encoder_names import names_of_timm
from pathoprog.networks.published.encoder_recipes import (
    CLASS_AND_PATCHES,
    RECIPES,
    EncoderRecipe,
    as_shown,
    unlike_training,
)
from pathoprog.system.files import sha256_value

TRANSFORMERS = [name for name, recipe in RECIPES.items() if recipe.architecture.startswith("timm/vit")]
# As their publishers' cards say: registers, then blocks
SHAPES = {
    "uni": (0, 24),
    "uni2-h": (8, 24),
    "virchow2": (4, 32),
    "h-optimus-0": (4, 40),
    "h-optimus-1": (4, 40),
    "h0-mini": (4, 12),
    "gigapath": (0, 40),
    "phikon-v2": (0, 24),
}


def bare(encoder: nn.Module) -> nn.Module:
    return encoder.vit if isinstance(encoder, TokenFeatures) else encoder


def short(name: str) -> EncoderRecipe:
    """The recipe with two blocks; all else at full size."""
    recipe = RECIPES[name]
    options = {**(yaml.safe_load(recipe.options) or {}), "depth": 2}
    return replace(recipe, options=yaml.safe_dump(options, default_flow_style=True))


@pytest.mark.parametrize("name", list(RECIPES))
def test_at_full_size_names_shapes_and_numbers_are_those_published(name):
    recipe = RECIPES[name]
    with torch.device("meta"):
        encoder, d = make_encoder(EncoderSettings(name))
    assert d == recipe.d
    found = sum(parameter.numel() for parameter in encoder.parameters()) / 1e6
    assert found == pytest.approx(recipe.parameters_m, abs=0.06)
    if name in SHAPES:
        assert (bare(encoder).num_prefix_tokens - 1, len(bare(encoder).blocks)) == SHAPES[name]


@pytest.mark.parametrize("name", list(RECIPES))
def test_with_two_blocks_each_runs_and_gives_d_features(name):
    recipe = RECIPES[name] if name == "resnet50" else short(name)
    with torch.device("meta"):  # its own random start takes a second at these widths
        encoder, d, _ = build(recipe)
    encoder.to_empty(device="cpu").eval()
    torch.manual_seed(0)
    for tensor in encoder.state_dict().values():
        tensor.copy_(torch.ones(()) if tensor.ndim < 2 else torch.randn(()).expand(tensor.shape) / tensor[0].numel())
    tiles = torch.randn(1, 3, 224, 224)
    if name == "resnet50":
        assert encoder(tiles).shape == (1, d) == (1, 2048)
        return
    with torch.inference_mode():
        found = encoder(tiles)
        tokens = bare(encoder).forward_features(tiles)
    assert found.shape == (1, d) == (1, recipe.d) and torch.isfinite(found).all()
    registers = SHAPES[name][0]
    assert torch.equal(found[:, : tokens.shape[2]], tokens[:, 0])
    if recipe.tokens == CLASS_AND_PATCHES:
        assert torch.allclose(found[:, tokens.shape[2] :], tokens[:, 1 + registers :].mean(1), atol=1e-6)


SWIGLU = {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU}
GIANT = {"img_size": 224, "init_values": 1e-5}
# What the publishers' cards give to timm.create_model (Phikon-v2 is published for transformers)
CARDS = {
    "uni": ("vit_large_patch16_224", {"img_size": 224, "patch_size": 16, "init_values": 1e-5}),
    "uni2-h": (
        "vit_giant_patch14_224",
        {
            "img_size": 224,
            "patch_size": 14,
            "depth": 24,
            "num_heads": 24,
            "init_values": 1e-5,
            "embed_dim": 1536,
            "mlp_ratio": 2.66667 * 2,
            "no_embed_class": True,
            "reg_tokens": 8,
            **SWIGLU,
        },
    ),
    "virchow2": ("vit_huge_patch14_224", {**GIANT, "reg_tokens": 4, "mlp_ratio": 5.3375, "global_pool": "", **SWIGLU}),
    "h-optimus-0": ("vit_giant_patch14_reg4_dinov2", {**GIANT, "global_pool": "token"}),
    "h-optimus-1": ("vit_giant_patch14_reg4_dinov2", {**GIANT, "global_pool": "token"}),
    "h0-mini": ("vit_base_patch14_reg4_dinov2", {**GIANT, "mlp_ratio": 5.33334, "global_pool": "", **SWIGLU}),
    "gigapath": (
        "vit_giant_patch14_dinov2",
        {"img_size": 224, "patch_size": 16, "embed_dim": 1536, "depth": 40, "num_heads": 24, "mlp_ratio": 5.33334},
    ),
}


def published(name: str, blocks: int) -> dict[str, torch.Size]:
    """Names and shapes of a publisher's file: as the card's call of timm has them, or transformers' Dinov2Model."""
    if name in CARDS:
        architecture, options = CARDS[name]
        with torch.device("meta"):
            model = timm.create_model(architecture, num_classes=0, **{**options, "depth": blocks})
        return {part: tensor.shape for part, tensor in model.state_dict().items()}
    w = 1024
    shapes = {
        "embeddings.cls_token": (1, 1, w),
        "embeddings.mask_token": (1, w),
        "embeddings.position_embeddings": (1, 197, w),
        "embeddings.patch_embeddings.projection.weight": (w, 3, 16, 16),
        "embeddings.patch_embeddings.projection.bias": (w,),
        "layernorm.weight": (w,),
        "layernorm.bias": (w,),
    }
    for number in range(blocks):
        linear = {f"attention.attention.{part}": (w, w) for part in ("query", "key", "value")}
        linear |= {"attention.output.dense": (w, w), "mlp.fc1": (4 * w, w), "mlp.fc2": (w, 4 * w)}
        block = {f"{part}.weight": shape for part, shape in linear.items()}
        block |= {f"{part}.bias": shape[:1] for part, shape in linear.items()}
        block |= {f"norm{one}.{kind}": (w,) for one in (1, 2) for kind in ("weight", "bias")}
        block |= {f"layer_scale{one}.lambda1": (w,) for one in (1, 2)}
        shapes |= {f"encoder.layer.{number}.{part}": shape for part, shape in block.items()}
    return {name: torch.Size(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("name", ["phikon-v2", "h0-mini"])
def test_each_tensor_of_a_published_file_is_taken_or_named(name, tmp_path):
    recipe = short(name)
    torch.manual_seed(0)
    tensors = {part: torch.randn(shape) for part, shape in published(name, 2).items()}
    save_file(tensors, tmp_path / "weights.safetensors")
    encoder, _, classifier = build(recipe)
    load_by_recipe(encoder, recipe, str(tmp_path / "weights.safetensors"), "weights", classifier)
    taken = torch.cat([tensor.flatten() for tensor in encoder.state_dict().values()])
    kept = torch.cat([tensor.flatten() for part, tensor in tensors.items() if part not in recipe.left_out])
    assert taken.numel() == kept.numel() and taken.double().sum() == pytest.approx(kept.double().sum().item())
    if recipe.names == "dinov2":
        found = bare(encoder).state_dict()
        block = "encoder.layer.1.attention.attention"
        three = [tensors[f"{block}.{part}.weight"] for part in ("query", "key", "value")]
        assert torch.equal(found["blocks.1.attn.qkv.weight"], torch.cat(three))
        assert torch.equal(found["blocks.0.ls2.gamma"], tensors["encoder.layer.0.layer_scale2.lambda1"])

    for change, said in [
        ({"pooler.dense.weight": torch.zeros(2)}, "1 tensors without a place in it, first pooler.dense.weight"),
        ({"layernorm.weight" if recipe.names else "norm.weight": None}, "1 tensors missing, first norm.weight"),
    ]:
        wrong = {part: tensor for part, tensor in {**tensors, **change}.items() if tensor is not None}
        save_file(wrong, tmp_path / "wrong.safetensors")
        with pytest.raises(
            ConfigError, match=f"not the weights that its recipe is for: .* of {recipe.source} .*{said}"
        ):
            load_by_recipe(build(recipe)[0], recipe, str(tmp_path / "wrong.safetensors"), "weights", classifier)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_at_full_size_all_names_of_the_published_listing_have_a_place(name):
    recipe = RECIPES[name]
    listed = {part: torch.empty(shape, device="meta") for part, shape in published(name, SHAPES[name][1]).items()}
    with torch.device("meta"):
        encoder, _ = make_encoder(EncoderSettings(name))
    listed = {part: tensor for part, tensor in listed.items() if part not in recipe.left_out}
    found = names_of_timm(listed) if recipe.names else listed
    wanted = {part: tensor.shape for part, tensor in bare(encoder).state_dict().items()}
    assert {part: tensor.shape for part, tensor in found.items()} == wanted


def test_a_file_with_a_part_of_a_block_s_attention_keeps_its_names():
    alone = {"encoder.layer.3.attention.attention.key.bias": torch.ones(2), "encoder.layer.3.other": torch.ones(1)}
    assert names_of_timm(alone).keys() == alone.keys()


def test_a_released_recipe_is_never_changed():
    """Bundles name recipes: a hash of what decides on the features; a new recipe adds a line, none is edited."""
    deciding = ("architecture", "options", "tokens", "d", "mean", "std", "names", "left_out")
    found = {
        name: sha256_value({key: asdict(recipe)[key] for key in deciding})[:12] for name, recipe in RECIPES.items()
    }
    assert found == {
        "uni": "3cf55e8baec6",
        "uni2-h": "16b1b76c4503",
        "virchow2": "1ff2ba703cb4",
        "h-optimus-0": "2e96a2b511c3",
        "h-optimus-1": "2e96a2b511c3",
        "h0-mini": "43c1898afee3",
        "gigapath": "f3ef1e50ad89",
        "phikon-v2": "bf95568a5e38",
        "resnet50": "b6f58655e030",
    }


def test_what_is_left_open_is_filled_in_and_what_is_given_stays():
    own = as_shown(FeatureEncoderSettings("h-optimus-0"))
    assert own.input_px == 224 and own.mean == [0.707223, 0.578729, 0.703617] and own.std[2] == 0.177517
    given = as_shown(FeatureEncoderSettings("h-optimus-0", input_px=256, mean=[0.5] * 3, std=[0.2] * 3))
    assert (given.input_px, given.mean, given.std) == (256, [0.5] * 3, [0.2] * 3)
    other = as_shown(FeatureEncoderSettings("resnet18"))
    assert other.input_px == 0 and other.mean == [0.485, 0.456, 0.406]
    assert as_shown(own) == own and as_shown(FeatureEncoderSettings("resnet50")).input_px == 0


@pytest.mark.parametrize(
    ("name", "size_px", "mpp", "said"),
    [
        ("uni", 224, 0.5, None),
        ("uni", 448, 0.25, None),  # scaled to 224 px it is what the model knows
        (
            "uni",
            448,
            1.0,
            "448 px at 1 um/px, scaled to 224 px, are 2 um/px to it; it was trained at 0.5 um/px: data.t",
        ),
        ("uni", 224, 0.25, "are 0.25 um/px to it"),
        ("virchow2", 224, 0.25, None),
        ("virchow2", 224, 0.35, "trained at 0.25 or 0.5 or 1 or 2 um/px"),
        ("resnet50", 448, 1.0, None),
        ("timm/resnet18", 448, 1.0, None),
    ],
)
def test_tiles_unlike_those_of_the_training_are_a_warning(name, size_px, mpp, said):
    found = unlike_training(as_shown(FeatureEncoderSettings(name)), size_px, mpp, "data.tiles_40x")
    assert (said in found[0]) if said else found == []


def test_another_size_or_normalisation_than_the_recipe_s_is_a_warning():
    settings = as_shown(FeatureEncoderSettings("uni", input_px=256, mean=[0.5] * 3))
    found = unlike_training(settings, 256, 0.5, "data.tiles_40x")
    assert [line[:40] for line in found] == [
        "uni: shown tiles of 256 px; it was train",
        "uni: mean and std are not those that it ",
    ]


def test_what_a_recipe_fixes_is_refused_in_words():
    with pytest.raises(ConfigError, match="encoder_options: the recipe of uni fixes them; timm/NAME takes others"):
        make_encoder(EncoderSettings("uni", encoder_options="{depth: 2}"))
    with pytest.raises(ConfigError, match="encoder=virchow2: takes no tiles of 448 px, only 224 px"):
        try_encoder(EncoderSettings("virchow2"), 448, training=False)
    try_encoder(EncoderSettings("virchow2"), 224, training=False)
    with pytest.raises(ConfigError, match=r"network\.encoder=h0-mini: has a normalisation of its own"):
        MilNetwork(NetworkSettings(encoder="h0-mini"))


def test_each_recipe_says_where_its_weights_are_and_under_which_licence():
    for recipe in RECIPES.values():
        assert recipe.source and recipe.licence and recipe.file.endswith((".safetensors", ".bin"))
    assert encoder_recipes.__doc__ and "None of these\nfiles has been tried" in encoder_recipes.__doc__
