"""Activation checkpointing: what an encoder's blocks compute on the way is computed again on the way back, not kept.

Source: Chen, Xu, Zhang, Guestrin 2016, arXiv:1604.06174. Gradients are those of the plain pass. What a block's forward
pass writes into its buffers, such as BatchNorm's running statistics, is written once: the second pass writes into
copies that are thrown away.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pathoprog.errors import ConfigError
from pathoprog.networks.config import NO_ENCODER, EncoderSettings
from pathoprog.networks.encoders import make_encoder

CONTAINERS = (nn.Sequential, nn.ModuleList)


def recompute_blocks(encoder: nn.Module) -> None:
    """Have an encoder's blocks computed again in the backward pass, in place of keeping what they hold.

    Args:
        encoder: its blocks' `forward` is replaced; parameters, buffers and their names stay as they are.
    """
    for block in blocks_of(encoder):
        _recompute(block)


def check_blocks(settings: EncoderSettings, key: str) -> None:
    """Refuse an encoder that is not made of blocks, before any work.

    Args:
        settings: of the encoder; its weights are not read.
        key: of the setting that asks for it, for the message.

    Raises:
        ConfigError: there is no encoder, or nothing would be saved.
    """
    found = 0
    if settings.encoder != NO_ENCODER:
        encoder, _ = make_encoder(EncoderSettings(settings.encoder, settings.width, settings.encoder_options))
        found = len(blocks_of(encoder))
    if found < 2:
        raise ConfigError(
            f"{key}: network.encoder={settings.encoder} is not made of blocks that could be computed again one by one;"
            " leave it at false; fit.accumulate saves memory too"
        )


def blocks_of(encoder: nn.Module) -> list[nn.Module]:
    """The parts that an encoder is a chain of: members of its sequences and lists, each made of modules itself.

    A sequence of such parts is no part; one whose members are single layers is. Layers that stand alone, such as the
    first convolution of a ResNet, belong to none.
    """
    found: list[nn.Module] = []
    for module in encoder.children():
        listed = isinstance(encoder, CONTAINERS)
        composed = any(True for _ in module.children())
        is_chain = isinstance(module, CONTAINERS) and any(any(True for _ in part.children()) for part in module)
        if composed and not is_chain and (listed or isinstance(module, nn.Sequential)):
            found.append(module)
        else:
            found += blocks_of(module)
    return found


def _recompute(block: nn.Module) -> None:
    forward = block.forward

    def recomputed(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        if torch.compiler.is_compiling():  # the compiler's own second pass writes nothing into buffers
            return checkpoint(forward, *args, use_reentrant=False, **kwargs)
        contexts = (contextlib.nullcontext(), stand_in_buffers(block))
        return checkpoint(forward, *args, use_reentrant=False, context_fn=lambda: contexts, **kwargs)

    block.forward = recomputed


@contextlib.contextmanager
def stand_in_buffers(module: nn.Module) -> Iterator[None]:
    """What a module's forward pass writes into its buffers meanwhile goes into copies, which are thrown away."""
    places = [(part, name, buffer) for part in module.modules() for name, buffer in part.named_buffers(recurse=False)]
    try:
        for part, name, buffer in places:
            setattr(part, name, buffer.clone())
        yield
    finally:
        for part, name, buffer in places:
            setattr(part, name, buffer)


@contextlib.contextmanager
def kept_buffers(module: nn.Module) -> Iterator[None]:
    """What a module's buffers held before is written back at the end; for modules that are compiled too."""
    before: list[tuple[Tensor, Tensor]] = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, values in before:
                buffer.copy_(values)
