"""The service's file from one version to the next: work goes on, paths leave for the map, newer files are refused."""

import json
import sqlite3

import pytest
from made_desk import KEY, MadeDesk
from made_old_state import SENT_BODY, SENT_KEY, old_ledger, old_store, slide_name

from pathoprog.errors import ConfigError, InputError
from pathoprog.inference.engine.ledger import WriteError
from pathoprog.inference.service.config import RouteSettings
from pathoprog.inference.service.intake.intake_config import PatientRule
from pathoprog.inference.service.intake.path_names import PathNames
from pathoprog.inference.service.intake.pseudonym_map import PseudonymMap
from pathoprog.inference.service.work.store import Store
from pathoprog.inference.service.work.store_tables import REQUEST_BODY, REQUEST_KEY, SCHEMA
from pathoprog.inference.slides.pseudonyms import pseudonym

FOLDER = "/scans/LINDQVIST Anna"
QUEUED, REFUSED, GONE_ROUTE = (f"{FOLDER}/26H0471{n}-A1.svs" for n in (1, 2, 3))
GIVEN = "/scans/open/26K9-A1.svs"
MIRAX = f"{FOLDER}/26H04714-B1.mrxs"
PARTS = [MIRAX, f"{FOLDER}/26H04714-B1/Data0000.dat"]
NAMES = (b"LINDQVIST", b"26H0471", b"/scans/LIND")
LEFT = b"26K9"  # of a route whose ids are as given


def rows(n_more=0):
    """Submissions of a file of version 1; with many more its pages are split and moved."""
    found = [
        ("hidden", slide_name(KEY, "26H04711-A1"), QUEUED, [QUEUED], "waiting", "12-ab:1-2"),
        ("hidden", slide_name(KEY, "26H04712-A1"), REFUSED, [REFUSED], "failed", "13-ab:1-3"),
        ("gone", slide_name(KEY, "26H04713-A1"), GONE_ROUTE, [], "waiting", ""),
        ("colon", "26K9-A1", GIVEN, [GIVEN], "waiting", "14-ab:1-4"),
        ("hidden", slide_name(KEY, "26H04714-B1"), MIRAX, PARTS, "waiting", "15-ab:1-5"),
        ("hidden", f"{slide_name(KEY, '26H04711-A1')} (2)", f"{FOLDER}/b/26H04711-A1.svs", [], "failed", "16-ab:1-6"),
    ]
    for n in range(n_more):
        path = f"{FOLDER}/{n % 7:03d}/26H0471{n:05d}-C1.svs"
        found.append(("hidden", slide_name(KEY, f"26H0471{n:05d}-C1"), path, [path], "failed", f"{n}-ab:1-{n}"))
    return found


@pytest.fixture
def old(bundle, tmp_path):
    """The folder of a state of version 1, whose jobs have this bundle's configuration."""
    from pathoprog.inference.service.config import BundleSettings, ServiceSettings
    from pathoprog.inference.service.work.lane import plan_lane

    settings = ServiceSettings(state=str(tmp_path), out=str(tmp_path / "out"))
    config = plan_lane(BundleSettings(name="colon", folder=str(bundle)), settings).plan.config
    state = tmp_path / "state"
    state.mkdir()
    old_store(state / "service.sqlite", rows(600), "colon", config)
    jobs = [(slide, path) for _, slide, path, *_ in rows(600)]
    old_ledger(state / "ledger.sqlite", jobs, config)
    return state


def bytes_of(folder):
    return b"".join(path.read_bytes() for path in folder.iterdir() if path.suffix == ".sqlite")


def test_queued_work_of_version_1_goes_on_and_its_paths_are_in_the_map_alone(old, bundle):
    before = bytes_of(old)
    assert all(name in before for name in NAMES) and SENT_KEY.encode() in before
    made = MadeDesk(old, bundle)
    assert made.store.connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA == 2
    asked = {one.slide.slide_id: one for one in made.asked.waiting}
    first, mirax = asked[slide_name(KEY, "26H04711-A1")], asked[slide_name(KEY, "26H04714-B1")]
    assert (first.slide.path, first.slide.given_id) == (QUEUED, "26H04711-A1")
    assert (mirax.slide.path, mirax.files) == (MIRAX, tuple(PARTS))
    assert asked["26K9-A1"].slide.path == GIVEN and asked["26K9-A1"].slide.given_id == ""
    assert made.state("id3") == "cancelled", "its route is served no longer"
    made.admit("id1", source="cd" * 32)
    (job,) = made.ledger.lease(made.lane.key, 1, alone=True)
    assert (job.slide_id, job.path, job.source) == (slide_name(KEY, "26H04711-A1"), "", "cd" * 32)
    made.desk.given("colon", job.slide_id)
    assert made.ledger.commit(job, "failed", "", "blank", "", print)
    made.desk.done("colon", job.slide_id)
    assert made.state("id1") == "failed"
    requeued = made.orders.requeue("id2")
    assert requeued.state == "received" and made.asked.waiting[-1].slide.path == REFUSED
    made.close()
    after = bytes_of(old)
    assert not [name for name in NAMES if name in after] and LEFT in after
    rows_of_map = PseudonymMap(old / "pseudonyms.csv").rows
    assert rows_of_map[pseudonym(KEY, "file", PARTS[1])][3] == PARTS[1]
    assert rows_of_map[slide_name(KEY, "26H04712-A1")][2:] == ("26H04712-A1", REFUSED), "which had none before"
    again = MadeDesk(old, bundle)
    assert {one.slide.path for one in again.asked.waiting} == {REFUSED, MIRAX, GIVEN}
    again.close()


