"""Cohort and outcome tables: reading them, and refusing what would make a validation worthless.

Two files are kept apart: ``cohort.csv`` (one row per slide, no outcomes) and ``outcomes.csv`` (one row per patient).
The patient is the unit: roles are enforced by patient and by the content of the slides.
"""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from pathoprog.cohort_tables.columns import NUMBER, read_column
from pathoprog.cohort_tables.config import YEAR_DAYS
from pathoprog.cohort_tables.roles import ROLES
from pathoprog.cohort_tables.same_scan import same_scans
from pathoprog.cohort_tables.sheets import plain, read_sheet_file
from pathoprog.errors import CohortError, InputError
from pathoprog.system.files import read_json
from pathoprog.text.plain_text import spelling

REQUIRED_COLUMNS = ("patient_id", "slide_id", "slide_path", "cohort", "role")
# These belong to the slide, every other column to the patient, whose rows must then agree.
SLIDE_COLUMNS = (
    *REQUIRED_COLUMNS[1:],
    "block_id",
    "prep_site",
    "scan_site",
    "scanner",
    "outline_path",
    "slide_sha256",
    "stain",
)
SITE_COLUMNS = ("prep_site", "scan_site", "scanner")
NUMERIC_COLUMNS = ("age", "nodes_sampled")
NUMERIC_RANGE = (0.0, 150.0)  # of both
CODED_COLUMNS = (
    "sex",
    "pT",
    "pN",
    "pM",
    "grade",
    "stage",
    *SITE_COLUMNS,
)  # categories, whatever their values look like
OUTCOME_COLUMNS = ("followup_days", "event")
MAX_FOLLOWUP_DAYS = 100 * YEAR_DAYS  # beyond it the unit must be wrong


def read_cohort(
    path: str | Path,
    overlap_path: str | Path = "",
    look: bool = True,
    on_progress: Callable[[], None] = lambda: None,
) -> pd.DataFrame:
    """Read and check a cohort table.

    Args:
        path: CSV (or Excel) with one row per slide: ``patient_id, slide_id, slide_path, cohort, role`` and optionally
            ``block_id, prep_site, scan_site, scanner, outline_path, slide_sha256``, eligibility and covariates.
            Paths in it are relative to its folder, or absolute. An empty cell is a missing value.
        overlap_path: JSON that declares which patients may be in test as well as in development:
            ``{"allowed_overlap": [["training", "test"], …], "patients": [ids]}``.
        look: False touches no file that the table names, as one on a share that hangs would stop the caller: links in
            paths are not resolved, and the same scan in two roles is not looked for.
        on_progress: called while slides are looked at.

    Returns:
        The table in its order; `slide_path` and `outline_path` absolute, the slide columns always present; text is
        ``""`` where missing, `age` and `nodes_sampled` are float with NaN.

    Raises:
        CohortError: lists every offending row with its line in the file and what is wrong with it.
    """
    path = Path(path)
    table, lines = _read_table(path)
    _need_columns(table, REQUIRED_COLUMNS, path)
    outcome_columns = [name for name in OUTCOME_COLUMNS if name in table]
    if outcome_columns:
        raise CohortError(
            f"{path}: outcomes must lie in a file of their own, which scoring never opens; move the columns "
            f"{', '.join(outcome_columns)} to outcomes.csv"
        )
    for name in SLIDE_COLUMNS:
        if name not in table:
            table[name] = ""
    overlap = read_overlap(overlap_path) if str(overlap_path) else (set(), set())
    faults = [
        *_schema_faults(table),
        *_name_faults(table),
        *_duplicate_faults(table),
        *_patient_faults(table),
        *_overlap_faults(table, *overlap),
    ]
    if look:
        faults += _same_scan_faults(table, path.parent, {row for row, _ in faults}, on_progress)
    _refuse(path, faults, lines)
    for name in NUMERIC_COLUMNS:
        if name in table:
            table[name] = pd.to_numeric(table[name]).astype(float)
    for name in ("slide_path", "outline_path"):
        absolute = []
        for value in table[name]:
            absolute.append(_absolute(value, path.parent, look))
            on_progress()
        table[name] = absolute
    return table


