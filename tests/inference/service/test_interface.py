"""The interface against its own description (schemathesis): no 5xx, and no answer that it does not describe."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_service import MadeService
from made_slides import texture, write_pyramid
from schemathesis.checks import load_all_checks

EVENTS = "/v1/events"  # stays open; has a test of its own
EXAMPLES = 25


@pytest.fixture(scope="module")
def described(bundle, tmp_path_factory):
    """A running service with one released result, that takes any number of requests, and its description."""
    made = MadeService(tmp_path_factory.mktemp("described"), bundle)
    made.settings["access"] = {"requests_per_minute": 1e6, "requests_at_once": 100_000}
    made.settings["backups"] = str(made.folder / "backups")
    secret = made.folder / "secret"
    secret.write_text("s" * 32)
    secret.chmod(0o600)
    hook = {"name": "colon", "url": "http://127.0.0.1:9/", "plain_http": True, "secret_file": str(secret)}
    made.settings["outbound"] = {"webhooks": [hook]}
    write_pyramid(made.slides / "A.tif", texture(500, 400, seed=1, margin=40))
    made.start()
    submission = made.submit(made.listed()["A.tif"]).json["id"]
    made.ended(submission)
    made.ask("POST", "/v1/bundles/colon/release", role="admin")
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{made.port}/openapi.json")
    yield made, schema, submission
    made.stop()


def ask_all_ways(operation, headers, there):
    """One operation with many cases; returns how many were asked."""
    asked = 0

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(), real=st.booleans())
    def ask(case, real):
        nonlocal asked
        asked += 1
        if real and case.path_parameters:
            real_ones = {name: value for name, value in there.items() if name in case.path_parameters}
            case.path_parameters = {**case.path_parameters, **real_ones}
        answer = case.call(headers=headers)
        assert answer.status_code < 500, answer.text
        case.validate_response(answer, headers=headers)

    ask()
    return asked


@pytest.mark.slow
def test_every_operation_answers_as_described(described):
    """With what fits the description and what does not; half of the time with ids that there are."""
    made, schema, submission = described
    load_all_checks()
    there = {"submission": submission, "name": "colon", "patient": "A"}
    asked = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path != EVENTS:
            role = "reviewer" if operation.path == "/v1/lookups" else "admin"
            asked += ask_all_ways(operation, {"Authorization": f"Bearer {made.tokens[role]}"}, there)
    assert asked > 300 and made.ask("GET", "/health", role="").status == 200
