"""Where a slide lies for the page: by the map of pseudonyms, as it was scored, and never the file of another result."""

from dataclasses import replace

import pytest
from made_desk import MadeDesk

from pathoprog.inference.service.viewing.located import place_of
from pathoprog.inference.service.work.desk import AbsentError, ConflictError
from pathoprog.inference.service.work.service_ledger import SOURCE
from pathoprog.inference.service.work.submissions import DONE, SUPERSEDED
from pathoprog.inference.slides.pseudonyms import pseudonym

LOOK = "f" * 64


@pytest.fixture
def made(bundle, tmp_path):
    one = MadeDesk(tmp_path / "state", bundle)
    yield one
    one.close()


def located(made, submission, staging=None):
    return place_of(made.desk, made.settings, made.names, staging, made.desk.of(submission))


def score(made, submission, key="key"):
    """As if a worker had scored it."""
    one = made.desk.of(submission)
    (job,) = made.ledger.lease(made.lane.key, 1, alone=True)
    assert made.ledger.commit(job, "done", key, "", "{}", lambda: None)
    made.desk.put(one, replace(one.works[0], state=DONE, result_key=key))


def test_a_slide_is_held_against_what_it_looked_like_when_it_was_scored(made):
    one = made.submit("A")
    assert (located(made, one).path, located(made, one).source) == ("/scans/A.tif", ""), "not scored yet"
    made.admit(one, source=LOOK)
    score(made, one)
    found = located(made, one)
    assert (found.path, found.source, found.key) == ("/scans/A.tif", LOOK, b"")
    assert found.roots == (made.settings.roots[0].folder,)


def test_a_slide_with_a_pseudonym_lies_where_the_map_says(made):
    one = made.submit_hidden("/scans/Nordmann_Ola.tif")
    made.admit(one, source=LOOK)
    score(made, one)
    found = located(made, one)
    assert found.path == "/scans/Nordmann_Ola.tif" and found.key == made.names.key
    assert found.source == pseudonym(found.key, SOURCE, LOOK) and "key" not in repr(found)
    made.names.pseudonyms.forget({made.store.slide_file(made.desk.of(one)).file})
    with pytest.raises(AbsentError, match="is not known"):
        located(made, one)


class StubStaging:
    """Copies by what their slides are called."""

    def __init__(self, copies):
        self.copies = copies

    def whole(self, known_as):
        return self.copies.get(known_as, "")


def test_a_local_copy_is_shown_while_it_is_there_and_then_the_file_on_the_share(made):
    for route in made.settings.routes:
        route.staged = True
    given, hidden = made.submit("A"), made.submit_hidden("/scans/B.tif")
    files = {one: made.store.slide_file(made.desk.of(one)).file for one in (given, hidden)}
    made.asked.waiting[0] = replace(
        made.asked.waiting[0], slide=replace(made.asked.waiting[0].slide, path="/staging/A.tif")
    )
    for one, key in ((given, "a"), (hidden, "b")):
        made.admit(one, source=LOOK)
        score(made, one, key)
    staging = StubStaging({files[given]: "/staging/A.tif", files[hidden]: "/staging/B.tif"})
    found = located(made, given, staging)
    assert (found.path, found.source) == ("/staging/A.tif", LOOK)
    found = located(made, hidden, staging)
    assert (found.path, found.source) == ("/staging/B.tif", pseudonym(made.names.key, SOURCE, LOOK))
    for one, path in ((given, "/scans/A.tif"), (hidden, "/scans/B.tif")):
        found = located(made, one, StubStaging({}))
        assert (found.path, found.source) == (path, ""), "there is nothing to hold it against"


def test_the_file_of_another_result_is_not_shown(made):
    one = made.submit("A")
    made.admit(one, source=LOOK)
    score(made, one)
    again = made.submit("A")
    made.admit(again, source="e" * 64)
    with pytest.raises(ConflictError, match="being scored again"):
        located(made, one)
    old = made.desk.of(one)
    made.desk.put(old, replace(old.works[0], state=SUPERSEDED, reason=f"the slide was scored again as {again}"))
    with pytest.raises(ConflictError, match=f"scored again as {again}"):
        located(made, one)
