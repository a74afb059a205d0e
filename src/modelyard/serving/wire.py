"""Wire: uvicorn's side of a connection, with less to do for requests that are answered at once or whole."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from modelyard.serving.asgi import Headers
from modelyard.serving.endpoint import Endpoint, Reply
from modelyard.serving.problem import MEDIA_TYPE, HttpProblem, without_values
from modelyard.serving.traces import Traced

_MOST_HEAD = 2**16
"""Bytes that may come before a head ends, or between two parts of a body and behind its last: all but a body is held in
memory as it comes."""
_FORBIDDEN = bytes({*range(0x20), 0x7F} - {0x09})
_NOTHING: Mapping[str, Any] = {}
_LOGGER = logging.getLogger("modelyard.serving")


class Wire(HttpToolsProtocol):  # type: ignore[misc]
    """uvicorn's protocol, which first asks whether a request can be answered without waiting (`Endpoint.at_once`).

    Only what cannot, or has not come whole in one piece, gets what uvicorn makes for each request: a scope, a task, an
    event and a cycle of messages. The request is then started as if its head had just come to its end. Nor does an
    answer given at once start a clock: the server looks at idle connections now and then.

    Such a request waits for the end of this turn of the event loop (see `Turn`), and whatever else happens to the
    connection meanwhile ends the turn first, so that everything keeps its order.

    Attributes
    ----------
    idle : float or None
        Since when it has waited for the next request, in the loop's time; None while there is one, or where uvicorn
        itself ends its wait.
    asked : tuple or None
        Scope and body of the request that waits for the end of the turn.
    """

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._endpoints: dict[bytes, Endpoint | Traced] = getattr(self.app, "at_once", {})
        self._body: bytes | None = None
        self.asked: tuple[dict[str, Any], bytes] | None = None
        self._held: int | None = None
        self.idle: float | None = None

    def data_received(self, data: bytes) -> None:
        """Take what was sent; a request that is not whole by now is started."""
        self.idle = None
        if self._held is not None:
            self._held += len(data)
        super().data_received(data)
        if self._body is not None:
            self._start(self._body)
        elif self._held is not None and self._held > _MOST_HEAD:
            in_head = self.cycle is None or self.cycle.response_complete
            long = HttpProblem(431, f"The head of a request may have {_MOST_HEAD:,} bytes.")
            self._refuse(long if in_head else None)

    def eof_received(self) -> None:
        """Answer first: the connection is closed on both sides then."""
        self._end_turn()
        super().eof_received()

    def shutdown(self) -> None:
        """Close the connection once it owes no answer."""
        self._end_turn()
        super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, after the answers before it, unless one is being sent."""
        self._end_turn()
        answering = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        self._refuse(None if answering else HttpProblem(400, "What was sent is not valid HTTP/1.1."))

    def on_message_begin(self) -> None:
        """Begin a request, whose scope is made once it is started."""
        self._end_turn()
        self.url, self.expect_100_continue, self._held = b"", False, 0
        self.headers: list[tuple[bytes, bytes]] = []

    def on_headers_complete(self) -> None:
        """Start a request, or wait for the rest of one that may be answered at once."""
        if self._may_be_answered_at_once():
            self._body = b""
        else:
            self._start(b"")

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._held = 0
        if self._body is None:
            super().on_body(body)
        else:
            self._body += body

    def on_message_complete(self) -> None:
        """Ask for the answer to a request that is there whole, or start it."""
        self._held = None
        if self._body is None:
            super().on_message_complete()
            return
        self.asked = scope, body = {"headers": self.headers}, self._body
        self._body = None
        self._endpoints[self.url].at_once(scope, body, self._answered)

    def _answered(self, found: Reply | None) -> None:
        """Send the answer to the request that was asked for, or start it where there is none."""
        if self.asked is None:
            return
        (scope, body), self.asked = self.asked, None
        if self.transport.is_closing():  # the caller has gone
            return
        try:
            if found is None:
                self._start_late(body, scope)
                return
            self._send(*found)
        except Exception as error:  # whatever it is, the rest of the turn has its answers
            _LOGGER.error("an answer could not be sent: %s", without_values(error))
            self.transport.abort()
            return
        self.server_state.total_requests += 1
        self.idle = self.loop.time()

    def _end_turn(self) -> None:
        if self.asked is not None:
            self.app.turn.end()

    def _may_be_answered_at_once(self) -> bool:
        parser = self.parser
        return (
            self.url in self._endpoints
            and parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not parser.should_upgrade()
            and not self.expect_100_continue
            and (self.cycle is None or self.cycle.response_complete)
            and not self.flow.write_paused
            and not self.transport.is_closing()
        )

    def _refuse(self, problem: HttpProblem | None) -> None:
        """Close a connection, and say why where that cannot be taken for a part of another answer."""
        self._held = self._body = None
        if problem is not None:
            fields = (b"content-type", MEDIA_TYPE.encode()), (b"connection", b"close")
            self._send(problem.status, fields, problem.body())
        self.transport.close()

    def _send(self, status: int, fields: Headers, body: bytes) -> None:
        head = _head(status, [*self.server_state.default_headers, *fields])
        self.transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body))

    def _start(self, body: bytes, known: Mapping[str, Any] = _NOTHING) -> None:
        self._body = None
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.scope.update(known, headers=headers)
        self.url, self.headers, self.expect_100_continue = url, headers, expects
        super().on_headers_complete()
        if type(self.cycle) is RequestResponseCycle:  # it is made there by name, and asked nothing before it runs
            self.cycle.__class__ = _Cycle
        if body:
            super().on_body(body)

    def _start_late(self, body: bytes, known: Mapping[str, Any]) -> None:
        """Start a whole request; the parser may be at the next one already."""
        parser: Any = self.parser
        self.parser: Any = _PLAIN
        try:
            self._start(body, known)
            super().on_message_complete()
        finally:
            self.parser = parser


