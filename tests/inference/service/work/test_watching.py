"""What a watched folder's look brings about, without threads: submitted, refused, made to wait, or known already."""

from concurrent.futures import Future

import pytest

from pathoprog.errors import ConfigError
from pathoprog.inference.service.intake.intake_config import PatientRule, WatchSettings
from pathoprog.inference.service.intake.watch_records import SeenSlide, WatchFault, WatchRound
from pathoprog.inference.service.names import Names
from pathoprog.inference.service.work.watching import WatchedFolder
from pathoprog.slides.config import SlideSettings

PATH = "/scans/LINDQVIST/26H04711-A1.svs"
PARTS = ("/scans/LINDQVIST/26H04712-A1.mrxs", "/scans/LINDQVIST/26H04712-A1/Data0000.dat")


class Now:
    """A conductor that does at once what it is asked for."""

    def __init__(self, desk):
        self.desk = desk

    def ask(self, what):
        future = Future()
        try:
            future.set_result(what())
        except Exception as error:
            future.set_exception(error)
        return future


def watching(made, tmp_path, **rule):
    """Of the route with pseudonyms, by this rule for patients; as after a start."""
    route = made.desk.routes["hidden"]
    route.patients = PatientRule(**rule)
    names = Names(made.settings.routes, tmp_path / "state" / "pseudonyms.key", made.names.pseudonyms.file)
    made.desk._names = names.paths
    folder = WatchedFolder(
        WatchSettings(folder="/scans", route="hidden"), route, SlideSettings(), Now(made.desk), names
    )
    folder._taken = made.store.taken("hidden")
    return folder


def seen(path=PATH, signature="10-a:1-2", files=()):
    return SeenSlide(path, signature, 10, files or (path,))


def look(folder, *slides, faults=()):
    folder._take(WatchRound(ready=slides, faults=faults))


def states(made):
    return [one.state for one in made.store.submissions()]


def test_a_slide_is_submitted_with_all_its_files_and_known_after_a_restart(made, tmp_path):
    look(watching(made, tmp_path), seen(PARTS[0], files=PARTS))
    asked = made.asked.waiting[-1]
    assert (asked.slide.path, asked.files) == (PARTS[0], PARTS)
    look(watching(made, tmp_path), seen(PARTS[0], files=PARTS))
    assert states(made) == ["received"]
    look(watching(made, tmp_path), seen(PARTS[0], "11-b:1-2", PARTS))
    assert states(made) == ["received"] and len(made.asked.waiting) == 2, "it is looked at anew: it has changed"


def test_a_taken_slide_whose_row_the_map_lost_is_not_taken_twice_and_has_it_again(made, tmp_path):
    look(watching(made, tmp_path), seen(PARTS[0], files=PARTS))
    names = [made.names.name("hidden", part) for part in PARTS]
    made.names.pseudonyms.forget(names)
    folder = watching(made, tmp_path)
    assert [folder._names.paths.path(name) for name in names] == ["", ""]
    look(folder, seen(PARTS[0], files=PARTS))
    assert states(made) == ["received"] and [folder._names.paths.path(name) for name in names] == list(PARTS)


def test_what_was_refused_and_what_cannot_be_taken_is_found_by_the_map(made, tmp_path):
    folder = watching(made, tmp_path, pattern=r"(?P<patient>P\d+)", unknown_patient="fail")
    look(folder, seen(), faults=[WatchFault("/scans/LINDQVIST/26H04799.svs", "an empty file")])
    assert states(made) == ["failed"]
    (one,) = made.store.submissions()
    assert folder._names.of_case("26H04711-A1")[0] == [one.slide_id]
    event = next(event for event in made.store.events(0, 10) if event.kind == "watch")
    assert folder._names.of_case("26H04799")[0] == [event.slide_id]
    made.orders.requeue(one.id)
    assert made.asked.waiting[-1].slide.path == PATH


def test_a_slide_waits_for_its_patient_over_a_restart(made, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("file,patient_id\nx.svs,P1\n")
    look(watching(made, tmp_path, table=str(table), settle_s=0), seen())
    assert states(made) == [] and made.store.taken("hidden") == {}
    table.write_text("file,patient_id\nx.svs,P1\n26H04711-A1.svs,26H04711\n")
    folder = watching(made, tmp_path, table=str(table), settle_s=0)
    look(folder, seen())
    (one,) = made.store.submissions()
    assert one.patient_id == folder._names.of_case("26H04711")[1][0]
    assert made.asked.waiting[-1].slide.given_patient_id == "26H04711"


def test_a_map_that_cannot_be_written_keeps_a_slide_waiting_and_the_folder_watched(made, tmp_path, monkeypatch, capsys):
    folder = watching(made, tmp_path)

    def full(rows):
        raise ConfigError("the map of pseudonyms cannot be written (No space left on device)")

    fault = WatchFault("/scans/LINDQVIST/26H04799.svs", "an empty file")
    with monkeypatch.context() as patch:
        patch.setattr(folder._names.pseudonyms, "add", full)
        look(folder, seen(), faults=[fault])
    said = capsys.readouterr().err
    assert states(made) == [] and "No space left" in said and "LINDQVIST" not in said and "26H04711" not in said
    look(folder)
    assert states(made) == ["received"]


@pytest.mark.parametrize("ids", ["given", "pseudonym"])
def test_a_file_of_the_same_name_in_another_folder_fails_under_an_id_of_its_own(made, tmp_path, ids):
    look(watching(made, tmp_path, ids=ids), seen(), seen("/scans/b/26H04711-A1.svs", "9-c:1-9"))
    first, second = made.store.submissions()
    assert second.slide_id == f"{first.slide_id} (2)" and states(made) == ["received", "failed"]
    assert second.reason.startswith("another file is known as slide")
