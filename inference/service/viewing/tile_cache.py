"""Tiles that were shown lately, in bounded memory."""

import threading
from collections import OrderedDict
from collections.abc import Hashable

OVERHEAD = 200
"""Bytes that an entry takes beside its picture, about."""


class TileCache:
    """The pictures used last, up to so many bytes in all.

    Args:
        most_bytes: of the pictures and what keeping them takes.
    """

    def __init__(self, most_bytes: int):
        self._most = most_bytes
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._lock = threading.Lock()
        self.n_bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable) -> bytes | None:
        """A picture, if it is there."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def put(self, key: Hashable, picture: bytes) -> None:
        """Keep a picture; one larger than all the room is not."""
        size = len(picture) + OVERHEAD
        if size > self._most:
            return
        with self._lock:
            old = self._kept.pop(key, None)
            self.n_bytes += size - (len(old) + OVERHEAD if old is not None else 0)
            self._kept[key] = picture
            while self.n_bytes > self._most:
                self.n_bytes -= len(self._kept.popitem(last=False)[1]) + OVERHEAD

    def clear(self) -> None:
        """Keep nothing."""
        with self._lock:
            self._kept.clear()
            self.n_bytes = 0
