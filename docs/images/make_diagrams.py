"""Draws the two diagrams of docs/architecture.md: `python docs/images/make_diagrams.py`, from the repository's root.

They bring their own light ground, so that they read the same on a light and on a dark page.
"""

from pathlib import Path

INK, SOFT, GROUND, EDGE = "#1f2933", "#52606d", "#fbfbfd", "#cbd2d9"
BLUE, ORANGE, GREEN, GREY = "#dbe7f6", "#fbe6cf", "#dcefe2", "#eceff2"


LAYERS = (
    (("commands", "demo, inspect, verify, sign"),),
    (("simulate", "made-up slides and patients"), ("report", "figures and documents of a validation")),
    (("validation", "plan, lock, openings, analyses"), ("slide_report", "one slide's page, PDF, maps")),
    (("scoring", "tiles to scores to a slide's and a patient's result; eligibility"),),
    (("ensemble", "the bundle, the choice of members, thresholds, classes, stage groups, signature"),),
    (("networks", "the member network, pooling, encoders, losses, augmentation, features"),),
    (("stream", "decoded tiles through reader processes: the one way slides are read"),),
    (("quality", "what is measured of a slide, and the limits"),),
    (("tiles", "what is a tile, and where are they"),),
    (("regions", "where tiles may lie: outlines, tissue, the tumour network's map"),),
    (("survival", "statistics: pure functions, each with its source"),),
    (("cohort_tables", "cohort.csv and outcomes.csv, clinical sheets, the endpoint"),),
    (("slides", "one protocol, an adapter per library, which files are a slide"),),
    (("command_line", "words, files of experiments and flags become a command's settings"),),
    (("system", "device, files, child processes, Ray"), ("text", "wording, numbers, plain text")),
)
"""Rooms from general use to the ground; each may import those below it."""
FOR_STATISTICIANS = ("report", "validation", "survival", "cohort_tables")


class Drawing:
    """A drawing of boxes, arrows and words, in px."""

    def __init__(self, width: int, height: int, title: str):
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'role="img" aria-label="{title}" font-family="Helvetica, Arial, sans-serif" fill="{INK}">',
            f"<title>{title}</title>",
            '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" '
            f'orient="auto-start-reverse"><path d="M0 0L10 5L0 10z" fill="{SOFT}"/></marker></defs>',
            f'<rect width="{width}" height="{height}" rx="10" fill="{GROUND}" stroke="{EDGE}"/>',
        ]

    def text(self, x: float, y: float, words: str, size: int = 13, bold: bool = False, anchor: str = "middle") -> None:
        """Words at a place."""
        weight = ' font-weight="bold"' if bold else ""
        self.parts.append(f'<text x="{x:g}" y="{y:g}" font-size="{size}"{weight} text-anchor="{anchor}">{words}</text>')

    def box(
        self, x: float, y: float, w: float, h: float, name: str, lines: tuple[str, ...] = (), fill: str = GREY
    ) -> None:
        """A box with its name and further lines."""
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="6" fill="{fill}" stroke="{SOFT}"/>'
        )
        top = y + h / 2 - 8 * len(lines) + 5
        self.text(x + w / 2, top, name, 14, bold=True)
        for number, line in enumerate(lines, 1):
            self.text(x + w / 2, top + 16 * number, line, 12)

    def arrow(self, *points: tuple[float, float], both: bool = False, dashed: bool = False) -> None:
        """A line over points, with a tip at its end, or at both."""
        path = "M" + "L".join(f"{x:g} {y:g}" for x, y in points)
        start = ' marker-start="url(#tip)"' if both else ""
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(
            f'<path d="{path}" fill="none" stroke="{SOFT}" stroke-width="1.5"{dash}{start} marker-end="url(#tip)"/>'
        )

    def svg(self) -> str:
        """The whole file."""
        return "\n".join([*self.parts, "</svg>", ""])


