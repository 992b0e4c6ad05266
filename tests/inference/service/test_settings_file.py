"""The service's settings file: what is wrong in it is named by its full key, and the environment stands above it."""

import os

import pytest
import yaml

from pathoprog.errors import ConfigError
from pathoprog.inference.service.checks import check_settings
from pathoprog.inference.service.config import PREFIX, ServiceSettings
from pathoprog.inference.service.settings_file import read_settings


def settings(tmp_path, environment=None, **changes):
    (tmp_path / "scans").mkdir(exist_ok=True)
    values = {
        "state": "state",
        "out": "out",
        "bundles": [{"name": "colon", "folder": "bundle"}],
        "roots": [{"name": "scans", "folder": "scans"}],
        "routes": [{"name": "colon", "root": "scans", "bundles": ["colon"]}],
        **changes,
    }
    path = tmp_path / "service.yaml"
    path.write_text(values if isinstance(values, str) else yaml.safe_dump(values))
    return read_settings(ServiceSettings, path, environment or {}, PREFIX)


def test_paths_are_relative_to_the_file_and_values_typed(tmp_path):
    found = settings(tmp_path, listen={"port": 9000})
    assert found.state == str(tmp_path / "state") and found.roots[0].folder == str(tmp_path / "scans")
    assert found.listen.port == 9000 and found.routes[0].bundles == ["colon"]
    assert found.scoring.quality.eligibility == "require", "a service withholds what is not known"
    check_settings(found)


def test_the_environment_stands_above_the_file(tmp_path):
    found = settings(tmp_path, {f"{PREFIX}__LISTEN__PORT": "9001", "OTHER__PORT": "1"}, listen={"port": 9000})
    assert found.listen.port == 9001
    with pytest.raises(ConfigError, match="prot: no such setting; did you mean port"):
        settings(tmp_path, {f"{PREFIX}__LISTEN__PROT": "9001"})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"listen": {"port": "http"}}, r"listen\.port: must be a whole number, not 'http'"),
        ({"listen": {"port": 70000}}, r"listen\.port=70000: must be at least 0 and at most 65535"),
        ({"listen": {"prot": 1}}, r"listen\.prot: no such setting; did you mean port"),
        ({"listen": []}, r"listen: must be a list of `key: value`"),
        ({"routes": [{"root": "scans", "bundles": ["colon"]}]}, r"routes\[1\]\.name is missing"),
        ({"routes": [{"name": "x", "root": "scans", "bundles": "colon", "priority": "now"}]}, r"routes\[1\]\.priority"),
        ({"bundles": []}, "bundles is missing"),
        ({"state": ""}, "state is missing"),
        ({"state": True}, "state: must be a text"),
    ],
)
def test_what_is_wrong_is_named_by_its_key(tmp_path, changes, said):
    with pytest.raises(ConfigError, match=said):
        settings(tmp_path, **changes)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("state: a\nstate: b\n", "line 2: state is given twice"),
        ("state: [\n", "no YAML in line"),
        ("just a text\n", "not a list of"),
        ("state: !!python/object/apply:os.system [ls]\n", "no YAML"),
    ],
)
def test_no_yaml_is_refused_in_words(tmp_path, text, said):
    path = tmp_path / "service.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_settings(ServiceSettings, path, os.environ, PREFIX)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"routes": [{"name": "x", "root": "shelf", "bundles": ["colon"]}]}, "no such root; there are scans"),
        ({"routes": [{"name": "x", "root": "scans", "bundles": ["liver"]}]}, "no bundle 'liver'; there are colon"),
        ({"routes": [{"name": "x", "root": "scans", "bundles": ["colon", "colon"]}]}, "named twice"),
        ({"routes": [{"name": "../x", "root": "scans", "bundles": ["colon"]}]}, "cannot be a name"),
        ({"roots": [{"name": "scans", "folder": "nowhere"}]}, "is no folder"),
        ({"state": "scans/state"}, "lies in the root scans"),
        ({"listen": {"host": "0.0.0.0"}}, "needs TLS"),  # noqa: S104 - it is refused
        ({"listen": {"tls_certificate": "c.pem"}}, "go together"),
        (
            {"routes": [{"name": "x", "root": "scans", "bundles": ["colon"], "eligibility": {"organs": "colon"}}]},
            "eligibility.organs: no such trait",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path, changes, said):
    with pytest.raises(ConfigError, match=said):
        check_settings(settings(tmp_path, **changes))


def test_webhooks_are_told_apart_and_a_head_needs_one_that_takes_it(tmp_path):
    hook = {"name": "lis", "url": "https://lis.example/hook", "secret_file": "secret"}
    check_settings(settings(tmp_path, outbound={"webhooks": [hook]}))
    with pytest.raises(ConfigError, match="another webhook has this name"):
        check_settings(settings(tmp_path, outbound={"webhooks": [hook, hook]}))
    for name in ("a/b", "a\\b", "a\nb", "x" * 65):  # it is part of an address, and of the audit log
        with pytest.raises(ConfigError, match="cannot be a name"):
            check_settings(settings(tmp_path, outbound={"webhooks": [{**hook, "name": name}]}))
    with pytest.raises(ConfigError, match="no webhook takes it"):
        check_settings(settings(tmp_path, outbound={"webhooks": [hook], "audit_head": {"event": True}}))


def test_watched_folders_lie_in_their_root_and_apart(tmp_path):
    (tmp_path / "scans" / "a" / "b").mkdir(parents=True)
    inside = {"folder": "scans/a", "route": "colon"}
    check_settings(settings(tmp_path, watch=[inside]))
    with pytest.raises(ConfigError, match="lies in another watched folder"):
        check_settings(settings(tmp_path, watch=[inside, {"folder": "scans/a/b", "route": "colon"}]))
    with pytest.raises(ConfigError, match="lies outside the route's root"):
        check_settings(settings(tmp_path, watch=[{"folder": ".", "route": "colon"}]))
    with pytest.raises(ConfigError, match="no such route"):
        check_settings(settings(tmp_path, watch=[{"folder": "scans/a", "route": "liver"}]))


def test_names_are_told_apart_without_case(tmp_path):
    two = [{"name": "Colon", "folder": "b"}, {"name": "colon", "folder": "c"}]
    with pytest.raises(ConfigError, match="'colon' is there twice"):
        check_settings(settings(tmp_path, bundles=two))
