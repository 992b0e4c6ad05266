"""What the columns of clinical sheets are called, as `words` gives them: usual names, TCGA's, GDC's and cBioPortal's.

Names of TCGA-CDR are those of the supplement of Liu et al., Cell 2018;173:400-416; GDC's those of its data dictionary,
as its portal exports them; cBioPortal's those of its documented clinical files, and as its website shows them.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class FieldNames:
    """How a column of the cohort is called elsewhere; the first of several that are there counts.

    Attributes:
        sure: names that mean nothing else.
        likely: names that may mean something else.
    """

    sure: tuple[str, ...]
    likely: tuple[str, ...] = ()

    def rank(self, name: str) -> tuple[int, bool] | None:
        """The place of a name (lower is better) and whether it is sure; None where it is none of them."""
        if name in self.sure:
            return self.sure.index(name), True
        return (len(self.sure) + self.likely.index(name), False) if name in self.likely else None


PATIENT = FieldNames(
    (
        "patient id", "bcr patient barcode", "case submitter id", "submitter id", "patient barcode", "case barcode",
        "patient no", "patient number", "patient nr", "pat no", "pat nr", "pat id", "patient", "subject id",
        "participant id", "pasient id", "pasient nr", "pasientnr", "patientnr", "patienten nr",
        "patient identifier", "record id",
    ),
    ("pat", "subject", "participant", "case id", "case", "id", "pid", "study no", "study nr"),
)  # fmt: skip
SLIDE = FieldNames(
    ("slide id", "slide", "slide name", "slide barcode", "slide no", "wsi id", "wsi", "snitt", "scan id"),
    ("image id", "image name", "image", "scan", "file name", "filename"),
)
SLIDE_PATH = FieldNames(("slide path", "wsi path", "slide file", "path to slide"), ("path", "file path", "image path"))
COHORT = FieldNames(("cohort", "cohort name"), ("dataset", "study id", "study", "project id", "project", "series"))
ROLE = FieldNames(("role",), ("set", "split", "subset", "partition", "data set", "group"))

OF_SLIDE = {
    "block_id": FieldNames(("block id", "block", "paraffin block", "block no")),
    "prep_site": FieldNames(
        ("prep site",), ("hospital", "centre", "center", "institution", "site", "tissue source site")
    ),
    "scan_site": FieldNames(("scan site", "scanning site")),
    "scanner": FieldNames(("scanner", "scanner model", "scanner name")),
    "outline_path": FieldNames(("outline path", "outline"), ("annotation path", "annotation file")),
    "stain": FieldNames(("stain", "staining")),
}
AGE = FieldNames(
    (
        "age", "age at diagnosis", "age at initial pathologic diagnosis", "diagnosis age", "age years", "age in years",
        "age at surgery", "age at index", "age at operation", "age in months", "age in days", "age months", "age days",
        "alder", "ålder", "alter", "âge", "edad", "leeftijd",
    )
)  # fmt: skip
SEX = FieldNames(("sex", "gender", "kjønn", "kön", "geschlecht", "sexe", "sexo", "geslacht"))
STAGE = FieldNames(
    (
        "stage", "ajcc pathologic stage", "ajcc pathologic tumor stage", "pathologic stage", "pathological stage",
        "tnm stage", "ajcc stage", "tumor stage", "uicc", "uicc stage", "p stage", "stage at diagnosis",
        "neoplasm disease stage american joint committee on cancer code", "ajcc staging",
    ),
    ("stadium", "tumour stage", "clinical stage"),
)  # fmt: skip
GRADE = FieldNames(
    ("grade", "histological grade", "histologic grade", "tumor grade", "tumour grade", "neoplasm histologic grade"),
    ("differ", "differentiation", "tgrade", "grading"),
)
T_STAGE = FieldNames(
    (
        "pt", "p t", "pt stage", "p t stage", "path t stage", "pathologic t", "ajcc pathologic t",
        "ajcc tumor pathologic pt", "american joint committee on cancer tumor stage code", "t stage",
    ),
    ("t", "extent"),
)  # fmt: skip
N_STAGE = FieldNames(
    (
        "pn", "p n", "pn stage", "p n stage", "path n stage", "pathologic n", "ajcc pathologic n",
        "ajcc nodes pathologic pn", "neoplasm disease lymph node stage american joint committee on cancer code",
        "n stage",
    ),
    ("n",),
)  # fmt: skip
M_STAGE = FieldNames(
    (
        "pm", "p m", "pm stage", "path m stage", "pathologic m", "ajcc pathologic m", "ajcc metastasis pathologic pm",
        "american joint committee on cancer metastasis stage code", "m stage",
    ),
    ("m",),
)  # fmt: skip
NODES_SAMPLED = FieldNames(
    (
        "nodes sampled", "nodes examined", "lymph nodes examined", "lymph nodes examined count", "lymph nodes tested",
        "lymph node examined count", "lymph nodes sampled", "number of lymph nodes examined",
    )
)  # fmt: skip
NODES_POSITIVE = FieldNames(
    (
        "nodes positive", "positive nodes", "lymph nodes positive", "lymph nodes examined positive", "pnodes",
        "p nodes", "number of lymphnodes positive by he", "positive lymph nodes",
    ),
    ("nodes",),
)  # fmt: skip
NEOADJUVANT = FieldNames(
    (
        "neoadjuvant", "neoadjuvant treatment", "neoadjuvant therapy", "history neoadjuvant treatment",
        "history neoadjuvant trtyn", "history of neoadjuvant treatment", "prior treatment",
    ),
    ("neoadj", "neo"),
)  # fmt: skip
ORGAN = FieldNames(("organ",))
SPECIMEN = FieldNames(("specimen", "specimen type"))
CAUSE = FieldNames(("cause of death", "cause", "death cause", "dødsårsak", "todesursache"))
