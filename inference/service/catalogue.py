"""The slides of the allowed roots, each under an opaque id: a client chooses by it, and never names a path."""

import hmac
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from pathoprog.inference.service.config import RootSettings
from pathoprog.inference.slides.looks import Looker
from pathoprog.slides.config import SlideSettings

ID_DIGITS = 24
"""Hexadecimal digits of an opaque id: 96 bits."""
FRESH_S = 15.0
"""A list that is no older is shown again; a folder is not searched at every question."""


@dataclass(frozen=True, slots=True)
class ListedSlide:
    """A slide of a root; `path` stays inside the service."""

    id: str
    root: str
    path: str

    @property
    def file_name(self) -> str:
        """Without its folders."""
        return Path(self.path).name


class Catalogue:
    """Searches roots in a child process, each when somebody asks for it and its last list is old.

    Args:
        roots: of the settings.
        key: secret of the ids; with the same key a file keeps its id over restarts.
        timeout_s: how long a root may be silent.
    """

    def __init__(self, roots: list[RootSettings], key: bytes, timeout_s: float):
        self._roots = {root.name: root.folder for root in roots}
        self._key, self._timeout_s = key, timeout_s
        self._lists: dict[str, tuple[float, dict[str, ListedSlide]]] = {}
        self._locks = {name: threading.Lock() for name in self._roots}

    def names(self) -> list[str]:
        """Of the roots."""
        return list(self._roots)

    def listed(self, root: str, fresh: bool = False) -> list[ListedSlide]:
        """The slides of a root, by their ids' order, which tells nothing of names or times.

        Args:
            root: its name.
            fresh: search now, whatever is known.

        Raises:
            InputError: the root does not answer.
        """
        with self._locks[root]:
            at, found = self._lists.get(root, (0.0, {}))
            if not at or fresh or time.monotonic() - at > FRESH_S:
                found = self._search(root)
                self._lists[root] = (time.monotonic(), found)
        return list(found.values())

    def slide(self, slide: str) -> ListedSlide | None:
        """A slide by its opaque id; roots are searched anew if it is not known yet."""
        for _, found in list(self._lists.values()):
            if slide in found:
                return found[slide]
        for root in self._roots:
            at, _ = self._lists.get(root, (0.0, {}))
            if not at or time.monotonic() - at > FRESH_S:
                self.listed(root, fresh=True)
                if slide in self._lists[root][1]:
                    return self._lists[root][1][slide]
        return None

    def _search(self, root: str) -> dict[str, ListedSlide]:
        folder = self._roots[root]
        with Looker(self._timeout_s) as looker:
            paths = [slide.path for slide in looker.find([folder], "", "", SlideSettings(roots=[folder])).slides]
        listed = (ListedSlide(self._id(root, path), root, path) for path in paths)
        return {one.id: one for one in sorted(listed, key=lambda one: one.id)}

    def _id(self, root: str, path: str) -> str:
        data = f"{root}\0{path}".encode(errors="surrogateescape")
        return hmac.digest(self._key, data, "sha256").hex()[:ID_DIGITS]
