"""The app answers only to its own names and pages, keeps foreign pictures out, and is not open to a network by mistake."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from email.message import Message
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from tests.browser.app_server import PROJECT, AppServer, free_port
from tests.browser.browser_user import BrowserUser

NewUser = Callable[[AppServer], BrowserUser]
_WEBSOCKET = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "a" * 22 + "==",
}


class Answer(NamedTuple):
    status: int
    headers: Message
    text: str


def ask(server: AppServer, path: str = "/", **headers: str) -> Answer:
    """Send a request whose headers, Host included, are written as given; the lines of a value are headers of their own."""
    address = urlsplit(server.url)
    with closing(http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)) as connection:
        connection.putrequest("GET", path, skip_host=True)
        for name, value in {"Host": address.netloc, **headers}.items():
            for line in value.split("\n"):
                connection.putheader(name, line)
        connection.endheaders()
        answer = connection.getresponse()
        text = "" if answer.status == 101 else answer.read().decode()  # a web socket goes on
        answer.close()
        return Answer(answer.status, answer.headers, text)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:99", "127.0.0.1", "[::1]:8501"])
def test_the_app_answers_to_loopback_names(shared_server: AppServer, host: str) -> None:
    assert ask(shared_server, Host=host).status == 200


@pytest.mark.parametrize("path", ["/", "/train", "/_stcore/stream", "/_stcore/upload_file/a/b"])
@pytest.mark.parametrize(
    "host",
    [
        "attacker.example",
        "attacker.example:8501",
        "127.0.0.1.attacker.example",
        "localhost@attacker.example",
        "localhost/attacker",
        "localhost.",
        "0.0.0.0",
        "192.168.1.4",
        "[::1",
        "localhost\nattacker.example",
    ],
)
def test_another_name_is_refused_on_every_address(shared_server: AppServer, host: str, path: str) -> None:
    answer = ask(shared_server, path, Host=host)
    assert answer.status in (400, 403)
    assert "html" not in (answer.headers["Content-Type"] or "")


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/hostname",
        "/%2e%2e/%2e%2e/etc/hostname",
        "/..%2f..%2fetc%2fhostname",
        "/static/../../../../etc/hostname",
        "/app/static/..%2f..%2f..%2fetc%2fhostname",
        "/media/../../etc/hostname",
        "/component/x/..%2f..%2fetc%2fhostname",
        "/_stcore/../../etc/hostname",
        "/.streamlit/config.toml",
        "/outputs/evaluations.jsonl",
        "//etc/hostname",
        "/train\\..\\..\\app.py",
    ],
)
def test_no_address_leads_to_a_file_of_the_machine(shared_server: AppServer, path: str) -> None:
    answer = ask(shared_server, path)
    assert answer.status in (301, 302, 307, 400, 403, 404) or "<title>Streamlit</title>" in answer.text
    for secret in (Path("/etc/hostname").read_text(), "enableXsrfProtection", "middleware"):
        assert secret.strip() not in answer.text or not secret.strip()


@pytest.mark.parametrize("header", ["X-Forwarded-Host", "Forwarded", "X-Host", "X-Original-Host", "X-Forwarded-Server"])
def test_no_other_header_names_the_server(shared_server: AppServer, header: str) -> None:
    answer = ask(shared_server, Host="attacker.example", **{header: urlsplit(shared_server.url).netloc})
    assert answer.status == 403
    named = ask(shared_server, **{header: "attacker.example"})
    assert "attacker.example" not in named.text + str(named.headers)


@pytest.mark.parametrize("origin", ["https://attacker.example", "http://localhost:3000", "null", "http://127.0.0.1"])
def test_a_page_of_another_origin_may_not_connect(shared_server: AppServer, origin: str) -> None:
    answer = ask(shared_server, "/_stcore/stream", Origin=origin, **_WEBSOCKET)
    assert answer.status == 403
    assert "Host header" in answer.text
    assert ask(shared_server, "/_stcore/stream", Origin=shared_server.url, **_WEBSOCKET).status == 101


def test_a_refused_name_says_where_to_add_it(shared_server: AppServer) -> None:
    text = ask(shared_server, Host="ctbench.hospital.example").text
    assert "ctbench.hospital.example" in text
    assert "CTBENCH_HOSTS" in text


@pytest.fixture
def serve_with(serve: Callable[..., AppServer], monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppServer]:
    def serve_in(options: tuple[str, ...] = (), **variables: str) -> AppServer:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return serve(*options)

    return serve_in


def test_names_of_ctbench_hosts_are_answered(serve_with: Callable[..., AppServer]) -> None:
    server = serve_with(CTBENCH_HOSTS="ctbench.hospital.example, other")
    for host in ("ctbench.hospital.example", "Ctbench.Hospital.example:443", "other", "localhost"):
        assert ask(server, Host=host).status == 200
    assert ask(server, Host="another").status == 403


def test_every_answer_has_the_headers_that_protect_it(shared_server: AppServer) -> None:
    answers = [ask(shared_server, path) for path in ("/", "/train", "/_stcore/health", "/nothing/here")]
    for answer in [*answers, ask(shared_server, Host="attacker.example")]:
        headers = answer.headers
        assert "frame-ancestors 'self'" in headers["Content-Security-Policy"]
        assert "connect-src 'self';" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_page_loads_no_foreign_picture_and_sends_nothing_out(new_user: NewUser, shared_server: AppServer) -> None:
    user = new_user(shared_server)
    user.go("train")
    show = "new Promise(done => Object.assign(new Image(), {onerror: () => done('refused'), onload: () => done('shown'), src}))"
    for attempt in (f"src => {show}", "src => fetch(src).then(() => 'sent', () => 'refused')"):
        assert user.page.evaluate(attempt, "http://127.0.0.2:9/picture.png") == "refused"
        assert user.blocked
        user.blocked.clear()
    user.requests.clear()


def test_a_network_address_without_allowed_folders_is_not_served() -> None:
    variables = {name: value for name, value in os.environ.items() if name != "CTBENCH_ROOTS"}
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless=true"]
    place = [f"--server.port={free_port()}", "--server.address=0.0.0.0", "--browser.serverAddress=localhost"]
    ended = subprocess.run([*command, *place], cwd=PROJECT, env=variables, capture_output=True, timeout=60, check=False)
    assert ended.returncode != 0
    assert b"CTBENCH_ROOTS" in ended.stderr
    assert b"Traceback" not in ended.stderr


def test_a_network_address_with_allowed_folders_is_served(
    serve_with: Callable[..., AppServer], tmp_path_factory: pytest.TempPathFactory
) -> None:
    options = ("--server.address=0.0.0.0", "--browser.serverAddress=localhost")
    server = serve_with(options, CTBENCH_ROOTS=str(tmp_path_factory.getbasetemp()))
    assert ask(server).status == 200
