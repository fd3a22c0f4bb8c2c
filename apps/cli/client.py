"""Talks to the HTTP API, and says what went wrong in words that name the mend.

The standard library's client does: commands send one request after the other, and importing aiohttp would cost more time
than most commands take. One connection is kept over the requests of a command.
"""

import http.client
import json
import ssl
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from apps.cli import output, profiles
from apps.cli.errors import ExitCode, Unreachable, WfError

PREFIX = "/v1"
REQUEST_ID = "X-Request-Id"  # in every answer of the service, whatever it says
LARGEST_PAGE = 500
TIMEOUT = 30.0  # seconds without a byte from the service
PATIENCE = 30.0  # seconds that the service may be away while something is waited for


# What to say where there is nothing: one text, or one for each kind of problem.
Missing = str | Mapping[str, str]


@dataclass(frozen=True)
class FieldError:
    """What the service found wrong with one field."""

    field: str
    message: str


class Problem(WfError):
    """The service refused a request (RFC 9457); ``members`` is what it said."""

    def __init__(self, status: int, members: Mapping[str, Any]) -> None:
        self.status = status
        self.members = members
        self.kind = str(members.get("type", "")).rpartition(":")[2]
        found = members.get("errors")
        self.errors: Sequence[FieldError] = [
            FieldError(str(error.get("field", "")), str(error.get("message", "")))
            for error in (found if isinstance(found, list) else [])
            if isinstance(error, dict)
        ]
        message = members.get("detail") or members.get("title") or f"the service answered {status}"
        super().__init__(
            str(message),
            details=[f"{error.field}: {error.message}" for error in self.errors],
            hint=_HINTS.get(status, ""),
            code=_CODES.get(status, ExitCode.FAILED),
        )


@dataclass(frozen=True)
class Page:
    """A list as far as it was asked for."""

    items: list[dict[str, Any]]
    is_cut: bool  # whether the service has more


