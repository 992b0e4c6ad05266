"""A service as a real process on a small made bundle and made slides, and a client of it; for tests and benchmarks."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pathoprog.inference.service.access.roles import Role
from pathoprog.inference.service.access.tokens import TokenStore

PROGRAM = "import sys; from pathoprog.cli import main; sys.exit(main())"
ELIGIBLE = {"organ": "colon", "specimen": "resection", "stain": "HE", "neoadjuvant": "no"}


@dataclass
class Answer:
    """An answer of the service."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class MadeService:
    """One service: its folders and settings, its process, and how to ask it.

    `settings` may be changed before `start`; `tokens` holds a secret of each role; `command` replaces the usual one.
    """

    folder: Path
    bundle: Path
    settings: dict[str, Any] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None
    port: int = 0
    command: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.slides = self.folder / "slides"
        self.slides.mkdir(parents=True, exist_ok=True)
        self.state, self.out = self.folder / "state", self.folder / "out"
        self.settings = {
            "state": str(self.state),
            "out": str(self.out),
            "listen": {"port": 0},
            "bundles": [{"name": "colon", "folder": str(self.bundle)}],
            "roots": [{"name": "scans", "folder": str(self.slides)}],
            "routes": [{"name": "colon", "root": "scans", "bundles": ["colon"], "patients": {"ids": "given"}}],
            "scoring": {
                "device": "cpu",
                "settle_s": 0,
                "pdf": False,
                "stream": {"workers": 1, "batch_tiles": 16},
                "quality": {"eligibility": "enforce"},
            },
            "stop_s": 20,
        } | self.settings
        self.state.mkdir(mode=0o700, exist_ok=True)
        store = TokenStore(self.state / "tokens.json")
        for role in Role:
            _, self.tokens[role.value] = store.add(f"the-{role.value}", role, 30, str)

    @property
    def file(self) -> Path:
        return self.folder / "service.yaml"

    def start(self, environment: dict[str, str] | None = None, timeout_s: float = 60.0) -> None:
        """Start the process and wait until it answers."""
        self.file.write_text(yaml.safe_dump(self.settings), encoding="utf-8")
        begin = len(self.said())
        with (self.folder / "log.txt").open("a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, *(self.command or ["serve", str(self.file)])],
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, **(environment or {})},
            )
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            text = self.said()[begin:]
            for line in text.splitlines():
                if line.startswith("listening on http"):
                    self.port = int(line.split(" (")[0].rpartition(":")[2])
                    return
            if self.process.poll() is not None:
                raise AssertionError(f"the service ended with {self.process.returncode}: {text}")
            time.sleep(0.05)
        raise AssertionError("the service does not answer")

    def stop(self, how: signal.Signals = signal.SIGTERM, timeout_s: float = 60.0) -> int:
        """End the process; returns its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(timeout_s)

    def said(self) -> str:
        """What it has written."""
        path = self.folder / "log.txt"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def ask(self, method: str, path: str, body: Any = None, role: str = "operator", **headers: str) -> Answer:
        """Ask as somebody of a role (``""``: nobody), one connection for each question."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            if role:
                given.setdefault("Authorization", f"Bearer {self.tokens[role]}")
            data = None
            if body is not None:
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                given.setdefault("Content-Type", "application/json")
            connection.request(method, path, data, given)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def listed(self) -> dict[str, str]:
        """The opaque ids of the slides, by file name."""
        found = self.ask("GET", "/v1/slides?root=scans&limit=200").json["slides"]
        return {slide["file_name"]: slide["id"] for slide in found}

    def submit(self, slide: str, role: str = "operator", **body: Any) -> Answer:
        """Submit a slide by its opaque id."""
        return self.ask("POST", "/v1/submissions", {"route": "colon", "slide": slide, **body}, role)

    def ended(self, submission: str, timeout_s: float = 120.0) -> dict[str, Any]:
        """Wait until a submission is neither received, nor waiting, nor running."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            found = self.ask("GET", f"/v1/submissions/{submission}", role="admin").json
            if found["state"] not in ("received", "waiting", "running"):
                return dict(found)
            time.sleep(0.1)
        raise AssertionError(f"{submission} is not done: {found}")
