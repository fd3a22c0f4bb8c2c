"""Serves the dashboard: the files in ``dashboard/``, as they are.

The page at ``/`` names every other file under a digest of them all, so that those are cached for ever and never stale; the
page itself is asked for each time and answered with 304 where it has not changed. It may load nothing from anywhere else,
and run nothing that is not a file of its own.

Two more pages stand alone: the one to log in (:mod:`apps.workflows.sessions`), and the one for people whose browser asks for
an address where there is nothing.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from faust.types import AppT

from apps.workflows.views import Resource

FILES: Final = Path(__file__).parent / "dashboard"
PREFIX: Final = "/ui"
TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY: Final = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]
)
SECURITY: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


@dataclass(frozen=True)
class Assets:
    """The files, read once."""

    digest: str
    files: Mapping[str, bytes]  # by path below dashboard/
    pages: Mapping[str, str]  # by name

    def page(self, name: str, **values: str) -> bytes:
        """Return a page with ``values`` in the places that bear their names."""
        text = self.pages[name]
        for place, value in {"assets": f"{PREFIX}/{self.digest}", "digest": self.digest, **values}.items():
            text = text.replace(f"{{{{{place}}}}}", escape(value))
        return text.encode()


def read(folder: Path = FILES) -> Assets:
    """Read the files of the dashboard."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix in TYPES)
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    pages = {name: files.pop(name).decode() for name in [*files] if name.endswith(".html")}
    return Assets(digest.hexdigest()[:16], files, pages)


ASSETS: Final = read()


class Page(Resource):
    """The one page of the dashboard; its views are behind the ``#``."""

    view_name = "dashboard"
    view_path = "/"

    async def get(self, request: web.Request) -> web.Response:
        """Return the page."""
        tag = f'"{ASSETS.digest}"'
        headers = {**SECURITY, "Cache-Control": "no-cache", "ETag": tag}
        if request.headers.get("If-None-Match", "").removeprefix("W/") == tag:  # a proxy that compresses weakens it
            return web.Response(status=304, headers=headers)
        return web.Response(body=ASSETS.page("index.html"), headers={**headers, "Content-Type": TYPES[".html"]})


class File(Resource):
    """A file of the dashboard."""

    view_name = "dashboard-file"
    view_path = PREFIX + "/{digest}/{path:.+}"

    async def get(self, request: web.Request, digest: str, path: str) -> web.Response:
        """Return a file."""
        content = ASSETS.files.get(path)
        if content is None:
            raise web.HTTPNotFound
        # A page of a former version may ask while the service is being updated; what it gets must not be kept.
        caching = "public, max-age=31536000, immutable" if digest == ASSETS.digest else "no-store"
        headers = {**SECURITY, "Cache-Control": caching, "Content-Type": TYPES[Path(path).suffix]}
        return web.Response(body=content, headers=headers)


@web.middleware
async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a person's browser with a page where there is nothing at an address; programs get a problem."""
    response = await handler(request)
    is_nowhere = response.status == web.HTTPNotFound.status_code and request.match_info.route.resource is None
    if not is_nowhere or request.method != "GET" or "text/html" not in request.headers.get(hdrs.ACCEPT, ""):
        return response
    headers = {**SECURITY, "Cache-Control": "no-store", "Content-Type": TYPES[".html"]}
    return web.Response(body=ASSETS.page("missing.html"), status=response.status, headers=headers)


VIEWS: Final[tuple[Any, ...]] = (Page, File)


def install(app: AppT) -> None:
    """Add the routes to the web server of ``app``."""
    for view in VIEWS:
        app.web.add_view(view, prefix="")
