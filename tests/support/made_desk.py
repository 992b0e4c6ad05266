"""The service's desk without workers and without looking at files, on a made bundle; for tests."""

from dataclasses import replace

from pathoprog.inference.service.config import BundleSettings, RootSettings, RouteSettings, ServiceSettings
from pathoprog.inference.service.intake.intake_config import PatientRule
from pathoprog.inference.service.names import Names
from pathoprog.inference.service.work.desk import Desk
from pathoprog.inference.service.work.lane import Lane, plan_lane
from pathoprog.inference.service.work.orders import Orders
from pathoprog.inference.service.work.preparing import Prepared, Preparers
from pathoprog.inference.service.work.snapshot import Snapshot
from pathoprog.inference.service.work.state_files import open_databases
from pathoprog.inference.service.work.submissions import NewSubmission
from pathoprog.inference.slides.looks import Look
from pathoprog.inference.slides.pseudonyms import KEY as KEY_FILE
from pathoprog.inference.slides.pseudonyms import MAP

KEY = bytes(range(32))


class Asked(Preparers):
    """Keeps what is to be looked at, and looks at nothing."""

    def __init__(self):
        super().__init__({})
        self.waiting, self.gone = [], []

    def prepare(self, root, asked):
        self.waiting.append(asked)

    def let_go(self, submission):
        self.gone.append(submission)


class Silent:
    """Hears, and does nothing."""

    def given(self, slide_id): ...
    def put_back(self, slide_id, reason): ...
    def done(self, slide_id, state): ...
    def tiles(self, n): ...
    def worker_died(self): ...


class MadeDesk:
    """A desk with all that it stands on; of its routes `hidden` has pseudonyms."""

    def __init__(self, folder, bundle):
        folder.mkdir(exist_ok=True)
        self.settings = ServiceSettings(
            state=str(folder),
            out=str(folder / "out"),
            bundles=[BundleSettings(name="colon", folder=str(bundle))],
            roots=[RootSettings(name="scans", folder=str(folder))],
            routes=[
                RouteSettings(name="colon", root="scans", bundles=["colon"], patients=PatientRule(ids="given")),
                RouteSettings(name="other", root="scans", bundles=["colon"], patients=PatientRule(ids="given")),
                RouteSettings(name="hidden", root="scans", bundles=["colon"]),
            ],
        )
        key_file = folder / KEY_FILE
        key_file.touch(mode=0o600)
        key_file.write_text(KEY.hex())
        self.all_names = Names(self.settings.routes, key_file, folder / MAP)
        self.names = self.all_names.paths
        self.store, self.ledger = open_databases(folder, self.names)
        self.plan = plan_lane(self.settings.bundles[0], self.settings)
        self.lane = Lane(self.plan, self.ledger, Silent())
        self.snapshot, self.asked = Snapshot(), Asked()
        lanes = {"colon": self.lane}
        self.desk = Desk(self.settings, self.store, self.ledger, lanes, self.snapshot, self.asked, self.names)
        self.orders = Orders(self.desk)
        self.desk.open()

    def submit(self, name, patient="", **changes):
        new = NewSubmission("colon", f"/scans/{name}.tif", name, patient or name, "routine", "me")
        return self.desk.submit(replace(new, **changes)).submission.id

    def submit_hidden(self, path, **changes):
        """A slide of the route with pseudonyms, as a watched folder or a client brings it."""
        row = self.names.slide_row(path)
        self.names.pseudonyms.add([row])
        files = self.names.kept("hidden", changes.pop("files", (path,)))
        new = NewSubmission("hidden", self.names.name("hidden", path), row[0], row[0], "routine", "me", files=files)
        return self.desk.submit(replace(new, **changes)).submission.id

    def admit(self, submission, source="seen"):
        asked = next(one for one in reversed(self.asked.waiting) if one.submission == submission)
        self.desk.admit(Prepared(asked, {"colon": Look(source=source)}))

    def score(self, n=1):
        """Lease and commit, as an engine without a result's files would."""
        for job in self.ledger.lease(self.lane.key, n, alone=True):
            self.desk.given("colon", job.slide_id)
            assert self.ledger.commit(job, "failed", "", "blank", "", print)
            self.desk.done("colon", job.slide_id)

    def state(self, submission):
        return self.desk.of(submission).state

    def close(self):
        self.ledger.close()
        self.store.close()
