"""``/login``, ``/logout`` and ``/session``: how a browser comes to be somebody.

The cookie holds the token itself, out of reach of scripts and of other sites: revoking the token ends its sessions at once,
and nothing about them is stored. A second cookie, which scripts can read, holds what they must send with every change.
"""

from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web
from pydantic import Field

from apps.access import ANYBODY, CSRF_COOKIE, SESSION_COOKIE, NotAuthenticated, Principal, principal_of
from apps.operations import Answer, Operation
from apps.workflows.answers.sessions import Session
from apps.workflows.assets import ASSETS, SECURITY, TYPES
from apps.workflows.bodies import read_bytes, read_model, read_text
from apps.workflows.errors import BadRequest
from apps.workflows.views import Resource
from domain.access import Scope, csrf_of
from domain.model import Model

_FORM: Final = "application/x-www-form-urlencoded"
_LONGEST_LOGIN: Final = 16_384  # bytes; where to go on is an address of the dashboard or of the API
_FILES: Final = frozenset({"style.css", "icon.svg"})
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class LoginBody(Model):
    """A token."""

    token: str = Field(max_length=200, description="As `wf tokens create` has shown it.")


class Login(Resource):
    """Where a browser logs in."""

    view_name = "login"
    view_path = "/login"
    operations: ClassVar = {
        "get": Operation(
            "showLogin",
            "The page to log in",
            {200: Answer("The page.", content_type="text/html")},
            tag="access",
            scope=Scope.PUBLIC,
            lets_parameters_be=True,
            uses_database=False,
        ),
        "post": Operation(
            "login",
            "Log in with a token",
            {200: Answer("The cookies are set.", Session), 303: Answer("The same, for a form.", content_type=None)},
            tag="access",
            scope=Scope.PUBLIC,
            lets_parameters_be=True,  # the page sends its form to its own address
            body=LoginBody,
            refusals=(NotAuthenticated,),
            takes_key=False,  # a kept answer would lack the cookies, and outlive the token
            is_routine=True,
        ),
    }

    async def get(self, request: web.Request) -> web.Response:
        """Return the page."""
        return _page(request.query.get("next", "/"))

    async def post(self, request: web.Request) -> web.Response:
        """Check the token and set the cookies."""
        # Anybody may ask this: a megabyte of JSON, or of fields, would hold up all others for half a second.
        if len(await read_bytes(request)) > _LONGEST_LOGIN:
            raise BadRequest(f"The body is longer than {_LONGEST_LOGIN} bytes; send the token, and nothing else.")
        if request.content_type == _FORM:
            form = dict(parse_qsl(await read_text(request, also=[_FORM])))
            target = form.get("next", "/")
            try:
                text, principal = await self._enter(form.get("token", "").strip())
            except NotAuthenticated:
                return _page(target, "This token is unknown, revoked or expired.")
            response = web.Response(status=303, headers={"Location": _local(target), "Cache-Control": "no-store"})
        else:
            text, principal = await self._enter((await read_model(LoginBody, request)).token)
            response = self.answer(_shown(principal))
        if principal.csrf is not None:
            self._set(request, response, SESSION_COOKIE, text, httponly=True)
            self._set(request, response, CSRF_COOKIE, principal.csrf, httponly=False)
        return response

    async def _enter(self, text: str) -> tuple[str, Principal]:
        found = await self.app.gate.recognize(text)
        if found is ANYBODY:
            return text, found
        return text, Principal(found.name, found.scope, found.token_id, csrf_of(text))

    def _set(self, request: web.Request, response: web.Response, name: str, value: str, *, httponly: bool) -> None:
        is_encrypted = request.secure or request.headers.get("X-Forwarded-Proto") == "https"
        hours = self.app.settings.session_hours
        response.set_cookie(
            name, value, max_age=int(hours * 3600), path="/", httponly=httponly, samesite="Strict", secure=is_encrypted
        )


class LoginFile(Resource):
    """What the page to log in loads: it looks as the dashboard does, whose files are for those who are logged in."""

    view_name = "login-file"
    view_path = "/login/{asset}"
    operations: ClassVar = {
        "get": Operation(
            "readLoginFile",
            "A file that the page to log in loads",
            {200: Answer("The file.", content_type="*/*")},
            tag="access",
            scope=Scope.PUBLIC,
            lets_parameters_be=True,  # the page asks for them by their digest, so that no old one is kept
            uses_database=False,
            refusals=(web.HTTPNotFound,),
        )
    }

    async def get(self, request: web.Request, asset: str) -> web.Response:
        """Return a file of the page."""
        if asset not in _FILES:
            raise web.HTTPNotFound
        headers = {"Content-Type": TYPES[Path(asset).suffix], "Cache-Control": "max-age=3600", **SECURITY}
        return web.Response(body=ASSETS.files[asset], headers=headers)


class Logout(Resource):
    """Where a browser logs out."""

    view_name = "logout"
    view_path = "/logout"
    operations: ClassVar = {
        "post": Operation(
            "logout",
            "Log out",
            {204: Answer("The cookies are removed.", content_type=None)},
            tag="access",
            takes_key=False,  # as above
            is_routine=True,
        )
    }

    async def post(self, request: web.Request) -> web.Response:
        """Remove the cookies."""
        response = web.Response(status=204)
        for name in (SESSION_COOKIE, CSRF_COOKIE):
            response.del_cookie(name, path="/", samesite="Strict")
        return response


class CurrentSession(Resource):
    """Who the caller is."""

    view_name = "session"
    view_path = "/session"
    operations: ClassVar = {
        "get": Operation(
            "getSession",
            "Tell who the caller is and what they may do",
            {200: Answer("The caller.", Session)},
            tag="access",
            uses_database=False,
        )
    }

    async def get(self, request: web.Request) -> web.Response:
        """Tell who the caller is."""
        return self.answer(_shown(principal_of(request)))


VIEWS: Final[tuple[Any, ...]] = (Login, LoginFile, Logout, CurrentSession)


def _shown(principal: Principal) -> dict[str, Any]:
    return {
        "name": principal.name,
        "scope": principal.scope.value,
        "tokenId": principal.token_id,
        "csrfToken": principal.csrf,
    }


def _page(target: str, error: str = "") -> web.Response:
    page = ASSETS.page("login.html", error=error, next=_local(target))
    return web.Response(body=page, content_type="text/html", charset="utf-8", status=401 if error else 200, headers=_HEADERS)


def _local(target: str) -> str:
    """Return an address on this service: a link must not send people elsewhere once they are logged in."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return "/"
    is_local = not parts.scheme and not parts.netloc and target.startswith("/") and target[1:2] not in ("/", "\\")
    return target if is_local and target.isprintable() else "/"
