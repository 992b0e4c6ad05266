"""A child process that answers one question after another, so that a share that hangs hangs the child alone.

While it works it gives signs of life. One that is silent for too long is ended, and the next question starts another.
A call that hangs in the system cannot be ended: as long as it does, no second child is started beside it where all
questions are about one place.
"""

import contextlib
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pathoprog
from pathoprog.errors import PathoprogError

PROGRAM = """
import importlib, sys
sys.path.insert(0, sys.argv[1])
importlib.import_module(sys.argv[2]).main(int(sys.argv[3]))
"""
BEAT_S = 1.0
START_S = 60.0  # a child that is starting says nothing: a busy machine takes its time

Beat = Callable[[], None]


class NoAnswerError(Exception):
    """The child said nothing for too long (`silent`), or died; the text says which."""

    def __init__(self, text: str, silent: bool):
        super().__init__(text)
        self.silent = silent


class AskedChild:
    """The parent's end. One question at a time: `ask`, then `answer` until it gives one.

    Args:
        module: whose `main` the child runs: it calls `answer_questions`.
        silence_s: how long it may give no sign of life.
        start_s: how long it may say nothing while it starts, if that is longer.
        one_place: all questions are about one place, so that none is put while one hangs there in the system; else
            another child is started, since it may be asked about another place.
    """

    def __init__(self, module: str, silence_s: float, start_s: float = START_S, one_place: bool = True):
        self.module, self.silence_s, self._start_s, self._one_place = module, silence_s, start_s, one_place
        self.asked = False
        self._process: subprocess.Popen[bytes] | None = None
        self._stuck: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._heard = 0.0
        self._ready = False

    @property
    def runs(self) -> bool:
        """Whether there is a child to ask; a new one knows nothing of the questions before."""
        return self._process is not None

    @property
    def pid(self) -> int | None:
        """Of the child, if there is one."""
        return self._process.pid if self._process else None

    def ask(self, question: str, *arguments: Any) -> None:
        """Put a question; the child is started if there is none.

        Raises:
            NoAnswerError: it has died, or the one before hangs in the system still.
        """
        connection = self._connection or self._start()
        try:
            connection.send((question, *arguments))
        except (BrokenPipeError, ConnectionResetError) as error:
            self.end()
            raise NoAnswerError("the process that looks ended", silent=False) from error
        self.asked, self._heard = True, time.monotonic()

    def answer(self, wait_s: float) -> tuple[bool, Any]:
        """Whether the answer is there, and it; waits for it at most so long.

        Raises:
            NoAnswerError: it died, or was silent for too long.
            PathoprogError: what the child says is wrong.
        """
        assert self.asked and self._connection is not None
        until = time.monotonic() + wait_s
        try:
            while True:
                left = until - time.monotonic()
                if not self._connection.poll(max(0.0, min(left, self.silence_s))):
                    limit = self.silence_s if self._ready else max(self.silence_s, self._start_s)
                    if time.monotonic() - self._heard > limit and not self._connection.poll():
                        self.end()
                        raise NoAnswerError(f"no answer for {self.silence_s:g} s", silent=True)
                    if left <= 0:
                        return False, None
                    continue
                kind, value = self._connection.recv()
                self._heard, self._ready = time.monotonic(), True
                if kind == "failed":
                    self.end()
                    raise NoAnswerError(f"the process that looks failed: {value}", silent=False)
                if kind in ("answer", "error"):
                    break
        except (EOFError, ConnectionResetError, BrokenPipeError) as error:
            self.end()
            raise NoAnswerError("the process that looks ended", silent=False) from error
        self.asked = False
        if kind == "error":
            assert isinstance(value, PathoprogError)
            raise value
        return True, value

    def end(self) -> None:
        """End the child; one whose call hangs in the system ends when that does."""
        if self._process is not None and self._connection is not None:
            self._connection.close()
            self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(BEAT_S)
            if self._process.returncode is None:
                self._stuck = self._process
        self._process = self._connection = None
        self.asked = self._ready = False

    def _start(self) -> Connection:
        if self._one_place and self._stuck is not None and self._stuck.poll() is None:
            raise NoAnswerError("the last look at it hangs in the system still", silent=True)
        self._stuck = None
        root = Path(pathoprog.__file__).resolve().parents[1]
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(root), self.module, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
            )
        self._connection = Connection(ours.detach())
        return self._connection


def answer_questions(socket_fd: int, answer: Callable[[str, list[Any], Beat], Any]) -> None:
    """The child's end: answer one parent until it closes the socket.

    Args:
        socket_fd: inherited.
        answer: question, its arguments, and what to call often while it works -> the answer. A `PathoprogError` is
            passed on. Any other is a defect: the child ends, and says what and where, but not the error's text, since
            that may hold names of files, and what children write goes to the service's log.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    connection = Connection(socket_fd)
    last = time.monotonic()

    def beat() -> None:
        nonlocal last
        if time.monotonic() - last > BEAT_S:
            last = time.monotonic()
            connection.send(("beat", None))

    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        connection.send(("beat", None))
        while True:
            question, *arguments = connection.recv()
            try:
                found = answer(question, arguments, beat)
            except PathoprogError as error:
                connection.send(("error", error))
            except (BrokenPipeError, ConnectionResetError):
                return  # the parent has gone
            except Exception as error:
                connection.send(("failed", _where(error)))
                return
            else:
                connection.send(("answer", found))


def _where(error: Exception) -> str:
    """An error's kind, and the line that it comes from."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(last.filename).name} line {last.lineno}"