def read_overlap(path: str | Path) -> tuple[set[frozenset[str]], set[str]]:
    """Read a declared overlap: the pairs of roles that may share patients, and those patients.

    Raises:
        CohortError: another format; or a pair without test, since training, tuning and external may never share.
    """
    if not Path(path).is_file():
        raise CohortError(f"{path}: no such file; it should declare the patients that test shares with development")
    try:
        value = read_json(path)
        pairs = {frozenset(pair) for pair in value["allowed_overlap"]}
        patients = {str(patient).strip() for patient in value["patients"]}
    except (ValueError, KeyError, TypeError) as error:
        raise CohortError(
            f'{path}: must be {{"allowed_overlap": [["training", "test"], …], "patients": [ids]}} ({error!r})'
        ) from error
    wrong = [pair for pair in pairs if pair not in ({"training", "test"}, {"tuning", "test"})]
    if wrong:
        named = "; ".join(" with ".join(sorted(pair)) for pair in sorted(wrong, key=sorted))
        raise CohortError(f"{path}: only test may share patients with training or tuning, not {named}")
    return pairs, patients


def endpoint_columns(name: str) -> tuple[str, str]:
    """The columns of a further endpoint in an outcome table: days, and the code (0, 1, 2)."""
    return f"{name}_days", f"{name}_event"


def read_outcomes(path: str | Path, endpoints: tuple[str, ...] = ()) -> pd.DataFrame:
    """Read and check an outcome table.

    Args:
        path: CSV with one row per patient: ``patient_id``, ``followup_days`` (above 0), ``event`` (0 none, 1 the
            event, 2 competing death).
        endpoints: further endpoints, each in two columns (`endpoint_columns`), read where they are there; empty cells
            are missing, and a row is missing where either is.

    Returns:
        These columns as str, float and int; those of further endpoints as float.

    Raises:
        CohortError: lists every offending row with its line in the file and what is wrong with it.
    """
    import pandera.pandas as pa

    path = Path(path)
    table, lines = _read_table(path)
    _need_columns(table, ("patient_id", *OUTCOME_COLUMNS), path)
    pairs = [endpoint_columns(name) for name in endpoints if set(endpoint_columns(name)) <= set(table.columns)]
    further = [name for pair in pairs for name in pair]
    table = table[["patient_id", *OUTCOME_COLUMNS, *further]].copy()
    text = table.copy()
    for name in (*OUTCOME_COLUMNS, *further):
        table[name] = pd.to_numeric(table[name], errors="coerce")
    days = pa.Check.in_range(0, MAX_FOLLOWUP_DAYS, include_min=False, error="must be days above 0 and within 100 years")
    code = pa.Check.isin([0, 1, 2], error="must be 0 (none), 1 (the event) or 2 (competing death)")
    schema = pa.DataFrameSchema(
        {
            "patient_id": pa.Column(
                str,
                [
                    pa.Check.str_length(min_value=1, error="the patient has no id"),
                    pa.Check(lambda ids: ~ids.duplicated(keep=False), error="the patient has several rows"),
                ],
            ),
            **{name: pa.Column(float, days, nullable=True, coerce=True) for name in ("followup_days", *further[::2])},
            **{name: pa.Column(float, code, nullable=True, coerce=True) for name in ("event", *further[1::2])},
        }
    )
    faults = _pandera_faults(schema, table, text)
    for name in OUTCOME_COLUMNS:
        faults += [
            (row, f"{name}={text[name][row]!r}: {'is missing' if not text[name][row] else 'is no number'}")
            for row in table.index[table[name].isna()]
        ]
    for name in further:
        wrong = table.index[table[name].isna() & (text[name] != "")]
        faults += [(row, f"{name}={text[name][row]!r}: is no number") for row in wrong]
    _refuse(path, faults, lines)
    return table.astype({"event": int})


def site_overlap(cohort: pd.DataFrame, columns: tuple[str, ...] = SITE_COLUMNS) -> pd.DataFrame:
    """Sites and scanners that more than one role shares; no error, but a reader must see it.

    Returns:
        One row per shared value: ``column, value`` and one count of patients per role.
    """
    rows: list[dict[str, Any]] = []
    for name in columns:
        given = cohort[cohort[name] != ""]
        for value, group in given.groupby(name, sort=True):
            counts = group.groupby("role")["patient_id"].nunique()
            if len(counts) > 1:
                rows.append({"column": name, "value": value} | {role: int(counts.get(role, 0)) for role in ROLES})
    return pd.DataFrame(rows, columns=["column", "value", *ROLES])


