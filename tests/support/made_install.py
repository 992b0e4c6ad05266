"""What an installation is tried on: a made table, a clinical sheet and a scored cohort, and a call for each command."""

from pathlib import Path

import pandas as pd
from made_cohort import make_cohort
from made_sheet import GOOD, HEADER, write_mapping


def core_calls(folder: Path) -> dict[str, list[str]]:
    """Make the inputs in a new folder; the arguments of every command that the core alone runs.

    Tracking is left as it is by default: without MLflow, `validate` has to do without.
    """
    made = make_cohort(folder / "made", development=200, test=20, external=(60,))
    (folder / "sheet.csv").write_text("\n".join([HEADER, *GOOD]) + "\n")
    (folder / "slides").mkdir()
    for row in GOOD:  # read as bytes, for their hash
        (folder / "slides" / f"{row.split(',')[1]}.svs").write_text(row)
    scored = pd.read_csv(made.folder / "scored" / "patients.csv", dtype={"patient_id": str})
    outcomes = pd.read_csv(made.folder / "outcomes.csv", dtype={"patient_id": str})
    table = scored.drop_duplicates("patient_id").merge(outcomes, on="patient_id")
    table[["patient_id", "risk_class", "score_10x", "followup_days", "event"]].to_csv(folder / "table.csv", index=False)
    files = {key: value for key, value in made.settings().items() if isinstance(value, str)}
    shared = {key: files[key] for key in ("scores", "results", "cohort", "outcomes", "overlap", "ensemble")}
    calls: dict[str, dict[str, object]] = {
        "survival": {
            "table": folder / "table.csv",
            "time": "followup_days",
            "event": "event",
            "group": "risk_class",
            "score": "score_10x",
            "unit": "days",
            "bootstrap": 20,
        },
        "cohort": {"table": folder / "sheet.csv", "mapping": write_mapping(folder), "hash_slides": "true"},
        "stage_groups": {**shared, "development": "north,south"},
        "validate": {**shared, "plan": files["plan"], "permutations": 100},
    }
    lines = {
        name: [name, *(f"{key}={value}" for key, value in {**call, "out": folder / "out" / name}.items())]
        for name, call in calls.items()
    }
    state = folder / "state"
    return {
        **lines,
        "init": ["init", str(folder / "out" / "study"), f"table={folder / 'sheet.csv'}"],
        "verify": ["verify", files["ensemble"]],
        "token": ["token", "add", "night-shift", "role=operator", f"state={state}"],
        "audit": ["audit", "verify", str(state / "audit.jsonl")],  # of the line that the token has left
    }
