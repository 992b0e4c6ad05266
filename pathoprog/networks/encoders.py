"""Tile encoders by name: recipes, torchvision's and timm's code; weights from a safetensors file, nothing downloaded.

Shapes: n tiles, s tile size in pixels, d encoder features.
"""

import importlib
import inspect
import re
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pathoprog.errors import ConfigError
from pathoprog.networks.config import NO_ENCODER, EncoderSettings
from pathoprog.networks.published.encoder_names import DINOV2, names_of_timm
from pathoprog.networks.published.encoder_recipes import CLASS_AND_PATCHES, OWN, RECIPES, EncoderRecipe

TIMM = "timm/"
CLASSIFIERS = ("classifier", "fc", "heads", "head", "_fc", "last_linear", "linear")
"""What libraries call the last part of a classification model, where an encoder does not say it itself."""
LAYER_OPTIONS = {"mlp_layer": ("Mlp", "GluMlp", "SwiGLU", "SwiGLUPacked")}
"""Options of timm whose value is a class of `timm.layers`: the names that may stand in a setting."""


def make_encoder(settings: EncoderSettings, key: str = "network.") -> tuple[nn.Module, int]:
    """Build a tile encoder without its classifier, and load its weights if a file is named.

    Args:
        settings: name, options, weights. Names without a prefix are recipes (`encoder_recipes`), or torchvision's
            classification models.
        key: prefix of the settings' keys in messages.

    Returns:
        The module, tiles [n, 3, s, s] to features [n, d], and d.

    Raises:
        ConfigError: no such encoder, options it does not take, or weights that do not fit it.
    """
    if settings.width != 1.0 and settings.encoder != "mobilenet_v2":
        raise ConfigError(f"{key}width={settings.width:g}: only mobilenet_v2 has a width, not {settings.encoder}")
    if settings.encoder in RECIPES:
        return _by_recipe(settings, key)
    if settings.encoder.startswith(TIMM):
        encoder, d, classifier = _timm_encoder(settings, key)
    elif settings.encoder_options:
        raise ConfigError(f"{key}encoder_options: only for timm's encoders, and {settings.encoder} is torchvision's")
    else:
        encoder, d, classifier = _torchvision_encoder(settings, key)
    if settings.weights:
        load_encoder_weights(encoder, settings.weights, f"{key}weights", classifier)
    return encoder, d


def _by_recipe(settings: EncoderSettings, key: str) -> tuple[nn.Module, int]:
    """See `make_encoder`."""
    if settings.encoder_options:
        raise ConfigError(f"{key}encoder_options: the recipe of {settings.encoder} fixes them; {TIMM}NAME takes others")
    encoder, d, classifier = build(RECIPES[settings.encoder], key)
    if settings.weights:
        load_by_recipe(encoder, RECIPES[settings.encoder], settings.weights, f"{key}weights", classifier)
    return encoder, d


def build(recipe: EncoderRecipe, key: str = "network.") -> tuple[nn.Module, int, tuple[str, ...]]:
    """A recipe's encoder with random weights, its d, and the names of the classifier that it was made without."""
    plain = EncoderSettings(recipe.architecture, encoder_options=recipe.options)
    make = _timm_encoder if recipe.architecture.startswith(TIMM) else _torchvision_encoder
    encoder, d, classifier = make(plain, key)
    if recipe.tokens == OWN:
        return encoder, d, classifier
    both = recipe.tokens == CLASS_AND_PATCHES
    return TokenFeatures(encoder, both), 2 * d if both else d, classifier


def load_by_recipe(
    encoder: nn.Module, recipe: EncoderRecipe, path: str, key: str, classifier: Sequence[str] = CLASSIFIERS
) -> None:
    """Load a publisher's tensors into an encoder of `build`; see `load_encoder_weights`."""
    bare = encoder.vit if isinstance(encoder, TokenFeatures) else encoder
    load_encoder_weights(bare, path, key, classifier, recipe)


class TokenFeatures(nn.Module):
    """A vision transformer whose tokens, after its last normalisation, become one vector a tile.

    Args:
        vit: timm's.
        both: False: the class token [n, w]; True: it, and the mean of the patches' tokens, [n, 2 w]. Register tokens,
            which stand between the two, count in neither.
    """

    def __init__(self, vit: nn.Module, both: bool):
        super().__init__()
        self.vit, self.both = vit, both

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        """Features of prepared tiles [n, 3, s, s]."""
        vit: Any = self.vit
        tokens: torch.Tensor = vit.forward_features(tiles)  # [n, 1 + registers + patches, w]
        if not self.both:
            return tokens[:, 0]
        return torch.cat([tokens[:, 0], tokens[:, vit.num_prefix_tokens :].mean(1)], 1)