class Client:
    """A connection to one service; use it in a ``with`` statement."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._token = profiles.current().token_for(url)
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT)
        self._base = parts.path.rstrip("/") + PREFIX

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def get(self, *path: str, missing: Missing = "", query: Mapping[str, object] | None = None) -> Any:
        """Return the resource at ``path``; ``missing`` is what to say where there is none."""
        return self._request("GET", path, query=query, missing=missing)

    def find(self, *path: str) -> dict[str, Any] | None:
        """Return the resource at ``path``; None where there is none."""
        try:
            found: dict[str, Any] = self.get(*path)
        except Problem as problem:
            if problem.status == 404:
                return None
            raise
        return found

    def post(self, *path: str, body: Any = None, missing: Missing = "", key: str | None = None) -> Any:
        """Send ``body`` and return the answer.

        With a key (Idempotency-Key; one of our own where none is given, none with "") a lost answer may be asked for again.
        """
        return self._request("POST", path, body=body, missing=missing, key=uuid.uuid4().hex if key is None else key)

    def put(self, *path: str, body: Any, version: int | None = None) -> Any:
        """Replace the resource at ``path``, where it is still at ``version``."""
        return self._request("PUT", path, body=body, if_match=f'"{version}"' if version is not None else "")

    def delete(self, *path: str, missing: str = "") -> None:
        """Remove the resource at ``path``."""
        self._request("DELETE", path, missing=missing)

    def page(self, *path: str, limit: int, query: Mapping[str, object], missing: str = "") -> Page:
        """Return the first ``limit`` items of a list (0: all of them), following its cursors."""
        items: list[dict[str, Any]] = []
        cursor = None
        with output.progress("reading") as show:
            while True:
                wanted = min(limit - len(items), LARGEST_PAGE) if limit else LARGEST_PAGE
                answer = self.get(*path, query={**query, "limit": wanted, "cursor": cursor}, missing=missing)
                items += answer.get("items", [])
                cursor = answer.get("nextCursor")
                if cursor is None or (limit and len(items) >= limit):
                    return Page(items, is_cut=cursor is not None)
                show(f"reading: {len(items):,}" + (f" of {limit:,}" if limit else ""))

    def _request(
        self,
        method: str,
        path: Sequence[str],
        *,
        query: Mapping[str, object] | None = None,
        body: Any = None,
        missing: Missing = "",
        if_match: str = "",
        key: str = "",
    ) -> Any:
        target = "/".join([self._base, *(quote(part, safe="") for part in path)])
        given = {name: value for name, value in (query or {}).items() if value is not None}
        if given:
            target += "?" + urlencode(given)
        response, answer = self._ask(method, target, body, {"If-Match": if_match, "Idempotency-Key": key})
        if response.status < 300:
            return answer
        problem = Problem(response.status, answer)
        if response.status >= 500 and problem.kind != "definition-unreadable":  # which is no better in a moment
            raise self._unavailable(response, answer.get("detail"))
        said = missing if isinstance(missing, str) else missing.get(problem.kind)
        if response.status == 404 and said:
            raise WfError(said, code=ExitCode.NOT_FOUND)
        raise problem

    def look(self, path: str) -> tuple[int, Message, dict[str, Any]]:
        """Return status, headers and JSON of any address of the service, whatever it answers."""
        response, answer = self._ask("GET", self._base.removesuffix(PREFIX) + path, None)
        return response.status, response.headers, answer

    def _ask(
        self, method: str, target: str, body: Any, conditions: Mapping[str, str] | None = None
    ) -> tuple[http.client.HTTPResponse, dict[str, Any]]:
        """Return what the service answers, and its JSON ({} where it has nothing to say).

        Raises:
            Unreachable: something else answers: another server, or a proxy that does not reach the service.
        """
        response, payload = self._exchange(method, target, body, conditions)
        if 300 <= response.status < 400:
            raise self._other_server(f"redirects to {response.headers.get('Location', 'another address')}")
        answer = _parsed(payload) if payload else {}
        if REQUEST_ID in response.headers and isinstance(answer, dict):
            return response, answer
        if response.status >= 500:
            raise self._unavailable(response)
        lacking = "a JSON object" if REQUEST_ID in response.headers else REQUEST_ID
        raise self._other_server(f"answered {response.status} {response.reason} without {lacking}")

    def _exchange(
        self, method: str, target: str, body: Any, conditions: Mapping[str, str] | None = None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        headers = {"Accept": "application/json, application/problem+json", "User-Agent": "wf"}
        headers |= {name: value for name, value in (conditions or {}).items() if value}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        content = None
        if body is not None:
            content = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        may_repeat = method != "POST" or "Idempotency-Key" in headers
        if not may_repeat:
            # When a kept connection turns out to be closed, the request may have arrived or not.
            self._connection.close()
        try:
            return self._send(method, target, content, headers)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
            self._connection.close()
            if not may_repeat:
                raise self._unreachable(error) from None
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise self._unreachable(error) from None
        try:
            return self._send(method, target, content, headers)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise self._unreachable(error) from None

    def _send(
        self, method: str, target: str, content: bytes | None, headers: Mapping[str, str]
    ) -> tuple[http.client.HTTPResponse, bytes]:
        self._connection.request(method, target, content, dict(headers))
        response = self._connection.getresponse()
        return response, response.read()

    def _unavailable(self, response: http.client.HTTPResponse, detail: str | None = None) -> Unreachable:
        return Unreachable(
            f"{self.url} answered {response.status} {response.reason}" + (f": {detail}" if detail else ""),
            hint="Try again in a moment; the log of the service says more.",
        )

    def _unreachable(self, error: Exception) -> Unreachable:
        if isinstance(error, TimeoutError):
            return Unreachable(
                f"{self.url} did not answer within {TIMEOUT:g} s", hint="Look at the service's log, or try again later."
            )
        if isinstance(error, ssl.SSLError):
            return Unreachable(
                f"no secure connection to {self.url}: {error.reason or error}",
                hint="Check the certificate, or write http:// where the service has none.",
            )
        if isinstance(error, http.client.HTTPException) and not isinstance(error, OSError):
            return self._other_server("does not speak HTTP")
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        return Unreachable(
            f"cannot reach the service at {self.url} ({reason})",
            hint="Start it with `wf up`, or name another address with --url or WF_URL.",
        )

    def _other_server(self, what: str) -> Unreachable:
        return Unreachable(
            f"{self.url} is not the workflows service: it {what}",
            hint="Name the right address with --url or WF_URL.",
            may_return=False,
        )


def _parsed(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except ValueError:
        return None


_CODES = {
    401: ExitCode.NOT_ALLOWED,
    403: ExitCode.NOT_ALLOWED,
    404: ExitCode.NOT_FOUND,
    409: ExitCode.CONFLICT,
    412: ExitCode.CONFLICT,
}
_HINTS = {
    401: "Give a good token with --token, WF_TOKEN or a profile; somebody of scope admin makes one: wf tokens create NAME",
    403: "Give a token of that scope with --token, WF_TOKEN or a profile.",
}
