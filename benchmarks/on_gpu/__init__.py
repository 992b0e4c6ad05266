"""What a GPU gives, in one command and one table: `python -m benchmarks.on_gpu --out DIR` (docs/gpu.md)."""

import sys
from pathlib import Path

SUPPORT = Path(__file__).resolve().parents[2] / "tests" / "support"
if str(SUPPORT) not in sys.path:
    sys.path.insert(0, str(SUPPORT))  # made_bundle and made_slides: the tests' helpers make bundles and slides
