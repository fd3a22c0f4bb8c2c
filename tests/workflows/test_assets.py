"""How the dashboard's files are served."""

import re
from typing import Any

import pytest
from aiohttp import web

from apps.workflows.assets import ASSETS, FILES, TYPES
from tests.workflows.client import Client


async def fetch(api: Client, path: str, **headers: str) -> tuple[int, Any, str]:
    async with api.session.get(api.server.make_url(path), headers=headers) as response:
        return response.status, response.headers, await response.text()


async def test_the_page_may_load_nothing_but_its_own_files(api: Client) -> None:
    status, headers, text = await fetch(api, "/")
    assert status == 200
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert not re.search(r"https?://|<script>|style=|\son\w+=", text)


@pytest.mark.parametrize("weakened", ["", "W/"])
async def test_the_page_is_asked_for_each_time_and_answered_once(api: Client, weakened: str) -> None:
    _, headers, _ = await fetch(api, "/")
    assert headers["Cache-Control"] == "no-cache"
    status, _, text = await fetch(api, "/", **{"If-None-Match": weakened + headers["ETag"]})
    assert (status, text) == (304, "")


async def test_its_files_are_kept_for_ever_under_their_digest(api: Client) -> None:
    _, _, page = await fetch(api, "/")
    for address in re.findall(r'(?:src|href)="(/ui/[^"]+)"', page):
        status, headers, text = await fetch(api, address)
        assert status == 200 and text
        assert "immutable" in headers["Cache-Control"]
        assert headers["X-Content-Type-Options"] == "nosniff"
    status, headers, _ = await fetch(api, "/ui/0123456789abcdef/app.js")
    assert (status, headers["Cache-Control"]) == (200, "no-store")


async def test_every_module_that_is_imported_is_there_and_nothing_comes_from_elsewhere(api: Client) -> None:
    for name, content in ASSETS.files.items():
        for imported in re.findall(r'(?m)^import .* from "([^"]+)";$', content.decode()) if name.endswith(".js") else []:
            folder = f"/ui/{ASSETS.digest}/{name}".rpartition("/")[0]
            assert (await fetch(api, f"{folder}/{imported}"))[0] == web.HTTPOk.status_code, (name, imported)
        assert b"http://" not in content.replace(b"http://www.w3.org/2000/svg", b""), name


async def test_there_is_no_way_out_of_the_folder(api: Client) -> None:
    answer = await api.get(f"/ui/{ASSETS.digest}/..%2f..%2fapp.py")
    answer.problem(404)


def test_every_file_is_served_and_packaged() -> None:
    found = {path.relative_to(FILES).as_posix() for path in FILES.rglob("*") if path.is_file()}
    assert found == {*ASSETS.files, *ASSETS.pages}
    assert {FILES.joinpath(name).suffix for name in found} <= set(TYPES)
    assert all(name.count("/") <= 1 for name in found), "setup.cfg packages two levels"
