"""The tables of the service's own SQLite file, and how a file of an older version becomes one of this."""

SCHEMA = 1

TABLES = """
CREATE TABLE IF NOT EXISTS submissions (
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
CREATE TABLE IF NOT EXISTS works (
    seq INTEGER NOT NULL REFERENCES submissions (seq),
    place INTEGER NOT NULL,            -- 0: the champion's
    bundle TEXT NOT NULL,
    config TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    result_key TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (seq, place)
);
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    submission TEXT NOT NULL,
    slide_id TEXT NOT NULL,
    data TEXT NOT NULL                 -- JSON
);
CREATE TABLE IF NOT EXISTS requests (
    principal TEXT NOT NULL,
    key TEXT NOT NULL,                 -- the client's Idempotency-Key
    body_sha256 TEXT NOT NULL,
    submission TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (principal, key)
);
CREATE TABLE IF NOT EXISTS releases (
    ensemble_id TEXT PRIMARY KEY,
    released_by TEXT NOT NULL,
    released_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS cursors (
    name TEXT PRIMARY KEY,             -- whoever reads events: a webhook
    seq INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS taken (
    route TEXT NOT NULL,
    path TEXT NOT NULL,
    signature TEXT NOT NULL,           -- of the files when they were taken from a watched folder
    PRIMARY KEY (route, path)
);
CREATE INDEX IF NOT EXISTS submissions_by_slide ON submissions (slide_id);
CREATE INDEX IF NOT EXISTS submissions_by_path ON submissions (route, path);
"""