def patient_table(cohort: pd.DataFrame) -> pd.DataFrame:
    """One row per patient and role: the patient's own columns, the cohort, and sites where they are unique.

    A patient whose slides of one role come from several sites (scanners) has their sorted names joined by `` + ``.
    """
    own = [name for name in cohort.columns if name not in SLIDE_COLUMNS and name != "patient_id"]
    grouped = cohort.groupby(["patient_id", "role"], sort=False)
    table = grouped[own].first() if own else grouped.size().to_frame().iloc[:, :0]
    for name in ("cohort", *SITE_COLUMNS):
        table[name] = grouped[name].agg(lambda values: " + ".join(sorted({value for value in values if value})))
    table["n_slides"] = grouped.size()
    return table.reset_index()


def _read_table(path: Path) -> tuple[pd.DataFrame, list[int]]:
    """The table as text, numbers with a decimal point, and the line of each row in the file."""
    try:
        found = read_sheet_file(path)
    except InputError as error:
        raise CohortError(str(error)) from error
    if found.repeated:
        raise CohortError(f"{path}: the columns {', '.join(sorted(found.repeated))} are there twice")
    table = found.frame.map(plain)
    for name in (*NUMERIC_COLUMNS, "followup_days"):
        if name in table:
            column = read_column(table[name], lines=found.lines)
            if column.kind == NUMBER and column.problem:
                raise CohortError(f"{path}: {name}: {column.problem.split('; say')[0]}; write it with a decimal point")
            if column.note:
                table[name] = [plain(value) for value in column.values]
    return table, found.lines


def _need_columns(table: pd.DataFrame, names: tuple[str, ...], path: Path) -> None:
    missing = [name for name in names if name not in table]
    if missing:
        raise CohortError(
            f"{path}: the columns {', '.join(missing)} are missing; there are {', '.join(map(str, table.columns))}"
        )


Fault = tuple[int, str]  # row number from 0, what is wrong


def _refuse(path: Path, faults: list[Fault], lines: list[int]) -> None:
    if not faults:
        return
    said = [f"  line {lines[row]}: {text}" for row, text in sorted(set(faults))]
    rows = len({row for row, _ in faults})
    raise CohortError("\n".join([f"{path}: {rows} row{'s' if rows > 1 else ''} cannot be used:", *said]))


