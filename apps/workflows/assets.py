"""Serves the dashboard: the files in ``dashboard/``, as they are.

The page at ``/`` names every other file under a digest of them all, so that those are cached for ever and never stale; the
page itself is asked for each time and answered with 304 where it has not changed. It may load nothing from anywhere else,
and run nothing that is not a file of its own.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiohttp import web
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
    files: dict[str, bytes]  # by path below dashboard/
    page: bytes
    page_tag: str


def read(folder: Path = FILES) -> Assets:
    """Read the files of the dashboard."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix in TYPES)
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    short = digest.hexdigest()[:16]
    page = files.pop("index.html").replace(b"{{assets}}", f"{PREFIX}/{short}".encode())
    return Assets(short, files, page, f'"{short}"')


ASSETS: Final = read()


class Page(Resource):
    """The one page of the dashboard; its views are behind the ``#``."""

    view_name = "dashboard"
    view_path = "/"

    async def get(self, request: web.Request) -> web.Response:
        """Return the page."""
        headers = {**SECURITY, "Cache-Control": "no-cache", "ETag": ASSETS.page_tag}
        if request.headers.get("If-None-Match") == ASSETS.page_tag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=ASSETS.page, headers={**headers, "Content-Type": TYPES[".html"]})


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


VIEWS: Final[tuple[Any, ...]] = (Page, File)


def install(app: AppT) -> None:
    """Add the routes to the web server of ``app``."""
    for view in VIEWS:
        app.web.add_view(view, prefix="")