def _torchvision_encoder(settings: EncoderSettings, key: str) -> tuple[nn.Module, int, tuple[str, ...]]:
    models = _torchvision_models()
    # others, such as segmentation models, would fetch weights for their backbone unasked
    if settings.encoder not in models.list_models(module=models):
        raise ConfigError(
            f"{key}encoder={settings.encoder!r}: not a classification model of torchvision; timm's are written"
            f" {TIMM}NAME, and published ones are {', '.join(RECIPES)}"
        )
    options = {"width_mult": settings.width} if settings.encoder == "mobilenet_v2" else {}
    encoder = models.get_model(settings.encoder, weights=None, **options)
    for name in CLASSIFIERS:
        last = getattr(encoder, name, None)
        if last is not None:
            linears = [module for module in last.modules() if isinstance(module, nn.Linear)]
            if linears:
                setattr(encoder, name, nn.Identity())
                return encoder, linears[0].in_features, (name,)
    raise ConfigError(f"{key}encoder={settings.encoder!r}: has no classifier to remove, so it is no encoder here")


class _Postponed(types.ModuleType):
    """Stands for a module that is imported only when something else than its `is_compile_supported` is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def _torchvision_models() -> Any:
    """Torchvision's `models`, imported without torch's compiler.

    torchvision (0.29, `ops/roi_align.py`) imports the compiler for one function, which it calls only where it aligns
    boxes; that takes each worker some six seconds. The function given here asks the compiler's when it is called.
    """
    name = "torch._dynamo.utils"
    postponed: Any = None
    if name not in sys.modules and "torchvision" not in sys.modules:
        postponed = sys.modules[name] = _Postponed(name)
        postponed.is_compile_supported = lambda device: postponed.__getattr__("is_compile_supported")(device)
    try:
        from torchvision import models
    finally:
        if postponed is not None and sys.modules.get(name) is postponed:
            del sys.modules[name]
    return models


def _timm_encoder(settings: EncoderSettings, key: str) -> tuple[nn.Module, int, tuple[str, ...]]:
    import timm

    name = settings.encoder.removeprefix(TIMM)
    # timm takes names such as hf-hub:… too, and would fetch what they stand for
    if not re.fullmatch(r"[A-Za-z0-9_.]+", name) or not timm.is_model(name):
        raise ConfigError(f"{key}encoder={settings.encoder!r}: timm {timm.__version__} has no model of that name")
    options = timm_options(settings.encoder_options, f"{key}encoder_options")
    try:
        encoder = timm.create_model(name, pretrained=False, num_classes=0, **options)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise ConfigError(f"{key}encoder={settings.encoder!r} with {key}encoder_options={options}: {error}") from error
    width: Any = getattr(encoder, "head_hidden_size", None) or encoder.num_features
    named = (getattr(encoder, "pretrained_cfg", None) or {}).get("classifier") or CLASSIFIERS
    return encoder, int(width), (named,) if isinstance(named, str) else tuple(named)


def timm_options(text: str, key: str = "encoder_options") -> dict[str, Any]:
    """Arguments for timm's model from a setting's YAML; none that would load or fetch anything.

    Raises:
        ConfigError: not a mapping, or an argument that is not the model's own.
    """
    import timm
    import yaml

    try:
        options = yaml.safe_load(text) if text else {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{key}={text!r}: not YAML ({error})") from error
    if not isinstance(options, dict) or not all(isinstance(name, str) for name in options):
        raise ConfigError(f"{key}={text!r}: must be a mapping, such as {{init_values: 1.0e-5}}")
    reserved = {*inspect.signature(timm.create_model).parameters, "num_classes", "features_only"}
    if wrong := sorted(reserved & options.keys()):
        raise ConfigError(f"{key}: {', '.join(wrong)} cannot be set; weights come from a safetensors file alone")
    for name, allowed in LAYER_OPTIONS.items():
        if name in options:
            if options[name] not in allowed:
                raise ConfigError(f"{key}: {name}={options[name]!r}: must be one of {', '.join(allowed)}")
            options[name] = getattr(timm.layers, options[name])
    return options


def load_encoder_weights(
    encoder: nn.Module,
    path: str,
    key: str = "network.weights",
    classifier: Sequence[str] = CLASSIFIERS,
    recipe: EncoderRecipe | None = None,
) -> None:
    """Load encoder weights from a safetensors file: each tensor has its place in the encoder, or is the classifier's.

    Args:
        encoder: takes them.
        path: of the file; its names are those of the code's own tensors.
        key: of the setting, for messages.
        classifier: names of the modules that the encoder was made without; their tensors are left out.
        recipe: whose file it is: how its tensors are called, and which of them are left out.

    Raises:
        ConfigError: absent, not safetensors, NaN or infinity in it, or made for another encoder: tensors that are
            missing, of another shape, or without a place in this one.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not Path(path).is_file():
        raise ConfigError(f"{key}={path}: no such file")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ConfigError(
            f"{key}={path}: not a safetensors file ({error}); a publisher's .bin, .pt or .pth goes through `pathoprog"
            " convert` first"
        ) from error
    if recipe is not None:
        tensors = {name: tensor for name, tensor in tensors.items() if name not in recipe.left_out}
        tensors = names_of_timm(tensors) if recipe.names == DINOV2 else tensors
    wanted = encoder.state_dict()
    kept = {name: tensor for name, tensor in tensors.items() if name in wanted}
    left_out = tuple(f"{name}." for name in classifier)
    missing = [name for name in wanted if name not in kept and not name.endswith("num_batches_tracked")]
    wrong = [
        name
        for name, tensor in kept.items()
        if tensor.shape != wanted[name].shape or tensor.is_floating_point() != wanted[name].is_floating_point()
    ]
    unused = [name for name in tensors if name not in wanted and not name.startswith(left_out)]
    if missing or wrong or unused:
        said = {"missing": missing, "of another shape or type": wrong, "without a place in it": unused}
        found = "; ".join(f"{len(names)} tensors {what}, first {names[0]}" for what, names in said.items() if names)
        if prefix := _prefix(tensors, missing):
            raise ConfigError(
                f"{key}={path}: the encoder's tensors are called {prefix}… there: take them out with `pathoprog convert"
                f" … prefix={prefix}` ({found})"
            )
        if recipe is not None:
            raise ConfigError(
                f"{key}={path}: not the weights that its recipe is for: {recipe.file} of {recipe.source} ({found})"
            )
        raise ConfigError(
            f"{key}={path}: made for another encoder, width or options ({found}); a tensor that the code does not use"
            " would change the features silently: give the options that it was trained with, or a file without it"
        )
    if broken := [name for name, tensor in kept.items() if not torch.isfinite(tensor).all()]:
        raise ConfigError(f"{key}={path}: weights hold NaN or infinity, first in {broken[0]}")
    nn.Module.load_state_dict(encoder, kept, strict=False)  # some encoders' own takes no `strict`, or renames


