"""A real OpenID Connect issuer in a process of its own: nanoidp, with keys that a test may sign with too."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jwt

AUDIENCE = "https://model.example"
SETTINGS = """\
config_version: 1
server: {{host: "127.0.0.1", port: {port}}}
oauth:
  issuer: "{url}"
  audience: "{audience}"
  scopes_supported: [predict, explain, labels, admin, metrics, openid]
  clients:
    - {{client_id: ward, client_secret: ward-secret}}
jwt: {{keys_dir: "{folder}/signing"}}
"""
_CLIENT = base64.b64encode(b"ward:ward-secret").decode()


class RunningIssuer:
    """What a test asks of the issuer."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self._folder = url, folder

    def token(self, scope: str = "predict", **form: str) -> str:
        """Return a token the issuer itself made, by the client credentials grant."""
        form |= {"grant_type": "client_credentials", "scope": scope}
        found: str = self._post("/token", form)["access_token"]
        return found

    def rotate(self) -> None:
        """Let the issuer sign with a new key; the one before stays in its key set."""
        self._post("/api/keys/rotate", {})

    def signed(self, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """Return a token signed with the issuer's own private key, with other claims than it would write."""
        token = self.token()
        made = jwt.decode(token, options={"verify_signature": False}) | claims
        head = jwt.get_unverified_header(token)
        key = (self._folder / "signing" / "rsa_private.pem").read_text()
        return jwt.encode({k: v for k, v in made.items() if v is not None}, key, "RS256", {**head, **(headers or {})})

    @property
    def public_key(self) -> bytes:
        return (self._folder / "signing" / "rsa_public.pem").read_bytes()

    def _post(self, path: str, form: dict[str, str]) -> dict[str, Any]:
        content = urllib.parse.urlencode(form).encode()
        request = urllib.request.Request(f"{self.url}{path}", content, {"Authorization": f"Basic {_CLIENT}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


@contextmanager
def issuer(folder: Path) -> Iterator[RunningIssuer]:
    """Start an issuer; it is ended afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    (folder / "settings.yaml").write_text(SETTINGS.format(port=port, url=url, audience=AUDIENCE, folder=folder))
    (folder / "users.yaml").write_text("users: {}\n")
    with (folder / "log").open("w") as log:
        command = [sys.executable, "-m", "nanoidp", "--config", folder]
        with subprocess.Popen(command, stdout=log, stderr=log, cwd=folder) as process:
            try:
                running = RunningIssuer(url, folder)
                for _ in range(600):
                    try:
                        running.token()
                        break
                    except urllib.error.HTTPError:
                        raise
                    except OSError:  # it does not listen yet
                        assert process.poll() is None, (folder / "log").read_text()
                        time.sleep(0.05)
                yield running
            finally:
                process.kill()
