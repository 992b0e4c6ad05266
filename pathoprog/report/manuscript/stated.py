"""Two sections: slides, resolutions and software of a validation; and what only its authors could state."""

import pandas as pd

from pathoprog import __version__
from pathoprog.cohort_tables.roles import EVALUATION_ROLES
from pathoprog.report.document import Section, Table, Text
from pathoprog.report.validation.findings import Findings
from pathoprog.text.wording import count, listing, share
from pathoprog.validation.openings.register import libraries
from pathoprog.validation.study_facts import STUDY_FACTS

NOT_REPORTED = "not reported"


def scanners_text(findings: Findings) -> str:
    """The scanners of the evaluated slides with their counts; empty where none is known."""
    slides = findings.cohort[findings.cohort["role"].isin(EVALUATION_ROLES)]
    given = slides["scanner"] if "scanner" in slides else pd.Series("", index=slides.index)
    counts = given[given != ""].value_counts()
    if counts.empty:
        return ""
    named = [f"{name} {share(int(n), len(slides))}" for name, n in counts.items()]
    unknown = int((given == "").sum())
    named += [f"not stated {share(unknown, len(slides))}"] if unknown else []
    return f"Scanners of {count(len(slides), 'evaluated slide')}: {listing(named)}"


def resolutions_text(findings: Findings) -> str:
    """The resolutions at which slides are read."""
    specs = findings.manifest.tile_specs
    said = [f"{name} ({specs[name].mpp:g} um/px, tiles of {specs[name].size_px} px)" for name in specs]
    return f"Read at {listing(said)}"


def networks_text(findings: Findings) -> str:
    """How many networks at which resolution."""
    manifest = findings.manifest
    each = [f"{len(manifest.members_at(name))} at {name}" for name in manifest.tile_specs]
    return f"{len(manifest.members)} networks ({listing(each)})"


def software_text() -> str:
    """This program and what computes beside it, with versions."""
    others = [f"{name.capitalize() if name == 'python' else name} {number}" for name, number in libraries().items()]
    return f"pathoprog {__version__}, {', '.join(others)}"


def material_section(findings: Findings) -> Section:
    """Slides, scanners, resolutions, networks and software."""
    manifest = findings.manifest
    version = f"; preprocessing version {manifest.preprocessing}" if manifest.preprocessing else ""
    scanners = scanners_text(findings) or f"Scanners: {NOT_REPORTED}"
    section = Section("material", "Slides, resolutions and software")
    section.add(
        Text(f"{scanners}. {resolutions_text(findings)}{version}."),
        Text(
            f"The ensemble holds {networks_text(findings)}. Tiles lie where the bundle's policy says: "
            f"{manifest.tumour_policy}. Computed with {software_text()}."
        ),
    )
    return section


def stated_section(findings: Findings) -> Section:
    """Every fact that guidelines ask of the authors, as stated or not."""
    section = Section("stated", "What the authors state")
    rows = [(text, findings.stated.get(key, NOT_REPORTED)) for key, text in STUDY_FACTS.items()]
    said = len(findings.stated)
    section.add(
        Text(
            f"Of {len(STUDY_FACTS)} facts that reporting guidelines ask for and no program can know, {said} are stated "
            "in the study file. What is stated is the authors' word; nothing here checks it."
        ),
        Table(
            "stated",
            "The authors' facts.",
            pd.DataFrame(rows, columns=["Asked for", "Stated"]),
            text_columns=2,
            wrap=True,
        ),
    )
    return section
