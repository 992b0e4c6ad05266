"""Every abbreviation that a report uses, spelled out once, in one place."""

import re

from pathoprog.report.document import Section, Text

ABBREVIATIONS = {
    "AI": "artificial intelligence",
    "AUC": "area under the receiver operating characteristic curve",
    "c": "concordance index",
    "CI": "confidence interval",
    "CSV": "comma-separated values",
    "df": "degrees of freedom",
    "DL": "DerSimonian and Laird",
    "E50": "median absolute difference of predicted and smoothed observed risk",
    "E90": "90th percentile of that difference",
    "H&E": "haematoxylin and eosin",
    "HR": "hazard ratio",
    "I2": "share of the variance between sites that is not chance",
    "ICI": "integrated calibration index, the mean of that difference",
    "IQR": "interquartile range",
    "NPV": "negative predictive value",
    "O/E": "observed over expected",
    "pM": "pathological stage of distant metastases",
    "pN": "pathological stage of the lymph nodes",
    "PPV": "positive predictive value",
    "pT": "pathological stage of the primary tumour",
    "Q": "Cochran's test of heterogeneity",
    "REMARK": "reporting recommendations for tumour marker prognostic studies",
    "REML": "restricted maximum likelihood",
    "SD": "standard deviation",
    "SHA-256": "secure hash algorithm of 256 bits",
    "tau2": "variance between sites",
    "TRIPOD": "transparent reporting of a multivariable prediction model for individual prognosis or diagnosis",
    "UTC": "coordinated universal time",
    "um/px": "micrometres per pixel",
    "YAML": "a text format of keys and values",
}
SAME = {"I²": "I2", "τ²": "tau2", "tau²": "tau2"}
"""Other spellings of the same."""


def abbreviations_in(text: str) -> list[str]:
    """Those of `ABBREVIATIONS` that a text uses as words, by alphabet."""
    found = {name for name in ABBREVIATIONS if re.search(_word(name), text)}
    found |= {name for other, name in SAME.items() if other in text}
    return sorted(found, key=lambda name: (name.casefold(), name))


def _word(name: str) -> str:
    return rf"(?<![\w&/.-]){re.escape(name)}(?![\w&/]|-\d|\.\w)"


def abbreviations_section(text: str, *more: str) -> Section:
    """The list of a report's abbreviations.

    Args:
        text: all that the report prints.
        more: abbreviations that its figures use.
    """
    section = Section("abbreviations", "Abbreviations")
    names = sorted({*abbreviations_in(text), *more}, key=lambda name: (name.casefold(), name))
    section.add(Text("; ".join(f"{name}: {ABBREVIATIONS[name]}" for name in names) + "."))
    return section