class _Plain:
    """What the parser said of a request that might have been answered at once."""

    def get_http_version(self) -> str:
        return "1.1"

    def get_method(self) -> bytes:
        return b"POST"

    def should_keep_alive(self) -> bool:
        return True

    def should_upgrade(self) -> bool:
        return False


_PLAIN = _Plain()


class _Cycle(RequestResponseCycle):  # type: ignore[misc]
    """A request of uvicorn's whose answer, where it comes whole, is written in one piece: one system call less."""

    head: bytes | None = None
    response_started: bool

    async def send(self, message: Any) -> None:
        """Keep the head of an answer of known length until its body is there."""
        if self.head is not None:
            await self._finish(message, self.head)
        elif not (message["type"] == "http.response.start" and self._hold(message)):
            await super().send(message)

    def _hold(self, message: Any) -> bool:
        if self.response_started or self.disconnected or self.flow.write_paused:
            return False
        if not self.keep_alive or self.scope["method"] == "HEAD":
            return False
        fields = [*self.default_headers, *message.get("headers", ())]
        lengths = [value for name, value in fields if name == b"content-length"]
        if len(lengths) != 1 or any(name in (b"connection", b"transfer-encoding") for name, _ in fields):
            return False
        self.head = _head(message["status"], fields) + b"\r\n"
        self.response_started, self.waiting_for_100_continue = True, False
        self.chunked_encoding, self.expected_content_length = False, int(lengths[0])
        return True

    async def _finish(self, message: Any, head: bytes) -> None:
        self.head = None
        body = message.get("body", b"")
        if message.get("more_body", False) or len(body) != self.expected_content_length:
            self.transport.write(head)
            await super().send(message)
        elif not self.disconnected:
            self.transport.write(head + body)
            self.expected_content_length = 0
            self.response_complete = True
            self.message_event.set()
            self.on_response()


def _head(status: int, fields: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return an answer's head, but for the empty line at its end.

    Raises
    ------
    RuntimeError
        If a field holds a control character, which would begin another.
    """
    lines = [b"%b: %b" % field for field in fields]
    text = b"".join(lines)
    if len(text.translate(None, _FORBIDDEN)) < len(text):
        raise RuntimeError("a header holds a control character")
    return b"%b%b\r\n" % (STATUS_LINE[status], b"\r\n".join(lines))