def _pandera_faults(schema: Any, table: pd.DataFrame, text: pd.DataFrame) -> list[Fault]:
    from pandera.errors import SchemaErrors

    try:
        schema.validate(table, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases
        return [
            (int(row), f"{column}={text[column][row]!r}: {check}")
            for column, check, row in zip(cases["column"], cases["check"], cases["index"], strict=True)
        ]
    return []


def _schema_faults(table: pd.DataFrame) -> list[Fault]:
    """What one row tells by itself."""
    import pandera.pandas as pa

    def filled(name: str) -> Any:
        return pa.Column(str, pa.Check.str_length(min_value=1, error=f"the {name} is missing"))

    def number(values: pd.Series) -> pd.Series:
        return (values == "") | pd.to_numeric(values, errors="coerce").between(*NUMERIC_RANGE)

    columns = {name: filled(name) for name in REQUIRED_COLUMNS}
    columns["role"] = pa.Column(str, pa.Check.isin(ROLES, error=f"must be one of {', '.join(ROLES)}"))
    columns["slide_sha256"] = pa.Column(
        str, pa.Check.str_matches(r"^([0-9a-fA-F]{64})?$", error="is no SHA-256 (64 hexadecimal digits)")
    )
    for name in NUMERIC_COLUMNS:
        if name in table:
            columns[name] = pa.Column(str, pa.Check(number, error="must be a number from 0 to 150, or empty"))
    return _pandera_faults(pa.DataFrameSchema(columns), table, table)


def _name_faults(table: pd.DataFrame) -> list[Fault]:
    """Ids become folder names and joined lists, and must differ by more than case and the way accents are stored."""
    faults = [
        (row, f"slide_id={name!r}: cannot be a folder's name (no / \\ ; and not . or ..)")
        for row, name in enumerate(table["slide_id"])
        if set(name) & set("/\\;") or name in (".", "..")
    ]
    for column in ("patient_id", "slide_id"):
        spellings = table.groupby(table[column].map(spelling))[column].transform("nunique")
        faults += [
            (row, f"{column}={table[column][row]!r}: also written with other upper or lower case, or accents otherwise")
            for row in table.index[(spellings > 1) & (table[column] != "")]
        ]
    return faults


def _duplicate_faults(table: pd.DataFrame) -> list[Fault]:
    """One slide is one row: no id, file or content twice."""
    said = {
        "slide_id": "the id is given to several slides",
        "slide_path": "the same file under several ids",
        "slide_sha256": "the same slide content under several ids",
    }
    faults = []
    for column, text in said.items():
        value = table[column].str.lower() if column == "slide_sha256" else table[column]
        for same, group in table[value != ""].groupby(value[value != ""]):
            if len(group) > 1:
                where = ", ".join(
                    f"{row.slide_id} of {row.patient_id} in {row.role}" for row in group.itertuples(index=False)
                )
                faults += [(row, f"{column}={same!r}: {text} ({where})") for row in group.index]
    return faults


def _same_scan_faults(
    table: pd.DataFrame, folder: Path, known: set[int], on_progress: Callable[[], None]
) -> list[Fault]:
    """No scan is in two roles, whatever its file and id are called there; slides that are absent are not looked at."""
    if table["role"].nunique() < 2:
        return []
    paths = {str(row): _absolute(str(table["slide_path"][row]), folder) for row in table.index if row not in known}
    faults = []
    for group in same_scans(paths, on_progress):
        members = [int(row) for row in group]
        if table.loc[members, "role"].nunique() > 1:
            where = ", ".join(
                f"{table['slide_id'][row]} of {table['patient_id'][row]} in {table['role'][row]}" for row in members
            )
            text = f"the same scan in several roles ({where}): their files have the same content; one of them is wrong"
            faults += [(row, f"slide_path={table['slide_path'][row]!r}: {text}") for row in members]
    return faults


def _patient_faults(table: pd.DataFrame) -> list[Fault]:
    """A patient's own columns agree over the patient's rows."""
    faults = []
    own = [name for name in table.columns if name not in SLIDE_COLUMNS and name != "patient_id"]
    for name in own:
        differing = table.groupby("patient_id")[name].transform("nunique") > 1
        for row in table.index[differing & (table["patient_id"] != "")]:
            patient = table["patient_id"][row]
            values = sorted(set(table.loc[table["patient_id"] == patient, name]))
            faults.append((row, f"{name}={table[name][row]!r}: patient {patient} has contradicting rows {values}"))
    return faults


def _overlap_faults(table: pd.DataFrame, pairs: set[frozenset[str]], patients: set[str]) -> list[Fault]:
    """A patient in two roles needs a declaration, and another block in each of them."""
    faults = []
    several = table.groupby("patient_id")["role"].transform("nunique") > 1
    for patient in sorted(set(table.loc[several & (table["patient_id"] != ""), "patient_id"])):
        group = table[table["patient_id"] == patient]
        for one, other in itertools.combinations(sorted(set(group["role"])), 2):
            rows = group[group["role"].isin((one, other))]
            if frozenset((one, other)) not in pairs or patient not in patients:
                text = f"patient {patient} is in {one} and in {other}, and no declared overlap allows it"
                faults += [(row, text) for row in rows.index]
                continue
            shared = set(rows.loc[rows["role"] == one, "block_id"]) & set(rows.loc[rows["role"] == other, "block_id"])
            faults += [
                (row, f"block {rows['block_id'][row]} of patient {patient} is in {one} and in {other}")
                for row in rows.index[rows["block_id"].isin(shared - {""})]
            ]
    return faults


def _absolute(value: str, folder: Path, resolved: bool = True) -> str:
    if not value:
        return ""
    path = folder / value
    return str(path.resolve() if resolved else path.absolute())