def house() -> str:
    """The doors, the rooms of the library, and which way imports run."""
    d = Drawing(860, 739, "The three doors stand on one library of rooms; imports run downwards only")
    for x, name, who in (
        (30, "training/", "train, choose, lock"),
        (310, "inference/", "score, the ledger of work"),
        (590, "cohorts/", "cohorts, validation"),
    ):
        d.box(x, 26, 240, 58, name, (who,), ORANGE)
    d.text(290, 48, "files", 11)
    d.arrow((272, 56), (308, 56), dashed=True)
    d.text(570, 48, "files", 11)
    d.arrow((552, 56), (588, 56), dashed=True)
    for x in (150, 430, 710):
        d.arrow((x, 86), (x, 116))
    d.parts.append(f'<rect x="20" y="118" width="820" height="561" rx="8" fill="none" stroke="{SOFT}"/>')
    d.text(36, 138, "pathoprog/", 14, bold=True, anchor="start")
    d.text(130, 138, "cli (names the doors), api (for Python)", 12, anchor="start")
    y = 150.0
    for layer in LAYERS:
        width = (800 - 12 * (len(layer) - 1)) / len(layer)
        for number, (name, what) in enumerate(layer):
            left, fill = 30 + number * (width + 12), GREEN if name in FOR_STATISTICIANS else BLUE
            d.parts.append(
                f'<rect x="{left:g}" y="{y:g}" width="{width:g}" height="29" rx="6" fill="{fill}" stroke="{SOFT}"/>'
            )
            d.text(left + 14, y + 19, name, 13, bold=True, anchor="start")
            d.text(left + 130, y + 19, what, 12, anchor="start")
        y += 35
    d.text(
        430,
        703,
        "Imports run from the top to the ground: never up, never between the doors, which hand each other files.",
        12,
    )
    d.text(430, 721, "Green: a statistician's rooms, without PyTorch.", 12)
    return d.svg()


def processes() -> str:
    """Who does what while slides are scored."""
    d = Drawing(860, 430, "One engine with the ledger, workers with the networks, readers that open the slides")
    d.box(
        30, 40, 250, 96, "engine", ("the command itself;", "leases, answers, commits;", "never opens a slide"), ORANGE
    )
    d.box(30, 230, 250, 80, "ledger", ("SQLite on a local disk: which work", "is whose, done or failed"), GREEN)
    d.arrow((155, 138), (155, 228), both=True)
    d.text(163, 178, "lease, key,", 12, anchor="start")
    d.text(163, 194, "commit", 12, anchor="start")
    for number, y in enumerate((40, 190)):
        d.box(380, y, 200, 96, "worker", ("one device, ten networks", "loaded once;", "stages the result"), BLUE)
        for shift in (0, 54):
            d.box(680, y + shift - 6, 150, 46, "reader", ("no PyTorch",), GREY)
            d.arrow((678, y + 17 + shift), (582, y + 40 + shift / 8))
        d.arrow((282, 76 + 44 * number), (378, 76 + 150 * number), both=True)
    d.text(330, 58, "assign,", 12)
    d.text(330, 98, "staged", 12)
    d.text(630, 26, "tiles in", 12)
    d.text(630, 42, "shared memory", 12)
    d.box(680, 336, 150, 46, "slides", ("read-only",), GREEN)
    d.arrow((755, 334), (755, 282))
    d.text(748, 312, "opened here alone", 12, anchor="end")
    d.box(380, 336, 200, 60, "slides/&lt;slide_id&gt;/", ("appears whole or not at all",), GREEN)
    d.arrow((480, 288), (480, 334))
    d.text(488, 314, "write, sync", 12, anchor="start")
    d.arrow((70, 138), (10, 138), (10, 366), (378, 366))
    d.text(200, 358, "rename, then commit", 12)
    d.text(430, 418, "Any of them may die: a reader’s slide is read again, a worker is replaced, and after the engine "
           "the same command goes on.", 12)  # fmt: skip
    return d.svg()


if __name__ == "__main__":
    for name, drawn in (("house", house()), ("processes", processes())):
        Path(__file__).with_name(f"{name}.svg").write_text(drawn, encoding="utf-8")
