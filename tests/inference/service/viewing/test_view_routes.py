"""Slides on the page through a running service: to whom, what, what is put on record, and what is refused."""

import asyncio
import http.client
import io
import os
import time
from concurrent.futures import Future
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from PIL import Image

from pathoprog.errors import SlideError
from pathoprog.inference.service.access.principal import AccessError
from pathoprog.inference.service.records.audit_check import verify
from pathoprog.inference.service.viewing import reader_child
from pathoprog.inference.service.viewing.slide_readers import CrowdedError
from pathoprog.inference.service.viewing.slide_viewing import ClientGoneError, SlideViewing, answered
from pathoprog.inference.service.viewing.viewing_config import ViewingSettings
from pathoprog.inference.service.work.desk import AbsentError, ConflictError
from pathoprog.slides.opening import open_slide


@pytest.fixture(scope="module")
def shown(service):
    """A and B, scored, in shadow; and C, which is not reportable."""
    ids = service.listed()
    found = {name: service.submit(ids[f"{name}.tif"]).json["id"] for name in "ABC"}
    for one in found.values():
        service.ended(one)
    return found


def pixels(body):
    return np.asarray(Image.open(io.BytesIO(body))).astype(int)


def test_a_slide_is_told_and_shown_in_tiles(service, shown):
    path = f"/v1/submissions/{shown['A']}/view"
    told = service.ask("GET", path, role="viewer")
    assert told.status == 200, told.body
    assert (told.json["width"], told.json["height"], told.json["max_level"], told.json["min_level"]) == (500, 400, 9, 0)
    assert told.json["mpp_x"] == pytest.approx(0.25) and told.json["note"] == ""
    with open_slide(service.slides / "A.tif") as slide:
        own = slide.read_region(256, 256, 0, (244, 144)).astype(int)
    answer = service.ask("GET", f"{path}/9/1_1.jpg", role="viewer")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/jpeg")
    assert answer.headers["cache-control"] == "no-store"
    assert np.abs(pixels(answer.body) - own).mean() < 1.5
    region = service.ask("GET", f"{path}/region?x0=100&y0=100&width=200&height=100&px=50", role="viewer")
    assert pixels(region.body).shape == (25, 50, 3)


def test_what_is_not_there_is_a_problem_in_words(service, shown):
    path = f"/v1/submissions/{shown['A']}/view"
    for wrong, status in (("/9/9_9.jpg", 404), ("/9/-1_0.jpg", 422), ("/label.jpg", 404), ("/maps/10x/depth.png", 422)):
        answer = service.ask("GET", f"{path}{wrong}", role="admin")
        assert answer.status == status and answer.headers["content-type"] == "application/problem+json", wrong
    assert service.ask("GET", "/v1/submissions/nobody-knows/view", role="admin").status == 404
    assert service.ask("GET", path, role="").status == 401


def test_maps_in_shadow_are_withheld_and_the_slide_is_not(service, shown):
    path = f"/v1/submissions/{shown['A']}/view"
    for role in ("viewer", "operator", "reviewer"):
        assert service.ask("GET", path, role=role).status == 200
        for part in ("/overlays", "/maps/10x/score.png"):
            refused = service.ask("GET", f"{path}{part}", role=role)
            assert refused.status == 403 and "shadow" in refused.json["detail"]
    told = service.ask("GET", f"{path}/overlays", role="evaluator").json
    assert {one["resolution"] for one in told["maps"]} == {"10x", "40x"} and "cause" in told["caption"]
    for one in told["maps"]:
        answer = service.ask("GET", f"{path}/maps/{one['resolution']}/{one['measure']}.png", role="evaluator")
        picture = Image.open(io.BytesIO(answer.body)).convert("RGBA")
        assert picture.size == (one["columns"], one["rows"])
        assert (np.asarray(picture)[..., 3] > 0).sum() == one["n_tiles"]
    coarse = service.ask("GET", f"/v1/submissions/{shown['C']}/view/maps/40x/score.png", role="evaluator")
    assert coarse.status == 404, "a slide without 40x has no such map"


def test_who_looks_is_on_record_once_and_tiles_are_not_counted_as_requests(service, shown):
    path = f"/v1/submissions/{shown['A']}/view"
    for _ in range(150):
        assert service.ask("GET", f"{path}/9/0_0.jpg", role="operator").status == 200
    assert service.ask("GET", "/v1/me", role="operator").status == 200
    log = (service.state / "audit.jsonl").read_text().splitlines()
    lines = [line for line in log if '"slide_viewed"' in line and '"the-operator"' in line]
    assert len(lines) == 1 and verify(service.state / "audit.jsonl").whole


