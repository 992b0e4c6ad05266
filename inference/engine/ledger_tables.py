"""The tables of the ledger's SQLite file, and the version of them."""

import json
import sqlite3

from pathoprog.inference.slides.jobs import Job

SCHEMA = 1

TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
    job_id INTEGER PRIMARY KEY,
    slide_id TEXT NOT NULL,
    config TEXT NOT NULL,              -- hash of bundle, scoring configuration and preprocessing
    path TEXT NOT NULL,
    source TEXT NOT NULL,              -- hash of path, names, sizes, times and outline: changed means another slide
    request TEXT NOT NULL,             -- JSON: whose slide it is
    state TEXT NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    tries INTEGER NOT NULL DEFAULT 0,  -- failed tries whose cause may pass
    deaths INTEGER NOT NULL DEFAULT 0, -- workers that died with it
    owner TEXT NOT NULL DEFAULT '',
    boot TEXT NOT NULL DEFAULT '',     -- the clock's epoch: monotonic times of another boot mean nothing
    lease_until REAL NOT NULL DEFAULT 0,
    not_before REAL NOT NULL DEFAULT 0,
    result_key TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',
    updated_at TEXT NOT NULL,
    UNIQUE (slide_id, config)
);
CREATE TABLE IF NOT EXISTS results (
    result_key TEXT PRIMARY KEY,
    slide_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    result TEXT NOT NULL,              -- result.json
    committed_at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (config, state);
CREATE INDEX IF NOT EXISTS jobs_by_key ON jobs (config, result_key);
"""

RUN = "CREATE TEMP TABLE run (config TEXT, slide_id TEXT, place INTEGER, PRIMARY KEY (config, slide_id))"
"""The slides that this process works on, in their order; no other sees it."""


def job_of(row: sqlite3.Row) -> Job:
    """A job from its row."""
    names = ("job_id", "slide_id", "config", "path", "source", "state", "attempt", "tries", "deaths", "result_key")
    return Job(**{name: row[name] for name in names}, request=json.loads(row["request"]), reason=row["reason"])
