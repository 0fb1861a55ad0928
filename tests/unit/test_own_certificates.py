"""A download over TLS from a real server whose certificate nobody has signed, as behind some proxies."""

import http.server
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ehr_attack.downloads import download_physionet2012
from ehr_attack.errors import UserError
from real_parts import skip_or_fail


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """That of a TLS server on the loopback, with a certificate of its own making; no proxy stands between."""
    monkeypatch.setenv("no_proxy", "localhost")
    if shutil.which("openssl") is None:
        skip_or_fail("no certificate can be made: openssl is not installed")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*request, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://localhost:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


def test_a_certificate_that_nobody_has_signed_is_refused_at_once_with_what_to_do(address, tmp_path):
    waits: list[float] = []
    folder = tmp_path / "data"
    with pytest.raises(UserError, match=r"the certificate of localhost cannot be verified.*SSL_CERT_FILE"):
        download_physionet2012(["a"], folder, base_url=address, wait=waits.append)
    assert waits == [], "another try would end alike"
    assert not folder.exists() or not list(folder.iterdir())
