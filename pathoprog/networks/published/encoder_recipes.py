"""Published tile encoders by name: what each is made of, how it is shown tiles, and where its weights are to be had.

Their publishers' files are not loaded by this program from anywhere but the disk: whoever uses one reads its licence,
downloads the file, converts a pickle (`pathoprog convert`) and gives ``encoder=NAME weights=FILE``. **None of these
files has been tried here**: names, shapes and number of values follow the sources below, and a file that differs in one
tensor is refused. A recipe is never changed once it is released, since bundles name it; a better one has another name.

Sources: the model cards (huggingface.co/`source`), their loading code as TRIDENT and LazySlide repeat it, the papers,
and timm's own models. What a source does not say is marked so. No torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from pathoprog.networks.config import NORMALISATION_MEAN, NORMALISATION_STD, FeatureEncoderSettings

CLASS, CLASS_AND_PATCHES, OWN = "class token", "class token and mean of patches", "its own"
"""How an encoder's tokens become one vector: the class token; it and the mean of the patch tokens, one behind the
other, register tokens left out; or the encoder does it itself."""
NEAR = 0.05
"""How far um/px may lie from those of a model's training before it is a warning, as a share."""
BIOPTIMUS_MEAN, BIOPTIMUS_STD = (0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517)
NON_COMMERCIAL = "CC-BY-NC-ND-4.0"
S = TypeVar("S", bound=FeatureEncoderSettings)


@dataclass(frozen=True)
class EncoderRecipe:
    """One published encoder.

    Attributes:
        source: its page at huggingface.co, or where else it is published.
        file: the file to download there; a ``.bin`` or ``.pth`` goes through `pathoprog convert`.
        licence: of the weights, as the source states it.
        gated: True: the publisher asks for an account and consent first.
        architecture: ``timm/NAME`` or a name of torchvision.
        options: arguments of timm's class, as YAML (`encoders.timm_options`).
        tokens: CLASS, CLASS_AND_PATCHES or OWN.
        d: number of features.
        parameters_m: million parameters of the encoder.
        size_px: side of the tiles that it was trained with, px; the only one that it takes, if `fixed`.
        mpp: um/px that it was trained at; none for photographs.
        mean: of its normalisation, R, G, B in [0, 1].
        std: the same.
        fixed: tiles of another side are scaled to `size_px`.
        names: of the tensors in the file: ``""`` those of the code, ``dinov2`` those of transformers' Dinov2Model.
        left_out: tensors of the file that are known to be no part of the encoder.
    """

    source: str
    file: str
    licence: str
    gated: bool
    architecture: str
    options: str
    tokens: str
    d: int
    parameters_m: float
    size_px: int = 224
    mpp: tuple[float, ...] = (0.5,)
    mean: tuple[float, ...] = NORMALISATION_MEAN
    std: tuple[float, ...] = NORMALISATION_STD
    fixed: bool = True
    names: str = ""
    left_out: tuple[str, ...] = ()


