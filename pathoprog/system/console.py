"""What the user sees while work goes on: a progress bar on a terminal, plain lines in a log.

Where the caller is a Python program, and not a command, nothing is printed: `logged` hands it to `logging`.
"""

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pathoprog.text.plain_text import printable

LOG_INTERVAL_S = 10.0
LOGGER = logging.getLogger("pathoprog")
LOGGER.addHandler(logging.NullHandler())  # whoever wants to read it says where

OnProgress = Callable[[str, int, int], None]
"""Told of a step's label, and how much of it is done, of how much in all."""


@dataclass(eq=False)  # two that have heard nothing are two
class _Logged:
    """Who is told in place of the terminal, and the warnings so far."""

    on_progress: OnProgress | None
    warnings: list[str] = field(default_factory=list)


_logged: list[_Logged] = []


@contextmanager
def logged(on_progress: OnProgress | None = None) -> Iterator[list[str]]:
    """Print nothing while it lasts: lines and warnings go to the logger ``pathoprog``, progress to the caller.

    Args:
        on_progress: told of each step's progress, in the thread that does the work.

    Yields:
        The warnings, as they come.
    """
    one = _Logged(on_progress)
    _logged.append(one)
    try:
        yield one.warnings
    finally:
        _logged.remove(one)


def say(text: str = "") -> None:
    """Print one line at once, so that a log shows it when it happens.

    Where nobody reads any more (``| head``) the program ends quietly, as other programs do there.
    """
    if _logged:
        LOGGER.info(printable(text, lines=True).strip())
        return
    try:
        text = printable(text, lines=True)
        try:
            print(text, flush=True)
        except UnicodeEncodeError as error:  # a log in Latin-1, and a slide's id that is not
            print(text.encode(error.encoding, "backslashreplace").decode(error.encoding), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered goes nowhere
        raise SystemExit(128 + signal.SIGPIPE) from None


def warn(text: str) -> None:
    """Print one warning line on stderr."""
    if _logged:
        _logged[-1].warnings.append(printable(text))
        LOGGER.warning(printable(text))
        return
    print(f"warning: {printable(text)}", file=sys.stderr, flush=True)


class Progress:
    """Counter that a step advances; see `progress`."""

    def __init__(self, label: str, total: int, unit: str):
        self.label, self.total, self.unit = label, total, unit
        self.done = 0
        self.note = ""
        self._start = time.monotonic()
        self._last = self._start

    def advance(self, n: int = 1, note: str = "") -> None:
        """Count `n` more; `note` is shown behind the counts."""
        self.done += n
        self.note = note or self.note
        now = time.monotonic()
        if now - self._last >= LOG_INTERVAL_S or self.done == self.total:
            self._last = now
            self.show()

    def show(self) -> None:
        """Print the state as a plain line."""
        seconds = max(time.monotonic() - self._start, 1e-9)
        rate = self.done / seconds
        left = f", {max(self.total - self.done, 0) / rate:.0f} s left" if 0 < self.done < self.total else ""
        note = f"  {self.note}" if self.note else ""
        say(f"    {self.label}: {self.done}/{self.total} {self.unit}, {seconds:.0f} s{left}{note}")


class _ToldProgress(Progress):
    """The same counter, whose caller is told."""

    def advance(self, n: int = 1, note: str = "") -> None:
        self.done += n
        if _logged and (told := _logged[-1].on_progress) is not None:
            told(self.label, self.done, self.total)


class _BarProgress(Progress):
    """The same counter, drawn by rich."""

    def __init__(self, label: str, total: int, unit: str):
        super().__init__(label, total, unit)
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self.bar = RichProgress(
            TextColumn("    {task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self.task = self.bar.add_task(label, total=total, note="")

    def advance(self, n: int = 1, note: str = "") -> None:
        self.done += n
        self.note = note or self.note
        self.bar.update(self.task, advance=n, note=printable(self.note))

    def show(self) -> None:
        self.bar.refresh()


@contextmanager
def progress(label: str, total: int, unit: str = "") -> Iterator[Progress]:
    """Show a step's progress: rich's bar on a terminal, a line every ten seconds elsewhere.

    Args:
        label: what is being done.
        total: number of units in all.
        unit: what is counted, plural.
    """
    if _logged:
        yield _ToldProgress(label, total, unit)
    elif sys.stdout.isatty():
        counter = _BarProgress(label, total, unit)
        with counter.bar:
            yield counter
    else:
        yield Progress(label, total, unit)
