"""Paths under names that say nothing: the service's files know a slide's file by a keyed hash, the map where it lies.

A path holds names of files and folders, and those are often case numbers. Routes whose ids are as given keep paths.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from pathoprog.inference.service.config import RouteSettings
from pathoprog.inference.service.intake.pseudonym_map import PseudonymMap, Row
from pathoprog.inference.slides.pseudonyms import pseudonym
from pathoprog.slides.identity import slide_id_of

FILE, SLIDE = "file", "slide"
"""Kinds of the map's rows."""


class PathNames:
    """Names files by their routes' rules, and finds them again.

    Args:
        routes: of the settings; a route that is not among them hides its paths.
        key: secret of the pseudonyms.
        pseudonyms: the map.
    """

    def __init__(self, routes: Iterable[RouteSettings], key: bytes, pseudonyms: PseudonymMap):
        self.open_routes = frozenset(route.name for route in routes if route.patients.ids == "given")
        self.pseudonyms, self._key = pseudonyms, key

    @property
    def key(self) -> bytes:
        """Secret of the pseudonyms, for a process that compares hashes."""
        return self._key

    def hides(self, route: str) -> bool:
        """Whether a route's paths stand in the map alone."""
        return route not in self.open_routes

    def name(self, route: str, path: str) -> str:
        """What a file of a route is called; the map stays as it is."""
        return pseudonym(self._key, FILE, path) if self.hides(route) else path

    def kept(self, route: str, paths: Sequence[str]) -> tuple[str, ...]:
        """What files of a route are called; when it returns, the map says on the disk where they lie.

        Raises:
            ConfigError: the map cannot be written.
        """
        if self.hides(route):
            self.pseudonyms.add([self.row(path) for path in paths])
        return tuple(self.name(route, path) for path in paths)

    def row(self, path: str) -> Row:
        """The map's row of a file."""
        return pseudonym(self._key, FILE, path), FILE, slide_id_of(Path(path).name), path

    def slide_row(self, path: str) -> Row:
        """The map's row of the slide that a file is by its name."""
        given = slide_id_of(Path(path).name)
        return pseudonym(self._key, SLIDE, given), SLIDE, given, path

    def path(self, name: str) -> str:
        """Where a file lies; "" where the map does not know it."""
        if "/" in name:
            return name
        row = self.pseudonyms.get(name)
        return row[3] if row is not None else ""

    def stands_for(self, name: str) -> str:
        """The id that a pseudonym of a slide or patient stands for; "" where the map does not know it."""
        row = self.pseudonyms.get(name)
        return row[2] if row is not None else ""

    def hashed(self, kind: str, text: str) -> str:
        """A keyed hash of something that could name a person, to be compared and never read back."""
        return pseudonym(self._key, kind, text)
