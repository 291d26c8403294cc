"""The instance that a session acts on, asked over HTTP with the person's token.

Source: instance contract, sections 1.2, 3.5 and 6.3.
"""

import asyncio
import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from functools import cache
from urllib.parse import urlsplit

import msgspec

from isthmus.contract.contract_pb2 import HttpResponse
from isthmus.executor.address import is_local
from isthmus.executor.trust import OWN, Trust
from isthmus.executor.wire import MESSAGE_LIMIT_BYTES

BODY_LIMIT_BYTES = MESSAGE_LIMIT_BYTES - 4096
TIMEOUT_S = 30.0
WORKFLOWS = "/api/v4/ai/duo_workflows/workflows"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})


class NotRegistered(Exception):
    """The instance did not make a session; the text says why."""


class _Made(msgspec.Struct, frozen=True):
    id: int | str


@dataclass(frozen=True, slots=True)
class InstanceClient:
    """Asks one instance, and no other: redirects are answers. The token never shows."""

    base_url: str
    token: str = field(repr=False)
    workflow_id: str = ""
    trust: Trust = OWN

    async def answer(self, method: str, path: str, body: str | None) -> HttpResponse:
        """What the instance says; any status is an answer."""
        if method not in _METHODS or not _plain(path):
            return HttpResponse(error="invalid request")
        prefix = urlsplit(self.base_url).path.rstrip("/")
        full = path if prefix and path.startswith(f"{prefix}/") else prefix + path
        return await asyncio.to_thread(self._sent, method, full, body)

    async def register(self, fields: Mapping[str, object]) -> str:
        """Make a session record; its id. Raises NotRegistered."""
        body = msgspec.json.encode(fields).decode()
        reply = await self.answer("POST", WORKFLOWS, body)
        if reply.error or reply.statusCode != 201:
            raise NotRegistered(reply.error or f"the instance answered {reply.statusCode}")
        try:
            return str(msgspec.json.decode(reply.body, type=_Made).id)
        except msgspec.DecodeError as error:
            raise NotRegistered("the instance's answer cannot be read") from error

    def _sent(self, method: str, path: str, body: str | None) -> HttpResponse:
        parts = urlsplit(self.base_url)
        request = urllib.request.Request(  # noqa: S310 - the person's own instance
            f"{parts.scheme}://{parts.netloc}{path}",
            data=None if body is None else body.encode("utf-8", "replace"),
            headers=self._headers(),
            method=method,
        )
        try:
            with _opener(is_local(parts.hostname), self.trust.context).open(
                request, timeout=TIMEOUT_S
            ) as reply:
                return _read(reply.status, reply.headers, reply.read(BODY_LIMIT_BYTES + 1))
        except urllib.error.HTTPError as refused:
            with refused:
                return _read(refused.code, refused.headers, refused.read(BODY_LIMIT_BYTES + 1))
        except TimeoutError:
            return HttpResponse(error="request timed out")
        except (OSError, http.client.HTTPException, ValueError) as error:
            return HttpResponse(error=f"request failed: {type(error).__name__}")

    def _headers(self) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        if self.workflow_id:
            headers["X-Gitlab-Duo-Workflow-Id"] = self.workflow_id
        return headers


@cache
def _opener(local: bool, context: ssl.SSLContext | None) -> urllib.request.OpenerDirector:
    """Without a handler of redirects: they are answers, and the token is for one host."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler({} if local else None),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=context or ssl.create_default_context()),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _read(status: int, headers: Message, body: bytes) -> HttpResponse:
    if len(body) > BODY_LIMIT_BYTES:
        return HttpResponse(error=f"response body exceeded size limit ({BODY_LIMIT_BYTES} bytes)")
    named: dict[str, str] = {}
    for name, value in headers.items():
        title = name.title()
        named[title] = f"{named[title]}, {value}" if title in named else value
    text = body.decode("utf-8", "replace")
    return HttpResponse(statusCode=status, headers=named, body=text)


def _plain(path: str) -> bool:
    """A path and query of this host, in visible ASCII."""
    starts = path.startswith("/") and not path.startswith("//")
    return starts and path.isascii() and all(33 <= ord(char) < 127 for char in path)
