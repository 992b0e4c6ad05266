"""`pathoprog serve demo=runs/demo`: a service on the demo's bundle, to try: settings, tokens and what to do next."""

import json
from pathlib import Path

import yaml

from pathoprog import RESEARCH_USE_ONLY
from pathoprog.ensemble.bundle import MANIFEST
from pathoprog.errors import ConfigError
from pathoprog.inference.service.access.roles import Role
from pathoprog.inference.service.access.tokens import TokenStore
from pathoprog.system.console import say
from pathoprog.system.files import write_text

FOLDER, FILE, TOKENS = "service", "service.yaml", "demo_tokens.json"
DAYS = 30
PATTERN = r"(?P<patient>[A-Z0-9]+)-(?P<block>B\d+)"
"""Of the demo's file names: patient and block."""


def prepare_demo(demo: Path, port: int) -> Path:
    """Make a service's folder beside the demo's results; what is there from before is kept.

    Args:
        demo: folder of the demo's results.
        port: to listen on.

    Returns:
        The settings file.

    Raises:
        ConfigError: the demo has not been run there.
    """
    bundle, cohort = demo / "ensemble", demo / "cohort"
    if not (bundle / MANIFEST).is_file():
        raise ConfigError(f"demo={demo}: holds no locked bundle; run `pathoprog demo` first")
    folder = demo.parent / FOLDER
    scans, state = folder / "scans", folder / "state"
    scans.mkdir(parents=True, exist_ok=True)
    state.mkdir(mode=0o700, exist_ok=True)
    settings = {
        "state": "state",
        "out": "out",
        "listen": {"port": port},
        "bundles": [
            {
                "name": "demo",
                "folder": str(bundle.resolve()),
                "outlines": str((cohort / "outlines").resolve()),
                **({"validation": str(report.resolve())} if (report := demo / "validation").is_dir() else {}),
            }
        ],
        "roots": [{"name": "scans", "folder": "scans"}],
        "routes": [
            {
                "name": "demo",
                "root": "scans",
                "bundles": ["demo"],
                "eligibility": {"organ": "colorectum", "specimen": "resection", "stain": "H&E", "neoadjuvant": "no"},
                "patients": {"ids": "given", "pattern": PATTERN, "unknown_patient": "own"},
            }
        ],
        "watch": [{"folder": str(scans.resolve()), "route": "demo", "poll_s": 2, "settle_s": 5}],
        "scoring": {"settle_s": 0},
    }
    file = folder / FILE
    write_text(
        file, f"# Made by `pathoprog serve demo=…`. {RESEARCH_USE_ONLY}\n{yaml.safe_dump(settings, sort_keys=False)}"
    )
    tokens = _tokens(folder / TOKENS, state)
    slide = next((cohort / "slides").glob("*.tif"), None)
    say(f"a service on the demo's bundle in {folder}. {RESEARCH_USE_ONLY}")
    say(f"  tokens    {folder / TOKENS} (one of each role; for this demo alone)")
    if slide is not None:
        say(f"  a slide   cp {slide} {scans}/   and it is scored")
    say(f"  its state curl -H 'Authorization: Bearer {tokens[Role.ADMIN]}' http://127.0.0.1:{port}/v1/submissions")
    return file


def _tokens(file: Path, state: Path) -> dict[str, str]:
    """A token of each role, made once; kept in a file, which no real service does."""
    if file.is_file():
        found: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
        return found
    store = TokenStore(state / "tokens.json")
    secrets = {role.value: store.add(f"demo-{role.value}", role, DAYS, str)[1] for role in Role}
    write_text(file, json.dumps(secrets, indent=1), private=True)
    return secrets
