"""Looks at a folder in this process, with a clock that the test sets."""

from pathoprog.inference.service.intake.listing import list_tree
from pathoprog.inference.service.intake.settling import Settling, WatchMemory
from pathoprog.slides.config import SlideSettings

SETTLE_S = 10.0


def put(path, data=b"x"):
    """Write a file, and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


class Looks:
    """One folder's looks: `look` after some seconds; `ready` and `faults` name things by their paths in the folder."""

    def __init__(self, root, known=None, settle_s=SETTLE_S, slides=None):
        self.root, self.now, self.slides = root, 1000.0, slides or SlideSettings()
        self.settling = Settling(str(root), settle_s, WatchMemory(known or {}, {}))

    def look(self, after_s=0.0):
        self.now += after_s
        return self.settling.round(list_tree(str(self.root), self.slides, lambda: None), self.now)

    def still(self):
        """Two looks, far enough apart."""
        first = self.look()
        second = self.look(SETTLE_S + 1)
        return first, second

    def name(self, path):
        return str(path).removeprefix(f"{self.root}/")

    def ready(self, seen):
        return [self.name(slide.path) for slide in seen.ready]

    def faults(self, seen):
        return {self.name(fault.path): fault.reason for fault in seen.faults}
