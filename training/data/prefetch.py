"""Reading ahead: what comes next is asked for, and fetched, while the device works."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import torch

from pathoprog.training.data.bags import BagBatch, Fetch, Sampler

T = TypeVar("T")


class Prefetch:
    """Reads the next steps' tiles while the device works: asked for and fetched step by step, by several threads.

    Args:
        sampler: draws and reads.
        start: the first step.
        stop: the step behind the last.
        depth: batches read ahead; 0 reads each when it is asked for.
        threads: that read a step's patients side by side; the batches are the same whatever their number.
        pin: into page-locked memory, from which the current GPU copies beside its work.
    """

    def __init__(self, sampler: Sampler, start: int, stop: int, depth: int, threads: int = 1, pin: bool = False):
        self.sampler, self.next, self.stop, self.depth, self.pin = sampler, start, stop, depth, pin
        # Two threads, so that slides' readers know of the steps ahead while a step is still being fetched.
        self.asking = ThreadPoolExecutor(max_workers=1) if depth else None
        # a thread that locks memory takes the first GPU, whose memory it then holds too, unless told of another
        there = partial(torch.cuda.set_device, torch.cuda.current_device()) if pin else None
        self.fetching = ThreadPoolExecutor(max_workers=1, initializer=there) if depth else None
        self.reading = ThreadPoolExecutor(max_workers=threads) if threads > 1 else None
        self.waiting: dict[int, Future[BagBatch]] = {}

    def __enter__(self) -> "Prefetch":
        return self

    def __exit__(self, *_: object) -> None:
        for pool in (self.asking, self.fetching, self.reading):
            if pool is not None:
                pool.shutdown(cancel_futures=True)

    def _fetch(self, asked: Callable[[], Fetch]) -> BagBatch:
        batch = asked()(self.reading.map if self.reading is not None else map)
        if not self.pin:
            return batch
        return BagBatch(batch.patients, torch.from_numpy(batch.tiles).pin_memory().numpy(), batch.sizes)

    def get(self, step: int) -> BagBatch:
        """The batch of `step`; steps are asked for in order."""
        if self.asking is None or self.fetching is None:
            return self._fetch(lambda: self.sampler.ask(step))
        while self.next < self.stop and self.next <= step + self.depth:
            asked = self.asking.submit(self.sampler.ask, self.next)
            self.waiting[self.next] = self.fetching.submit(self._fetch, asked.result)
            self.next += 1
        return self.waiting.pop(step).result()


def in_turn(asks: Iterable[Callable[[], Callable[[], T]]], depth: int) -> Iterator[T]:
    """What each ask gives, in order; up to `depth` more are asked before one is waited for."""
    waiting: deque[Callable[[], T]] = deque()
    for ask in asks:
        waiting.append(ask())
        if len(waiting) > depth:
            yield waiting.popleft()()
    while waiting:
        yield waiting.popleft()()
