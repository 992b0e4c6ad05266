"""A service's state as version 1 of its file left it, with paths in it; for tests of the upgrade."""

import json
import sqlite3

from pathoprog.inference.engine.ledger import Ledger
from pathoprog.inference.slides.jobs import NewJob
from pathoprog.inference.slides.pseudonyms import pseudonym

VERSION_1 = """
CREATE TABLE submissions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    route TEXT NOT NULL,
    slide_id TEXT NOT NULL,
    patient_id TEXT NOT NULL,
    priority TEXT NOT NULL,
    submitted_by TEXT NOT NULL,
    submitted_at TEXT NOT NULL,
    changed_at TEXT NOT NULL,
    ended_at TEXT NOT NULL DEFAULT '',
    path TEXT NOT NULL,
    source TEXT NOT NULL DEFAULT '',   -- signature of the files as a watched folder saw them
    files TEXT NOT NULL DEFAULT '[]',  -- JSON: all of the slide's, where a watched folder has told them
    traits TEXT NOT NULL               -- JSON: what is known of the slide's eligibility
);
CREATE TABLE works (
    seq INTEGER NOT NULL REFERENCES submissions (seq),
    place INTEGER NOT NULL,            -- 0: the champion's
    bundle TEXT NOT NULL,
    config TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    result_key TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (seq, place)
);
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    submission TEXT NOT NULL,
    slide_id TEXT NOT NULL,
    data TEXT NOT NULL                 -- JSON
);
CREATE TABLE requests (
    principal TEXT NOT NULL,
    key TEXT NOT NULL,                 -- the client's Idempotency-Key
    body_sha256 TEXT NOT NULL,
    submission TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (principal, key)
);
CREATE TABLE releases (
    ensemble_id TEXT PRIMARY KEY,
    released_by TEXT NOT NULL,
    released_at TEXT NOT NULL
);
CREATE TABLE cursors (
    name TEXT PRIMARY KEY,             -- whoever reads events: a webhook
    seq INTEGER NOT NULL
);
CREATE TABLE taken (
    route TEXT NOT NULL,
    path TEXT NOT NULL,
    signature TEXT NOT NULL,           -- of the files when they were taken from a watched folder
    PRIMARY KEY (route, path)
);
CREATE INDEX submissions_by_slide ON submissions (slide_id);
CREATE INDEX submissions_by_path ON submissions (route, path);
"""
"""As version 1 made them."""
SENT_KEY, SENT_BODY = "26H04711-once", "b0" * 32
AT = "2026-12-01T08:00:00+00:00"


def old_store(path, rows, bundle, config):
    """A file of version 1.

    Args:
        path: of it.
        rows: (route, slide_id, path, files, state of its work, signature if it was taken) of each submission.
        bundle: that all are for.
        config: that its jobs are known by.
    """
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA secure_delete=ON")
    database.executescript(VERSION_1)
    database.execute("BEGIN")
    for seq, (route, slide_id, file, files, state, signature) in enumerate(rows, 1):
        database.execute(
            "INSERT INTO submissions VALUES (?, ?, ?, ?, ?, 'routine', 'me', ?, ?, ?, ?, ?, ?, '{}')",
            (seq, f"id{seq}", route, slide_id, slide_id, AT, AT, "", file, signature, json.dumps(files)),
        )
        database.execute("INSERT INTO works VALUES (?, 0, ?, ?, ?, '', '')", (seq, bundle, config, state))
        database.execute(
            "INSERT INTO events (at, kind, submission, slide_id, data) VALUES (?, 'submitted', ?, ?, '{}')",
            (AT, f"id{seq}", slide_id),
        )
        if signature:
            database.execute("INSERT INTO taken VALUES (?, ?, ?)", (route, file, signature))
    database.execute("INSERT INTO requests VALUES ('me', ?, ?, 'id1', ?)", (SENT_KEY, SENT_BODY, AT))
    database.execute("PRAGMA user_version=1")
    database.execute("COMMIT")
    database.close()


def old_ledger(path, rows, config, source="ab" * 32):
    """A ledger as a service kept it then: (slide_id, path) of jobs that wait."""
    ledger = Ledger(path)
    ledger.connection.execute("PRAGMA synchronous=OFF")
    outline = {"patient_id": "P", "outline_path": "/outlines/of Lindqvist/S.geojson", "class_level": "patient"}
    for place, (slide_id, file) in enumerate(rows):
        ledger.admit(NewJob(slide_id, file, source, outline), config, place, anew=True)
    ledger.close()


def slide_name(key, given):
    return pseudonym(key, "slide", given)
