"""Does the service lose nothing and answer quickly while everything is killed? Many submissions, clients and kills.

    python benchmarks/service_load.py [--slides 1000] [--clients 20] [--kills 6]

A service on a small made bundle gets `--slides` distinct tiny slides over REST, each with an Idempotency-Key, from
`--clients` that then ask for states, while one listens to events, and at random times a reader, a worker or the whole
service gets SIGKILL; whoever was cut off asks again. A slide with which two workers were killed is failed by rule, and
requeued at the end. Then every slide must have exactly one result, whole on the disk, and every submission be done.
Printed: the time, the 50th and 95th percentile of status calls, of the service that is up. Exit code 1 if anything was
lost or doubled.
"""

import argparse
import json
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from made_bundle import made_bundle
from made_service import MadeService
from made_slides import texture, write_pyramid
from score_speed import cpu_name

from pathoprog.scoring.results import read_slide
from pathoprog.system.machine.cores import cores

DONE = ("done", "not_reportable", "failed")
VICTIM_S = 30.0


@dataclass
class Load:
    """What the clients found: seconds of each status call, answers by status, submissions by slide, events heard."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    submitted: dict[str, str] = field(default_factory=dict)
    heard: set[str] = field(default_factory=set)
    cut_off: int = 0
    over: threading.Event = field(default_factory=threading.Event)


def client(made: MadeService, load: Load, mine: list[tuple[str, str]]) -> None:
    """Submit one's slides, then ask for their states until the end."""
    left, rng = list(mine), random.Random(mine[0][0] if mine else "")  # noqa: S311 - no secret
    while not load.over.is_set():
        try:
            if left:
                name, slide = left[-1]
                answer = made.ask(
                    "POST", "/v1/submissions", {"route": "colon", "slide": slide}, Idempotency_Key=f"load-{name}"
                )
                load.statuses[answer.status] += 1
                if answer.status in (200, 201):
                    load.submitted[name] = answer.json["id"]
                    left.pop()
                continue
            began = time.perf_counter()
            one = rng.choice(list(load.submitted.values()))
            answer = made.ask("GET", f"/v1/submissions/{one}", role="viewer")
            load.seconds.append(time.perf_counter() - began)
            load.statuses[answer.status] += 1
            time.sleep(0.2)
        except (OSError, HTTPException):
            load.cut_off += 1
            time.sleep(0.2)


def listener(made: MadeService, load: Load) -> None:
    """Listen to events from where one was, again after each cut."""
    last = 0
    while not load.over.is_set():
        connection = HTTPConnection("127.0.0.1", made.port, timeout=20)
        try:
            headers = {"Authorization": f"Bearer {made.tokens['admin']}", "Last-Event-ID": str(last)}
            connection.request("GET", "/v1/events", headers=headers)
            answer = connection.getresponse()
            for line in answer:
                if line.startswith(b"data: "):
                    event = json.loads(line[6:])
                    last = event["seq"]
                    if event["kind"] in DONE:
                        load.heard.add(event["submission"])
                if load.over.is_set():
                    return
        except (OSError, HTTPException, ValueError):
            time.sleep(0.2)
        finally:
            connection.close()


def kill_one(made: MadeService, rng: random.Random) -> str:
    """SIGKILL for a reader, a worker or the service, which is then started again; waits until there is such a one."""
    assert made.process is not None
    what = rng.choice(("reader", "worker", "service"))
    if what == "service":
        made.stop(signal.SIGKILL)
        made.start()
        return what
    end = time.monotonic() + VICTIM_S
    while time.monotonic() < end:  # after a kill the next worker takes seconds to load its networks
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(made.process.pid).children()
            workers = [one for one in children if "engine.worker" in command_of(one)]
            victims = workers if what == "worker" else [one for worker in workers for one in worker.children()]
            if victims:
                rng.choice(victims).kill()
                return what
        time.sleep(0.2)
    return "nobody"


