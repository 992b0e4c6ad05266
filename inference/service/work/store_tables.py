"""The tables of the service's own SQLite file, and how a file of an older version becomes one of this.

Version 1 had paths of slides, and the clients' Idempotency-Keys as they were sent. Since version 2 paths of routes with
pseudonyms stand in their map alone: here a file goes by its keyed hash (`PathNames`), and a client's key likewise.
"""

import json
import sqlite3

from pathoprog.inference.service.intake.path_names import PathNames

SCHEMA = 2
READ = (0, 1, SCHEMA)
"""Versions that are read; 0 is a new file."""

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
    file TEXT NOT NULL,                -- what the slide's file is called: see PathNames
    source TEXT NOT NULL DEFAULT '',   -- signature of the files as a watched folder saw them
    files TEXT NOT NULL DEFAULT '[]',  -- JSON: all of the slide's, where a watched folder has told them; likewise
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
    key TEXT NOT NULL,                 -- keyed hash of the client's Idempotency-Key
    body_sha256 TEXT NOT NULL,         -- keyed hash of the body's SHA-256
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
    file TEXT NOT NULL,                -- what it is called
    signature TEXT NOT NULL,           -- of the files when they were taken from a watched folder
    PRIMARY KEY (route, file)
);
CREATE TABLE IF NOT EXISTS chores (
    name TEXT PRIMARY KEY              -- what is still to be done to this file
);
CREATE TABLE IF NOT EXISTS corrections (
    submission TEXT PRIMARY KEY,       -- a submission that is a slide's correction
    corrects TEXT NOT NULL,            -- the submission with the first result
    slide_id TEXT NOT NULL,            -- of the slide itself: the correction has an id of its own
    outline TEXT NOT NULL,             -- GeoJSON, level-0 px
    sha256 TEXT NOT NULL               -- of the area that it encloses
);
CREATE INDEX IF NOT EXISTS submissions_by_slide ON submissions (slide_id);
CREATE INDEX IF NOT EXISTS submissions_by_file ON submissions (route, file);
CREATE INDEX IF NOT EXISTS submissions_of_file ON submissions (file);
"""
WIPE = "wipe"
"""A chore: write the file anew, so that nothing of what was taken out is left in it."""
REQUEST_KEY, REQUEST_BODY = "key", "body"
"""Kinds of the keyed hashes of requests."""


def upgrade(connection: sqlite3.Connection, names: PathNames) -> None:
    """Make a file of version 1 one of version 2; call within a transaction, which `hide_paths` belongs to.

    Raises:
        ConfigError: the map of pseudonyms cannot be written.
    """
    for table in ("submissions", "taken"):
        connection.execute(f"ALTER TABLE {table} RENAME COLUMN path TO file")
    connection.execute("DROP INDEX IF EXISTS submissions_by_path")
    connection.execute("CREATE TABLE chores (name TEXT PRIMARY KEY)")
    for row, key, body in connection.execute("SELECT rowid, key, body_sha256 FROM requests").fetchall():
        hashes = names.hashed(REQUEST_KEY, key), names.hashed(REQUEST_BODY, body)
        connection.execute("UPDATE requests SET key = ?, body_sha256 = ? WHERE rowid = ?", (*hashes, row))
    connection.execute("INSERT OR IGNORE INTO chores VALUES (?)", (WIPE,))
    connection.execute("PRAGMA user_version=2")


def hide_paths(connection: sqlite3.Connection, names: PathNames) -> None:
    """Move the paths of routes with pseudonyms to the map; call within a transaction.

    Such paths are those of version 1, and of a route that gave ids as they were before. The map has them on the disk
    before they go from here.

    Raises:
        ConfigError: the map of pseudonyms cannot be written.
    """
    found = connection.execute("SELECT seq, route, slide_id, file, files FROM submissions WHERE instr(file, '/')")
    submissions = [row for row in found.fetchall() if names.hides(row[1])]
    found = connection.execute("SELECT rowid, route, file FROM taken WHERE instr(file, '/')")
    taken = [row for row in found.fetchall() if names.hides(row[1])]
    if not submissions and not taken:
        return
    rows = [names.row(path) for _, _, path in taken]
    for _, _, slide_id, path, files in submissions:
        slide = names.slide_row(path)  # one that was refused has none yet; with "(2)" where two files have one name
        rows += [slide] if slide[0] == slide_id.partition(" (")[0] else []
        rows += [names.row(one) for one in (path, *json.loads(files))]
    names.pseudonyms.add(rows)
    for seq, route, _, path, files in submissions:
        called = json.dumps([names.name(route, one) for one in json.loads(files)])
        query = "UPDATE submissions SET file = ?, files = ? WHERE seq = ?"
        connection.execute(query, (names.name(route, path), called, seq))
    for row, route, path in taken:
        connection.execute("UPDATE OR REPLACE taken SET file = ? WHERE rowid = ?", (names.name(route, path), row))
    connection.execute("INSERT OR IGNORE INTO chores VALUES (?)", (WIPE,))
