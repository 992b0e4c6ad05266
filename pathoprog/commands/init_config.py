"""Settings of `pathoprog init`."""

from dataclasses import dataclass

from pathoprog.settings import setting


@dataclass
class InitConfig:
    """`pathoprog init`: a first mapping, plan and experiment from a clinical sheet."""

    folder: str = setting(
        "", "folder to write mapping.yaml, plan.yaml and experiment.yaml to", kind="path", required=True
    )
    table: str = setting("", "clinical sheet: CSV, Excel or Parquet", kind="path", required=True)
    slides: str = setting(
        "",
        "folder with the slides; files whose names begin with an id of the sheet are found and put beside its rows",
        kind="path",
    )
    role: str = setting(
        "external",
        "role of all slides, if no column of the sheet says it: external (to validate on) or development (to train on)",
        choices=("external", "development", "training", "tuning", "test"),
    )
    endpoint: str = setting(
        "",
        "main endpoint: css (cancer-specific survival), os (overall), dfs (disease-free), pfs (progression-free), rfs"
        " (recurrence-free), efs (event-free), mfs (metastasis-free); default: the first of these that the sheet has",
        choices=("", "css", "os", "dfs", "pfs", "rfs", "efs", "mfs"),
    )
    sheet: str = setting("", "sheet of an Excel file; default: the first that is not hidden", kind="name")
    encoding: str = setting("", "encoding of a text file, such as cp1252; default: UTF-8", kind="name")
    decimal: str = setting(
        "", "decimal sign of the numbers; default: found from the values", kind="name", choices=("", ".", ",")
    )
    overwrite: bool = setting(False, "write over mapping.yaml, plan.yaml and experiment.yaml, if they are there")
