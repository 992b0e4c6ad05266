"""One POST: bounded in time and size, verified, without redirects."""

import datetime
import ipaddress
import ssl
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from made_receiver import Receiver, answer, running_receiver

from pathoprog.errors import ConfigError
from pathoprog.inference.service.outbound.http_post import MOST_ANSWER_BYTES, NOT_IN_TIME, Address, Poster, address_of
from pathoprog.inference.service.outbound.outbound_config import WebhookSettings


def settings(url, **more):
    given = {"name": "lis", "url": url, "secret_file": "none", "connect_timeout_s": 5.0, "read_timeout_s": 5.0}
    return WebhookSettings(**{**given, "total_timeout_s": 10.0, **more})


def post(receiver, body=b"{}", **more):
    return Poster(settings(receiver.url, **more)).post(body, {"X-Test": "1"})


def test_it_posts_the_bytes_and_headers():
    with running_receiver(Receiver(default=204)) as receiver:
        receiver_url = f"{receiver.url}?room=2"
        said = Poster(settings(receiver_url)).post(b"\x00body", {"X-Test": "1"})
    assert said.status == 204 and said.problem == ""
    (one,) = receiver.received
    assert (one.path, one.body, one.headers["X-Test"]) == ("/hook?room=2", b"\x00body", "1")


def test_an_answer_without_end_is_cut():
    ended = threading.Event()
    went = []

    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        try:
            for _ in range(1000):  # 64 MB, more than all buffers on the way hold
                handler.wfile.write(b"x" * MOST_ANSWER_BYTES)
                went.append(1)
        finally:
            ended.set()

    with running_receiver(Receiver(default=endless)) as receiver:
        assert post(receiver).status == 200
        assert ended.wait(60) and len(went) < 1000


def test_ten_megabytes_are_no_trouble():
    with running_receiver(Receiver(default=answer(200, body=b"x" * 10_000_000))) as receiver:
        assert post(receiver).status == 200


def test_a_redirect_is_not_followed():
    with running_receiver(Receiver()) as other, running_receiver(Receiver()) as receiver:
        for status in (301, 302, 303, 307, 308):
            receiver.answers.append(answer(status, {"Location": other.url}))
            assert post(receiver).status == status
    assert len(receiver.received) == 5 and not other.received


def test_a_proxy_of_the_environment_is_not_taken(monkeypatch):
    with running_receiver(Receiver()) as proxy, running_receiver(Receiver()) as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://localhost:{proxy.port}")
        assert post(receiver).status == 200
    assert not proxy.received and len(receiver.received) == 1


def test_a_receiver_that_says_nothing_is_given_up():
    done = threading.Event()
    with running_receiver(Receiver(default=lambda handler: done.wait(30))) as receiver:
        said = post(receiver, read_timeout_s=0.1)
        done.set()
    assert (said.status, said.problem) == (0, NOT_IN_TIME)


def test_a_receiver_that_drips_is_cut_off():
    """Each of its bytes is in time."""
    done = threading.Event()

    def drip(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while not done.wait(0.02):
            handler.wfile.write(b"x")
            handler.wfile.flush()

    with running_receiver(Receiver(default=drip)) as receiver:
        said = post(receiver, read_timeout_s=10.0, total_timeout_s=0.5)
        done.set()
    assert (said.status, said.problem) == (0, NOT_IN_TIME)


def test_a_status_counts_though_the_body_drips():
    done = threading.Event()

    def drip(handler):
        handler.send_response(202)
        handler.end_headers()
        while not done.wait(0.02):
            handler.wfile.write(b"x")

    with running_receiver(Receiver(default=drip)) as receiver:
        said = post(receiver, total_timeout_s=0.3)
        done.set()
    assert said.status == 202


def test_an_answer_that_is_no_http_is_a_problem():
    with running_receiver(Receiver(default=lambda handler: handler.wfile.write(b"220 mail ready\r\n"))) as receiver:
        said = post(receiver)
    assert (said.status, said.problem) == (0, "the answer is no HTTP")


def test_no_receiver_and_no_host_are_problems_without_the_address():
    with running_receiver(Receiver()) as receiver:
        pass
    assert post(receiver).problem == "no connection"
    nowhere = settings("https://nowhere.invalid/secret-path")
    assert Poster(nowhere).post(b"", {}).problem == "the name of its host is not known"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("100000", 60.0),
        ("Fri, 31 Dec 2199 23:59:59 GMT", 60.0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0.0),
        ("soon", 0.0),
        ("-5", 0.0),
        ("9" * 5000, 0.0),
        ("", 0.0),
    ],
)
def test_retry_after_is_a_number_or_a_date_within_a_bound(header, seconds):
    with running_receiver(Receiver(default=answer(503, {"Retry-After": header}))) as receiver:
        said = post(receiver, most_retry_after_s=60.0)
    assert (said.status, said.retry_after_s) == (503, seconds)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for localhost that signs itself: its file and a server's context."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("10.9.8.7"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    file = folder / "cert.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, folder / "key.pem")
    return file, context


def test_a_certificate_that_is_known_is_accepted(certificate):
    file, context = certificate
    with running_receiver(Receiver(), context) as receiver:
        assert post(receiver, ca_file=str(file)).status == 200


def test_a_certificate_that_nobody_vouches_for_is_refused(certificate):
    with running_receiver(Receiver(), certificate[1]) as receiver:
        said = post(receiver)
    assert said.status == 0 and "certificate is not accepted" in said.problem and not receiver.received


def test_a_certificate_of_another_host_is_refused(certificate):
    file, context = certificate
    with running_receiver(Receiver(), context) as receiver:
        said = Poster(settings(f"https://127.0.0.1:{receiver.port}/", ca_file=str(file))).post(b"", {})
    assert said.status == 0 and "certificate is not accepted" in said.problem and not receiver.received


def test_http_where_tls_is_spoken_is_no_delivery(certificate):
    with running_receiver(Receiver(), certificate[1]) as receiver:
        said = Poster(settings(f"http://localhost:{receiver.port}/")).post(b"", {})
    assert said.status == 0 and said.problem


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://lis.example", Address(True, "lis.example", 443, "/")),
        ("https://lis.example:8443/a/b?c=d", Address(True, "lis.example", 8443, "/a/b?c=d")),
        ("http://127.0.0.1:80/x", Address(False, "127.0.0.1", 80, "/x")),
        ("http://[::1]/x", Address(False, "::1", 80, "/x")),
    ],
)
def test_an_address_is_taken_apart(url, address):
    assert address_of(settings(url)) == address


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("lis.example/hook", "must be https://"),
        ("ftp://lis.example/", "must be https://"),
        ("file:///etc/passwd", "must be https://"),
        ("https://", "must be https://"),
        ("https://lis.example/a b", "must be https://"),
        ("https://lis.example/a\r\nX: y", "must be https://"),
        ("https://läb.example/", "must be https://"),
        ("https://lis.example:99999/", "no address"),
        ("https://user:pass@lis.example/", "name or password"),
        ("http://lis.example/", "http to another machine"),
        ("http://127.0.0.1.example/", "http to another machine"),
    ],
)
def test_an_address_that_is_none_is_refused(url, message):
    with pytest.raises(ConfigError, match=message):
        address_of(settings(url))


def test_http_to_another_machine_wants_leave():
    assert address_of(settings("http://lis.example/", plain_http=True)).port == 80


def test_certificates_that_are_none_are_refused(tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")
    for file in ("ca.pem", "none.pem"):
        with pytest.raises(ConfigError, match="no certificates in PEM"):
            Poster(settings("https://lis.example/", ca_file=str(tmp_path / file)))
