"""Limits and time-outs of ``modelyard serve``: a server that is started with them holds them."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from bundles import ROW, make
from modelyard.cli.main import main
from test_openapi_server import server

HEAD = b"POST /v1/predict HTTP/1.1\r\nHost: model\r\nContent-Type: application/json\r\nContent-Length: 100\r\n"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("served") / "bundle")


def status(address: str, body: object) -> int:
    sent = urllib.request.Request(
        f"{address}/v1/predict", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(sent, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def said(address: str, sent: bytes) -> bytes:
    """Send a part of a request; return all that comes until the server closes."""
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=8) as line:  # the time-outs' defaults are 10 and more
        line.sendall(sent)
        return b"".join(iter(lambda: line.recv(2**16), b""))


def test_a_server_holds_the_limits_it_is_started_with(tmp_path: Path, path: Path) -> None:
    options = {"--body-limit": "20000", "--head-timeout": "0.5", "--body-timeout": "0.7", "--answer-timeout": "1e-6"}
    with server(tmp_path, path, *(word for option in options.items() for word in option)) as address:
        assert status(address, ROW) == 200
        assert status(address, {"instances": [ROW] * 1_000}) == 413
        assert status(address, {"instances": [ROW] * 150}) == 503  # answered in a thread, which is waited for
        assert said(address, HEAD) == b""
        assert b"did not arrive within 0.7 seconds" in said(address, HEAD + b"\r\n")


@pytest.mark.parametrize("option", ["--body-limit", "--head-timeout", "--body-timeout", "--answer-timeout"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "much"])
def test_limits_that_cannot_be(
    tmp_path: Path, path: Path, option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["serve", str(path), "--port", "0", "--workspace", str(tmp_path), "--no-log", option, value])
    assert caught.value.code == 1
    told = capsys.readouterr().err
    assert option in told or "More than 0 seconds" in told
