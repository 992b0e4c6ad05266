"""Signatures of bundles: one's own key, offline; unsigned, wrongly signed and altered bundles are refused in words."""

import json
import shutil
import subprocess
import sys

import pytest

pytest.importorskip("torch")
pytest.importorskip("model_signing")
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from made_bundle import made_bundle

from pathoprog import cli
from pathoprog.ensemble.bundle import SIGNATURE, ensemble_id, verify
from pathoprog.ensemble.signature import check_signature, sign_bundle
from pathoprog.errors import BundleError, ConfigError


def write_keys(folder, name, key):
    folder.mkdir(exist_ok=True)
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return write_keys(tmp_path_factory.mktemp("keys"), "ours", ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return made_bundle(tmp_path_factory.mktemp("signature") / "ensemble", 32)


@pytest.fixture
def bundle(original, tmp_path):
    return shutil.copytree(original, tmp_path / "ensemble")


@pytest.fixture
def signed(bundle, keys):
    assert sign_bundle(bundle, keys[0]) == bundle / SIGNATURE
    return bundle


def test_a_signed_bundle_is_the_same_ensemble_and_may_be_moved(signed, original, keys, tmp_path):
    assert ensemble_id(signed) == ensemble_id(original)
    check_signature(signed, keys[1])
    verify(signed)
    moved = signed.rename(tmp_path / "elsewhere")
    check_signature(moved, keys[1])
    sign_bundle(moved, keys[0])  # again: the old signature gives way
    check_signature(moved, keys[1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere"], "nothing else is left behind"


def test_others_can_check_it_without_this_project(signed, keys):
    call = ["verify", "key", str(signed), "--signature", str(signed / SIGNATURE), "--public_key", str(keys[1])]
    done = subprocess.run([sys.executable, "-m", "model_signing", *call], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_unsigned_bundle_is_refused_where_a_key_is_required(bundle, keys):
    with pytest.raises(BundleError, match=r"not signed \(signature.sig is missing\)"):
        check_signature(bundle, keys[1])


def test_another_key_is_refused(signed, tmp_path):
    _, other = write_keys(tmp_path / "keys", "other", ec.generate_private_key(ec.SECP384R1()))
    with pytest.raises(BundleError, match="Key mismatch"):
        check_signature(signed, other)


def forge_hint(folder, other_folder):
    """Another's signature that claims to be made with our key."""
    ours, theirs = json.loads((folder / SIGNATURE).read_text()), json.loads((other_folder / SIGNATURE).read_text())
    theirs["verificationMaterial"] = ours["verificationMaterial"]
    (folder / SIGNATURE).write_text(json.dumps(theirs))


def test_a_signature_that_only_claims_to_be_ours_is_refused(signed, original, keys, tmp_path):
    other = shutil.copytree(original, tmp_path / "other")
    sign_bundle(other, write_keys(tmp_path / "keys", "other", ec.generate_private_key(ec.SECP256R1()))[0])
    forge_hint(signed, other)
    with pytest.raises(BundleError, match="was not made with the key"):
        check_signature(signed, keys[1])


def test_a_signature_over_other_files_is_refused(signed, keys, tmp_path):
    """A whole, unchanged bundle of somebody else, under a genuine signature of ours."""
    other = made_bundle(tmp_path / "other", 32, thresholds={"10x": 0.4, "40x": 0.6})
    shutil.copyfile(signed / SIGNATURE, other / SIGNATURE)
    verify(other)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        check_signature(other, keys[1])


@pytest.mark.parametrize("content", [b"", b"nonsense", b"{}", b'{"mediaType": "x"}'])
def test_a_damaged_signature_is_refused(signed, keys, content):
    (signed / SIGNATURE).write_bytes(content)
    with pytest.raises(BundleError, match="refused"):
        check_signature(signed, keys[1])


def test_what_is_no_key_is_named(signed, bundle, keys, tmp_path):
    text = tmp_path / "text.pem"
    text.write_text("no key")
    rsa_key, rsa_public = write_keys(tmp_path / "keys", "rsa", rsa.generate_private_key(65537, 2048))
    for wrong in (text, tmp_path / "absent.pem", rsa_key, keys[1]):
        with pytest.raises(ConfigError, match="no private key"):
            sign_bundle(bundle, wrong)
    for wrong in (text, tmp_path / "absent.pem", rsa_public):
        with pytest.raises(ConfigError, match="no public key"):
            check_signature(signed, wrong)


def test_an_altered_bundle_is_not_signed(bundle, keys):
    (bundle / "members" / "new.pkl").write_bytes(b"x")
    with pytest.raises(BundleError, match="not in the manifest"):
        sign_bundle(bundle, keys[0])
    assert not (bundle / SIGNATURE).exists()


def test_the_commands(bundle, keys, tmp_path, capsys):
    private, public = keys
    slide = tmp_path / "A.tif"
    slide.write_bytes(b"")
    score = ["score", f"slides={slide}", f"ensemble={bundle}", f"out={tmp_path / 'out'}", "device=cpu", "dry_run=true"]
    assert cli.main(["verify", str(bundle)]) == 0 and cli.main([*score]) == 0
    assert "signature: none" in capsys.readouterr().out
    for call in (["verify", str(bundle)], score):
        assert cli.main([*call, f"key={public}"]) == 2
        assert "not signed" in capsys.readouterr().err
    assert cli.main(["sign", str(bundle), f"key={private}"]) == 0
    assert cli.main(["verify", str(bundle), f"key={public}"]) == 0
    assert "signature: made with the key" in capsys.readouterr().out
    assert cli.main([*score, f"key={public}"]) == 0
    assert not (tmp_path / "out").exists()


def test_without_the_library_a_key_is_no_silent_wish(bundle, keys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install"):
        check_signature(bundle, keys[1])