def test_what_was_taken_and_asked_for_is_known_as_before(old, bundle):
    made = MadeDesk(old, bundle)
    taken = made.store.taken("hidden")
    assert len(taken) == 604 and taken[made.names.name("hidden", QUEUED)] == "12-ab:1-2"
    assert {made.names.path(file) for file in taken} >= {QUEUED, REFUSED, MIRAX}
    assert made.store.taken("colon") == {GIVEN: "14-ab:1-4"}
    hashed = made.names.hashed
    assert made.store.request("me", hashed(REQUEST_KEY, SENT_KEY)) == (hashed(REQUEST_BODY, SENT_BODY), "id1")
    assert made.store.request("me", SENT_KEY) is None
    assert made.store.last_of("hidden", made.names.name("hidden", MIRAX)) == "id5"
    made.close()


def test_a_kill_within_the_upgrade_leaves_version_1_or_version_2(old, bundle, monkeypatch):
    """Before the commit nothing has changed; after it, what is left to do is done at the next start."""
    from pathoprog.inference.service.work import store as module

    whole = (old / "service.sqlite").read_bytes()
    names = PathNames(
        [RouteSettings(name="colon", patients=PatientRule(ids="given"))], KEY, PseudonymMap(old / "m.csv")
    )

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "hide_paths", killed)
        with pytest.raises(KeyboardInterrupt):
            Store(old / "service.sqlite", names)
    assert (old / "service.sqlite").read_bytes() == whole
    with monkeypatch.context() as patch:
        patch.setattr(Store, "_do_chores", killed)
        with pytest.raises(KeyboardInterrupt):
            Store(old / "service.sqlite", names)
    store = Store(old / "service.sqlite", names)
    assert store.connection.execute("SELECT count(*) FROM chores").fetchone()[0] == 0
    store.close()
    after = (old / "service.sqlite").read_bytes()
    assert not [name for name in NAMES if name in after]


def test_without_a_map_to_write_to_nothing_is_changed(old, monkeypatch):
    whole = (old / "service.sqlite").read_bytes()
    names = PathNames([], KEY, PseudonymMap(old / "m.csv"))

    def full(rows):
        raise ConfigError("the map of pseudonyms cannot be written (No space left on device)")

    monkeypatch.setattr(names.pseudonyms, "add", full)
    with pytest.raises(ConfigError, match="No space left"):
        Store(old / "service.sqlite", names)
    assert (old / "service.sqlite").read_bytes() == whole


def test_a_full_disk_leaves_version_1(old, monkeypatch):
    """SQLite's own word for it, at the first write."""
    whole = (old / "service.sqlite").read_bytes()
    names = PathNames([], KEY, PseudonymMap(old / "m.csv"))
    from pathoprog.inference.service.work import store as module

    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(module, "upgrade", full)
    with pytest.raises(WriteError, match="disk is full"):
        Store(old / "service.sqlite", names)
    assert (old / "service.sqlite").read_bytes() == whole


@pytest.mark.parametrize("version", [3, 99])
def test_a_file_of_a_newer_version_is_refused_and_not_touched(made, tmp_path, version):
    path = tmp_path / "newer.sqlite"
    store = Store(path, made.names)
    store.connection.execute(f"PRAGMA user_version={version}")
    store.close()
    before = path.read_bytes()
    with pytest.raises(InputError, match=f"of version {version}, this version of the service reads 2"):
        Store(path, made.names)
    assert path.read_bytes() == before


def test_a_route_that_gives_ids_no_longer_has_its_paths_moved_at_the_next_start(made, bundle, tmp_path):
    one = made.submit("A")
    made.admit(one, source="ab" * 32)
    assert made.ledger.state_of("A", made.lane.key).path == "/scans/A.tif"
    made.close()
    state = tmp_path / "state"
    names = PathNames([], KEY, PseudonymMap(state / "pseudonyms.csv"))
    from pathoprog.inference.service.work.state_files import open_databases

    store, ledger = open_databases(state, names)
    (submission,) = store.submissions()
    assert names.path(store.slide_file(submission).file) == "/scans/A.tif"
    job = ledger.state_of("A", made.lane.key)
    assert (job.path, job.source) == ("", names.hashed("source", "ab" * 32))
    store.close()
    ledger.close()
    assert b"/scans/A.tif" not in bytes_of(state)
    again = MadeDesk(state, bundle)
    assert again.asked.waiting[-1].slide.path == "/scans/A.tif", "and back: the map still says where it lies"
    again.close()


def test_the_names_of_files_in_the_store_are_json_of_pseudonyms(made):
    made.submit_hidden(MIRAX, files=tuple(PARTS))
    (text,) = made.store.connection.execute("SELECT files FROM submissions").fetchone()
    assert json.loads(text) == [pseudonym(KEY, "file", part) for part in PARTS]
