"""Quality of a slide: each check's value held against its limits: pass, warn (a flag), or fail (not reportable)."""

from dataclasses import dataclass

PASS, WARN, FAIL = "pass", "warn", "fail"


@dataclass(frozen=True)
class Check:
    """One thing looked at on a slide.

    Attributes:
        name: what was looked at.
        value: what was found, in `unit`; None where it could not be measured.
        unit: of the value and the limits, empty for a pure number.
        verdict: ``pass``, ``warn`` or ``fail``.
        warn: the limit beyond which the verdict is ``warn``; None where there is none.
        fail: the limit beyond which it is ``fail``; above `warn` where large values are bad, else below it.
        says: one short sentence for the reader of the result.
    """

    name: str
    value: float | None
    unit: str
    verdict: str
    warn: float | None
    fail: float | None
    says: str