RECIPES: Mapping[str, EncoderRecipe] = {
    # Chen et al. 2024, Nat Med 30:850; trained on crops of tiles at 20x
    "uni": EncoderRecipe(
        source="MahmoodLab/UNI",
        file="pytorch_model.bin",
        licence=NON_COMMERCIAL,
        gated=True,
        architecture="timm/vit_large_patch16_224",
        options="{img_size: 224, init_values: 1.0e-5}",
        tokens=CLASS,
        d=1024,
        parameters_m=303.4,
    ),
    "uni2-h": EncoderRecipe(
        source="MahmoodLab/UNI2-h",
        file="pytorch_model.bin",
        licence=NON_COMMERCIAL,
        gated=True,
        architecture="timm/vit_giant_patch14_224",
        options="{img_size: 224, depth: 24, num_heads: 24, embed_dim: 1536, mlp_ratio: 5.33334, init_values: 1.0e-5,"
        " no_embed_class: true, reg_tokens: 8, mlp_layer: SwiGLUPacked, act_layer: silu}",
        tokens=CLASS,
        d=1536,
        parameters_m=681.4,
    ),
    # Zimmermann et al. 2024, arXiv:2408.00738: tiles at 5x, 10x, 20x and 40x
    "virchow2": EncoderRecipe(
        source="paige-ai/Virchow2",
        file="model.safetensors or pytorch_model.bin",
        licence=NON_COMMERCIAL,
        gated=True,
        architecture="timm/vit_huge_patch14_224",
        options="{img_size: 224, mlp_ratio: 5.3375, init_values: 1.0e-5, reg_tokens: 4, mlp_layer: SwiGLUPacked,"
        " act_layer: silu}",
        tokens=CLASS_AND_PATCHES,
        d=2560,
        parameters_m=631.2,
        mpp=(0.25, 0.5, 1.0, 2.0),
    ),
    "h-optimus-0": EncoderRecipe(
        source="bioptimus/H-optimus-0",
        file="pytorch_model.bin",
        licence="Apache-2.0",
        gated=True,
        architecture="timm/vit_giant_patch14_reg4_dinov2",
        options="{img_size: 224, init_values: 1.0e-5}",
        tokens=CLASS,
        d=1536,
        parameters_m=1134.8,
        mean=BIOPTIMUS_MEAN,
        std=BIOPTIMUS_STD,
    ),
    "h-optimus-1": EncoderRecipe(
        source="bioptimus/H-optimus-1",
        file="model.safetensors or pytorch_model.bin",
        licence=f"{NON_COMMERCIAL}, for academic research",
        gated=True,
        architecture="timm/vit_giant_patch14_reg4_dinov2",
        options="{img_size: 224, init_values: 1.0e-5}",
        tokens=CLASS,
        d=1536,
        parameters_m=1134.8,
        mean=BIOPTIMUS_MEAN,
        std=BIOPTIMUS_STD,
    ),
    # Filiot et al. 2025, arXiv:2501.16239. The width of its layers follows from the 86 million parameters of the card;
    # class token and mean of patches as Bioptimus' own model specification has it
    "h0-mini": EncoderRecipe(
        source="bioptimus/H0-mini",
        file="model.safetensors or pytorch_model.bin",
        licence=NON_COMMERCIAL,
        gated=True,
        architecture="timm/vit_base_patch14_reg4_dinov2",
        options="{img_size: 224, mlp_ratio: 5.33334, init_values: 1.0e-5, mlp_layer: SwiGLUPacked, act_layer: silu}",
        tokens=CLASS_AND_PATCHES,
        d=1536,
        parameters_m=85.7,
        mean=BIOPTIMUS_MEAN,
        std=BIOPTIMUS_STD,
    ),
    # Xu et al. 2024, Nature 630:181; its own code shows the middle 224 px of tiles of 256 px, at the same um/px
    "gigapath": EncoderRecipe(
        source="prov-gigapath/prov-gigapath",
        file="pytorch_model.bin",
        licence="Apache-2.0 with conditions: for research",
        gated=True,
        architecture="timm/vit_giant_patch14_dinov2",
        options="{img_size: 224, patch_size: 16, embed_dim: 1536, depth: 40, num_heads: 24, mlp_ratio: 5.33334,"
        " init_values: 1.0e-5}",
        tokens=CLASS,
        d=1536,
        parameters_m=1135.0,
    ),
    # Filiot et al. 2024, arXiv:2409.09173; published for transformers' Dinov2Model
    "phikon-v2": EncoderRecipe(
        source="owkin/phikon-v2",
        file="model.safetensors",
        licence="Owkin's non-commercial licence",
        gated=False,
        architecture="timm/vit_large_patch16_224",
        options="{img_size: 224, init_values: 1.0}",
        tokens=CLASS,
        d=1024,
        parameters_m=303.4,
        names="dinov2",
        left_out=("embeddings.mask_token",),  # of the training alone
    ),
    # He et al. 2016, CVPR; of photographs, not of tissue
    "resnet50": EncoderRecipe(
        source="timm/resnet50.tv_in1k",
        file="model.safetensors",
        licence="BSD-3-Clause (torchvision); ImageNet's own terms",
        gated=False,
        architecture="resnet50",
        options="",
        tokens=OWN,
        d=2048,
        parameters_m=23.5,
        mpp=(),
        fixed=False,
    ),
}
"""Every recipe by the name that `encoder` takes: a new one is an entry here (CONTRIBUTING.md)."""


def as_shown(settings: S) -> S:
    """The settings with what is left open filled in: by the recipe, else with torchvision's normalisation."""
    recipe = RECIPES.get(settings.encoder)
    size = recipe.size_px if recipe is not None and recipe.fixed else 0
    return replace(
        settings,
        input_px=settings.input_px or size,
        mean=list(settings.mean or (recipe.mean if recipe else NORMALISATION_MEAN)),
        std=list(settings.std or (recipe.std if recipe else NORMALISATION_STD)),
    )


def unlike_training(settings: FeatureEncoderSettings, size_px: int, mpp: float, key: str) -> list[str]:
    """In what an encoder is shown other tiles than it was trained on, in words; nothing where no recipe says it.

    Args:
        settings: of `as_shown`.
        size_px: side of the tiles.
        mpp: their um/px.
        key: of the tiles' settings, for the message.
    """
    recipe = RECIPES.get(settings.encoder)
    if recipe is None:
        return []
    found = []
    name, shown = settings.encoder, settings.input_px or size_px
    seen = mpp * size_px / shown
    scaled = "" if shown == size_px else f", scaled to {shown} px,"
    if recipe.mpp and not any(abs(seen / trained - 1) <= NEAR for trained in recipe.mpp):
        trained = " or ".join(f"{one:g}" for one in recipe.mpp)
        found.append(
            f"{name}: tiles of {size_px} px at {mpp:g} um/px{scaled} are {seen:g} um/px to it; it was trained at"
            f" {trained} um/px: {key}.mpp={recipe.mpp[0]:g} {key}.size_px={recipe.size_px} gives such tiles"
        )
    elif recipe.fixed and shown != recipe.size_px:
        found.append(f"{name}: shown tiles of {shown} px; it was trained on {recipe.size_px} px")
    if (tuple(settings.mean), tuple(settings.std)) != (recipe.mean, recipe.std):
        found.append(f"{name}: mean and std are not those that it was trained with, {recipe.mean} and {recipe.std}")
    return found
