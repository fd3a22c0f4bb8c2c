"""How a token is asked for by the client credentials grant of OAuth 2.0 (RFC 6749, 4.4), and what is made of the answer."""

import hashlib
import json
import math
from datetime import datetime, timezone
from typing import Any, Final
from urllib.parse import quote_plus

import aiohttp
import re2
from multidict import CIMultiDict
from yarl import URL

from actions.http.auth import OAuth2Auth, basic
from actions.http.bodies import Values, form_body
from actions.http.connections import user_agent
from actions.http.failures import RequestFailed
from actions.http.reading import Body, NotJson
from actions.http.redaction import redact_url
from actions.http.requests import REDIRECTS, Request
from actions.http.responses import retry_after
from actions.http.tokens import EARLY, Token
from domain.excerpts import excerpt
from domain.model import Model
from vault.redaction import Redactor, is_recognisable

LONGEST_ANSWER: Final = 65_536  # bytes
LONGEST_TOKEN: Final = 16_384  # characters; what receivers take as a header is less
UNSAID_LIFETIME: Final = 300.0  # seconds, of a token whose answer does not tell how long it is good for
_SENDABLE: Final = re2.compile(r"[!-~]+")
_MENDS: Final = {
    "invalid_client": "check clientId and what clientSecret names, or send them otherwise (clientAuth)",
    "invalid_scope": "check scope",
    "invalid_target": "check audience",
}


def token_key(auth: OAuth2Auth, secret: str, *way: Model | None) -> bytes:
    """Return what tells tokens apart: what they are asked for with, and the ``way`` there, which others must not choose."""
    parts = [auth.to_wire(), secret, *(None if each is None else each.to_wire() for each in way)]
    return hashlib.sha256(json.dumps(parts).encode()).digest()


def token_request(auth: OAuth2Auth, secret: str) -> Request:
    """Return what asks for a token."""
    form: Values = {"grant_type": "client_credentials", "scope": auth.scope, "audience": auth.audience, **(auth.form or {})}
    headers: CIMultiDict[str] = CIMultiDict(
        {
            "User-Agent": user_agent(),
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
        }
    )
    if auth.client_auth == "basic":
        headers["Authorization"] = basic(quote_plus(auth.client_id), quote_plus(secret))  # as 2.3.1 says
    else:
        form |= {"client_id": auth.client_id, "client_secret": secret}
    return Request("POST", URL(auth.token_url), headers, form_body(form))


def token_of(response: aiohttp.ClientResponse, body: Body, asked_at: float, secret: str) -> Token:
    """Return the token in an answer.

    Raises:
        RequestFailed: there is none that can be used.
    """
    answer = _parsed(body)
    if not 200 <= response.status < 300:
        raise RequestFailed(
            "token",
            _why(response, answer, secret),
            status=response.status,
            retry_after=retry_after(response.headers, datetime.now(timezone.utc)),
        )
    if not body.complete:
        raise RequestFailed("token", f"its answer has more than {LONGEST_ANSWER} bytes")
    value, kind = answer.get("access_token"), answer.get("token_type", "Bearer")
    if not isinstance(value, str):
        raise RequestFailed("token", "its answer is no JSON object with an access_token")
    # There are some that write BearerToken.
    if not isinstance(kind, str) or not kind.lower().startswith("bearer"):
        raise RequestFailed("token", f"its token is of type {excerpt(str(kind), 50)!r}; only Bearer can be sent")
    if len(value) > LONGEST_TOKEN or not is_recognisable(value) or _SENDABLE.fullmatch(value) is None:
        raise RequestFailed("token", "its access_token is too short, too long, or holds what no header may hold")
    lifetime = _lifetime(answer.get("expires_in"))
    return Token(value, asked_at + lifetime - min(EARLY, lifetime / 10))


def _parsed(body: Body) -> dict[str, Any]:
    try:
        answer = body.json()
    except NotJson:
        return {}
    return answer if isinstance(answer, dict) else {}


def _why(response: aiohttp.ClientResponse, answer: dict[str, Any], secret: str) -> str:
    """Return what went wrong (RFC 6749, 5.2), and how to mend it."""
    location = response.headers.get("Location")
    if response.status in REDIRECTS and location is not None:
        try:
            target = redact_url(response.url.join(URL(location)))
        except ValueError:
            target = "what is no URL"
        return f"it redirects to {excerpt(target, 200)}, which credentials do not follow; write that as tokenUrl"
    error, description = (str(answer.get(name) or "") for name in ("error", "error_description"))
    told = f" {excerpt(error, 100)}" if error else ""
    told += f": {excerpt(description, 300)}" if description else ""
    mend = _MENDS.get(error or ("invalid_client" if response.status == 401 else ""))
    told += f"; {mend}" if mend else ""
    # Who repeats what was sent repeats it as it was: Basic of the encoded secret is not known as the secret's.
    redactor = Redactor()
    redactor.know([quote_plus(secret)])
    return str(redactor.value(f"it answered {response.status}{told}"))


def _lifetime(told: Any) -> float:
    """Return for how many seconds a token is good; some write the number as a text."""
    try:
        seconds = UNSAID_LIFETIME if isinstance(told, bool) else float(told)
    except (TypeError, ValueError, OverflowError):
        return UNSAID_LIFETIME
    return max(seconds, 0.0) if math.isfinite(seconds) else UNSAID_LIFETIME