def test_clients_that_go_leave_room_for_others(service, shown):
    """With the readers stopped, one name fills its half of the queue; its clients go, and it is heard again."""
    path = f"/v1/submissions/{shown['A']}/view/region?y0=0&width=90&height=90&px=64&x0="
    assert service.ask("GET", f"{path}0", role="viewer").status == 200
    stopped, waiting = {}, []

    def one_more():
        for one in psutil.Process(service.process.pid).children():  # one that has only begun may still take a request
            if reader_child.__name__ in " ".join(one.cmdline()):
                one.suspend()
                stopped[one.pid] = one
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
        waiting.append(connection)
        headers = {"Authorization": f"Bearer {service.tokens['viewer']}"}
        connection.request("GET", f"{path}{len(waiting)}", headers=headers)

    def is_full():
        one_more()
        return not waits(service, f"{path}399")

    try:
        for _ in range(ViewingSettings().readers + ViewingSettings().waiting // 2 - 1):
            one_more()
        until(is_full)
        assert service.ask("GET", f"{path}0", role="viewer").status == 200, "what was shown lately is in memory"
        for connection in waiting:
            connection.close()
        until(lambda: waits(service, f"{path}400"))
    finally:
        for connection in waiting:
            connection.close()
        for one in stopped.values():
            with suppress(psutil.NoSuchProcess):
                one.resume()
    assert service.ask("GET", f"{path}401", role="viewer").status == 200


def waits(service, path):
    """Whether a request waits for its answer while the readers are stopped; else it is turned away."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=0.5)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {service.tokens['viewer']}"})
        return connection.getresponse().status != 429
    except TimeoutError:
        return True
    finally:
        connection.close()


def until(true, seconds=30.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_slide_whose_file_changed_since_it_was_scored_is_refused(service, shown):
    slide, submission = service.slides / "B.tif", shown["B"]
    path = f"/v1/submissions/{submission}/view"
    assert service.ask("GET", path, role="viewer").status == 200
    os.utime(slide, ns=(10**18, 10**18))
    refused = service.ask("GET", path, role="viewer")
    assert refused.status == 409 and "changed since it was scored" in refused.json["detail"]
    assert str(service.slides) not in refused.json["detail"]
    slide.unlink()
    gone = service.ask("GET", path, role="viewer")
    assert gone.status == 404 and "gone" in gone.json["detail"]


class StubReaders:
    """Keeps who was let go."""

    def __init__(self):
        self.gone = []

    def let_go(self, promise):
        self.gone.append(promise)


def stub_request(gone):
    async def body():
        return b""

    async def is_disconnected():
        return gone

    return SimpleNamespace(body=body, is_disconnected=is_disconnected)


def raising(error):
    def ask():
        raise error

    return ask


def promised(error):
    promise = Future()
    promise.set_exception(error)
    return lambda: promise


def run(coroutine):
    return asyncio.run(coroutine)


def test_what_a_client_no_longer_waits_for_is_let_go():
    readers, promise = StubReaders(), Future()
    with pytest.raises(ClientGoneError):
        run(answered(stub_request(gone=True), readers, lambda: promise))
    assert readers.gone == [promise]


@pytest.mark.parametrize(
    ("asked", "kind", "status"),
    [
        (raising(CrowdedError(own=True)), AccessError, 429),
        (raising(CrowdedError(own=False)), AccessError, 503),
        (promised(SlideError("the file is gone", "missing")), AbsentError, 0),
        (promised(SlideError("the file has changed since it was scored", "changed")), ConflictError, 0),
    ],
)
def test_what_readers_say_becomes_a_problem(asked, kind, status):
    with pytest.raises(kind) as caught:
        run(answered(stub_request(gone=False), StubReaders(), asked))
    if status:
        assert caught.value.status == status and caught.value.retry_after > 0


def test_a_place_is_asked_for_anew_when_the_submission_changes():
    viewing, asked = SlideViewing(ViewingSettings()), []

    async def ask():
        asked.append(1)
        return len(asked)

    first, changed = SimpleNamespace(id="s", state=1), SimpleNamespace(id="s", state=2)
    assert [run(viewing.place(one, ask)) for one in (first, first, changed, changed)] == [1, 1, 2, 2]
    assert viewing.unrecorded("ann", "s") and not viewing.unrecorded("ann", "s") and viewing.unrecorded("ben", "s")
    viewing.off_record("ann", "s")
    assert viewing.unrecorded("ann", "s")