def command_of(process: psutil.Process) -> str:
    """Its command line; empty where it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def run(folder: Path, n_slides: int, n_clients: int, n_kills: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """One run; returns what was lost or doubled, and the lines to print."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    bundle = made_bundle(folder / "locked" / "bundle", 64)
    made = MadeService(folder / "service", bundle)
    made.settings["access"] = {"requests_per_minute": 1e5, "requests_at_once": 1000}
    first = write_pyramid(folder / "one.tif", texture(200, 160, margin=20), levels=1).read_bytes()
    for number in range(n_slides):  # bytes behind the file's end: the same picture, another slide
        (made.slides / f"S{number:05d}.tif").write_bytes(first + number.to_bytes(8, "big"))
    made.start()
    listed: dict[str, str] = {}
    after = ""
    while True:
        page = made.ask("GET", f"/v1/slides?root=scans&limit=200{f'&after={after}' if after else ''}").json
        listed |= {slide["file_name"]: slide["id"] for slide in page["slides"]}
        after = page["next"]
        if not after:
            break
    load, slides = Load(), sorted(listed.items())
    threads = [
        threading.Thread(target=client, args=(made, load, slides[number::n_clients]), daemon=True)
        for number in range(n_clients)
    ]
    threads.append(threading.Thread(target=listener, args=(made, load), daemon=True))
    began = time.monotonic()
    for thread in threads:
        thread.start()
    killed: Counter[str] = Counter()
    next_kill = time.monotonic() + 5
    while True:
        time.sleep(0.5)
        if n_kills and time.monotonic() > next_kill:
            killed[kill_one(made, rng)] += 1
            n_kills -= 1
            next_kill = time.monotonic() + rng.uniform(4, 12)
        if made.process is None or made.process.poll() is not None:
            raise SystemExit(f"the service ended by itself: {(made.folder / 'log.txt').read_text()[-2000:]}")
        counts = made.ask("GET", "/v1/submissions?limit=1", role="admin").json["counts"]
        if len(load.submitted) == n_slides and sum(counts.get(state, 0) for state in DONE) >= n_slides and not n_kills:
            break
    seconds = time.monotonic() - began
    requeued = requeue_killed(made)
    time.sleep(2)
    load.over.set()
    for thread in threads:
        thread.join(30)
    made.stop()
    faults = found_wrong(made, load, n_slides)
    calls = np.array(load.seconds) * 1e3
    p50, p95 = np.percentile(calls, [50, 95]) if len(calls) else (np.nan, np.nan)
    lines = [
        f"{cpu_name()}, {cores()} cores; {n_slides} slides, {n_clients} clients and a listener",
        f"killed: {dict(killed)}; {load.cut_off} calls were cut off; answers by status {dict(load.statuses)};"
        f" {requeued} slides had two workers killed with them, were failed by rule and requeued",
        f"{seconds:.1f} s, {n_slides / seconds:.1f} slides/s",
        f"{len(calls)} status calls while scoring went on: p50 {p50:.1f} ms, p95 {p95:.1f} ms",
    ]
    return faults, lines


def requeue_killed(made: MadeService) -> int:
    """Do what a person does with slides in whose hands two workers were killed, which are failed by rule."""
    failed = made.ask("GET", "/v1/submissions?state=failed&limit=200", role="admin").json["submissions"]
    killed = [one["id"] for one in failed if "worker" in one["reason"]]
    for one in killed:
        made.ask("POST", f"/v1/submissions/{one}/requeue", role="admin")
    for one in killed:
        made.ended(one)
    return len(killed)


def found_wrong(made: MadeService, load: Load, n_slides: int) -> list[str]:
    """What was lost or doubled."""
    faults = []
    store = sqlite3.connect(made.state / "service.sqlite")
    rows = store.execute("SELECT slide_id, state FROM submissions JOIN works USING (seq)").fetchall()
    ledger = sqlite3.connect(made.state / "ledger.sqlite")
    keys = dict(ledger.execute("SELECT slide_id, result_key FROM jobs WHERE state = 'done'").fetchall())
    n_results = ledger.execute("SELECT count(*) FROM results").fetchone()[0]
    per_slide = Counter(slide for slide, _ in rows)
    if len(per_slide) != n_slides or max(per_slide.values()) > 1:
        faults.append(f"{len(per_slide)} slides submitted, up to {max(per_slide.values())} times, not {n_slides} once")
    states = Counter(state for _, state in rows)
    if states["done"] + states["not_reportable"] != n_slides:
        faults.append(f"states {dict(states)}")
    if n_results != n_slides:
        faults.append(f"{n_results} results in the ledger, not {n_slides}")
    for slide_id in per_slide:
        found = read_slide(made.out / "colon" / "slides", slide_id)
        if found is None or found[0].result_key != keys.get(slide_id):
            faults.append(f"{slide_id}: no whole result of the ledger's key on the disk")
    missed = set(load.submitted.values()) - load.heard
    if missed:
        faults.append(f"the listener heard of {len(load.heard)} ends, {len(missed)} were missed")
    leftovers = [path.name for path in (made.out / "colon" / "slides").glob(".*")]
    if leftovers:
        faults.append(f"left behind: {leftovers[:5]}")
    return faults


def main(arguments: list[str]) -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="service-load-"))
    try:
        faults, lines = run(folder, given.slides, given.clients, given.kills, given.seed)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("\n".join(lines))
    print("\n".join(f"LOST OR DOUBLED: {fault}" for fault in faults) or "nothing lost, exactly one result each")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
