"""The slide viewer's script: fetched only as it was pinned, unpacked to what is needed, served if it is there."""

import hashlib
import importlib.machinery
import importlib.util
import io
import tarfile

import pytest
from fastapi import FastAPI
from house import ROOT
from starlette.testclient import TestClient

from pathoprog.inference.service.viewing import openseadragon_routes
from pathoprog.inference.service.web.problems import handle_problems

SCRIPT = ROOT / ".ci" / "openseadragon"


@pytest.fixture
def fetching(monkeypatch, tmp_path):
    """The script as a module, that puts things into a folder of the test."""
    loader = importlib.machinery.SourceFileLoader("openseadragon_fetching", str(SCRIPT))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    monkeypatch.setattr(module, "FOLDER", tmp_path / "viewer")
    return module


def package(*extra):
    """An npm package with the files that are wanted, and others."""
    names = [
        "package/build/openseadragon/openseadragon.min.js",
        "package/build/openseadragon/openseadragon.js",
        "package/build/openseadragon/images/home_rest.png",
        "package/build/openseadragon/openseadragon.min.js.map",
        "package/LICENSE.txt",
        "package/package.json",
        *extra,
    ]
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz") as files:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(name)
            files.addfile(member, io.BytesIO(name.encode()))
    return sink.getvalue()


def npm(folder, monkeypatch, data):
    """A stand-in for npm that gives an archive; None: it fails."""
    program = folder / "npm"
    lines = ["#!/bin/sh", "exit 1"]
    if data is not None:
        (folder / "given.tgz").write_bytes(data)
        lines = ["#!/bin/sh", f'cp "{folder}/given.tgz" ./openseadragon.tgz']
    program.write_text("\n".join(lines) + "\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_only_script_pictures_and_licence_are_taken(fetching, tmp_path, monkeypatch):
    data = package(
        "package/build/openseadragon/images/../../../../evil.png", "package/build/openseadragon/images/a/b.png"
    )
    npm(tmp_path, monkeypatch, data)
    monkeypatch.setattr(fetching, "SHA512", hashlib.sha512(data).hexdigest())
    assert not fetching.there(tmp_path / "viewer") and fetching.main([]) == 0
    folder = tmp_path / "viewer"
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {"openseadragon.min.js", "images/home_rest.png", "LICENSE.txt", ".sha512"}
    assert fetching.there(folder) and not list(tmp_path.rglob("evil.png"))
    npm(tmp_path, monkeypatch, None)
    assert fetching.main(["--required"]) == 0, "it is there: nothing is asked for"


def test_what_is_not_as_it_was_pinned_is_not_taken(fetching, tmp_path, monkeypatch, capsys):
    npm(tmp_path, monkeypatch, package())
    assert fetching.main([]) == 0 and fetching.main(["--required"]) == 1
    assert "not openseadragon" in capsys.readouterr().err and not (tmp_path / "viewer").exists()


def test_without_npm_or_network_all_else_goes_on(fetching, tmp_path, monkeypatch, capsys):
    npm(tmp_path, monkeypatch, None)
    assert fetching.main([]) == 0
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert fetching.main([]) == 0 and fetching.main(["--required"]) == 1
    said = capsys.readouterr().err
    assert "is there a network?" in said and "no npm here" in said and "all else works without it" in said


def test_the_set_up_calls_it_and_a_release_requires_it():
    made = (ROOT / "Makefile").read_text(encoding="utf-8")
    ready, _, rest = made.partition("\nviewer: ")
    assert "\t@$(BIN)/python .ci/openseadragon\n" in ready and "\nwheel: viewer\n" in rest
    assert rest.splitlines()[1].endswith(".ci/openseadragon --required")


def test_the_page_gets_it_from_here_or_is_told_that_it_is_not_there(tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    for name in ("openseadragon.min.js", "images/home_rest.png", "LICENSE.txt", ".sha512", "other.map"):
        (tmp_path / name).write_text(name)
    files = openseadragon_routes.files_of_viewer(tmp_path)
    assert set(files) == {"openseadragon.min.js", "images/home_rest.png", "LICENSE.txt"}
    monkeypatch.setattr(openseadragon_routes, "FILES", files)
    app = FastAPI()
    app.include_router(openseadragon_routes.router)
    handle_problems(app)
    client = TestClient(app)
    script = client.get("/page/openseadragon/openseadragon.min.js")
    assert script.status_code == 200 and script.headers["content-type"].startswith("text/javascript")
    for name in ("../serve.py", "%2e%2e/serve.py", "other.map", ".sha512"):
        assert client.get(f"/page/openseadragon/{name}").status_code == 404
    monkeypatch.setattr(openseadragon_routes, "FILES", openseadragon_routes.files_of_viewer(tmp_path / "nothing"))
    absent = client.get("/page/openseadragon/openseadragon.min.js")
    assert absent.status_code == 404 and "not installed here" in absent.json()["detail"]