def _prefix(tensors: Mapping[str, torch.Tensor], missing: list[str]) -> str:
    """What stands before the names of all missing tensors in a file that a wrapper wrote; empty where nothing does."""
    candidates = [name.removesuffix(missing[0]) for name in tensors if missing and name.endswith(f".{missing[0]}")]
    return next((prefix for prefix in candidates if all(prefix + name in tensors for name in missing)), "")


@torch.no_grad()
def try_encoder(settings: EncoderSettings, size_px: int, training: bool, key: str = "network.") -> None:
    """Show an encoder two empty tiles, so that one that does not take their size is found before any work.

    Args:
        settings: of the encoder; its weights are not read.
        size_px: s.
        training: also as in training, where some encoders answer differently.
        key: prefix of the settings' keys in messages.

    Raises:
        ConfigError: it refuses tiles of this size, or answers with something else than one vector a tile.
    """
    if settings.encoder == NO_ENCODER:
        return
    recipe = RECIPES.get(settings.encoder)
    if recipe is not None and recipe.fixed:  # known without building it, which takes long
        if size_px != recipe.size_px:
            raise ConfigError(
                f"{key}encoder={settings.encoder}: takes no tiles of {size_px} px, only {recipe.size_px} px"
            )
        return
    shown = EncoderSettings(settings.encoder, settings.width, settings.encoder_options)
    encoder, d = make_encoder(shown, key)
    try:
        answer = encoder.train(training)(torch.zeros(2, 3, size_px, size_px))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise ConfigError(f"{key}encoder={settings.encoder}: takes no tiles of {size_px} px ({error})") from error
    if not isinstance(answer, torch.Tensor) or answer.shape != (2, d):
        found = tuple(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
        raise ConfigError(f"{key}encoder={settings.encoder}: gives {found} for two tiles, not {(2, d)}")
