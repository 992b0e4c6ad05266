"""The processes that train one candidate together, each on a device of its own: how they meet, and what they add up.

Each takes a share of every step's bags (`bags.Share`), and adds up its gradients with the others'. All then take the
same optimiser step, so that their copies of the network stay equal to the last bit, which is checked with each
checkpoint.

Gradients are added up here, in one sum over one row of numbers, and not by `DistributedDataParallel`. That one groups
gradients anew after the first step of a process, so that more than two devices would add up in another order after a
run was resumed than before: a resumed run would not have the bits of one that was not stopped. It takes the mean over
the devices, while a step's loss is that of all its bags, weighted or compared with one another
(`gradients.backward`), and it must be told of every pass that a step makes beside the first: Cox in parts makes two,
and recomputed activations a hidden one. What it is good for, sending gradients while others are still computed, saves
little here: MobileNetV2 has 9 MB of them.

Normalisation layers see the tiles of a part, as in `fit.accumulate`, and each device has `fit.accumulate` parts: a step
on two devices is a step in two parts on one, which can be tested on any machine. (`SyncBatchNorm` would let them see
the whole step. It works on GPUs alone, does not know timm's layers, and every layer of every pass would wait for the
other devices.) Running statistics become the mean over the devices; what is kept of a candidate has its own, estimated
anew (`fit.averaged_network`).
"""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pathoprog.errors import PathoprogError
from pathoprog.training.data.bags import WHOLE_STEP, Share

PATIENCE = timedelta(days=7)
"""For a process that is late, since whoever starts the processes watches them, and ends all where one of them ends."""
PLACE = "met"


class DeviceGroup:
    """See the module. A context manager: what it offers is there between entering and leaving.

    Args:
        share: what this process takes of a step; all of it by default, and then there is nobody to meet.
        device: of this process, ``cpu`` or ``cuda:N``; empty: the one that the settings name.
        meeting: folder on this machine where the processes find one another.
    """

    def __init__(self, share: Share = WHOLE_STEP, device: str = "", meeting: Path | None = None):
        self.share, self.device, self._meeting = share, device, meeting

    def __enter__(self) -> "DeviceGroup":
        if self._meeting is not None:
            on_cuda = self.device != "cpu"
            if on_cuda:
                torch.cuda.set_device(self.device)
            store = dist.FileStore(str(self._meeting / PLACE), self.share.of)  # type: ignore[attr-defined]  # a public name
            dist.init_process_group(
                "nccl" if on_cuda else "gloo",
                store=store,
                rank=self.share.number,
                world_size=self.share.of,
                timeout=PATIENCE,
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._meeting is not None and kind is None:  # after an error the others may never come to the end
            dist.destroy_process_group()

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.share.number == 0

    def summed(self, values: Tensor) -> Tensor:
        """The sum over all processes, in place; equal to the last bit on all of them."""
        if self.share.of > 1:
            dist.all_reduce(values)
        return values

    def gathered(self, values: Tensor, n: int, mine: slice) -> Tensor:
        """Values [n, …] of all processes, of which this one has those at `mine`."""
        if self.share.of == 1:
            return values
        whole = values.new_zeros((n, *values.shape[1:]))
        whole[mine] = values
        return self.summed(whole)

    def add_gradients(self, network: nn.Module) -> None:
        """Put the sum of all processes' gradients in the place of this one's."""
        if self.share.of > 1:
            _replace([one.grad for one in network.parameters() if one.grad is not None], self.summed)

    @torch.no_grad()
    def average_statistics(self, network: nn.Module) -> None:
        """Put the mean over all processes in the place of this one's running statistics."""
        found = [one for one in network.buffers() if one.is_floating_point()]
        if self.share.of > 1 and found:
            _replace(found, lambda values: self.summed(values) / self.share.of)

    @torch.no_grad()
    def check_alike(self, network: nn.Module, step: int) -> None:
        """Refuse to go on where the processes' networks differ.

        Raises:
            PathoprogError: on all of them.
        """
        if self.share.of == 1:
            return
        least = torch.cat([one.flatten() for one in network.parameters()])
        most = least.clone()
        dist.all_reduce(least, dist.ReduceOp.MIN)
        dist.all_reduce(most, dist.ReduceOp.MAX)
        if not torch.equal(least, most):
            raise PathoprogError(
                f"the devices' copies of the network differ by {float((most - least).abs().max()):.2g} after step"
                f" {step}: devices of one model compute alike; give fit.gpus=1, or devices of one model"
            )


ALONE = DeviceGroup()
"""One process that has the whole step to itself."""


def _replace(tensors: list[Tensor], change: Callable[[Tensor], Tensor]) -> None:
    """Change tensors in place, all of them as one row of numbers."""
    row = change(torch.cat([one.flatten() for one in tensors]))
    for one, values in zip(tensors, torch.split(row, [one.numel() for one in tensors]), strict=True):
        one.copy_(values.view(one.shape))
