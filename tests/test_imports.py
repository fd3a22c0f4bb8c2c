"""Which package may import which: the core knows nothing of what is built on it, and no service of another."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

BELOW: dict[str, set[str]] = {
    "domain": set(),
    "templates": {"domain"},
    "vault": {"domain"},
    "events": {"domain"},
    "store": {"domain", "vault", "events"},
    "actions": {"domain", "templates", "vault"},
}
ENTRANCES = ("apps.workflows", "apps.scheduler", "apps.runner", "apps.cli")
ALLOWED = {
    ("apps.cli", "apps.workflows"),  # the first token is made as the API makes them
}
OURS = {*BELOW, "apps", "bench", "chaos", "docs", "tests"}


def imports(package: str) -> Iterator[tuple[Path, str]]:
    for file in sorted((ROOT / package.replace(".", "/")).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                module = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
                yield from ((file.relative_to(ROOT), f"{module}{alias.name}") for alias in node.names)


@pytest.mark.parametrize("package", BELOW)
def test_a_package_imports_only_what_is_below_it(package: str) -> None:
    others = OURS - BELOW[package] - {package}
    assert [(file, name) for file, name in imports(package) if name.partition(".")[0] in others] == []


@pytest.mark.parametrize("service", ENTRANCES)
def test_no_service_imports_another(service: str) -> None:
    others = {other for other in ENTRANCES if other != service and (service, other) not in ALLOWED}
    found = [(file, name) for file, name in imports(service) if ".".join(name.split(".")[:2]) in others]
    assert found == []


def test_what_services_share_imports_none_of_them() -> None:
    shared = [(file, name) for file, name in imports("apps") if file.parent.name in ("apps", "projection", "standalone")]
    assert shared
    assert [(file, name) for file, name in shared if ".".join(name.split(".")[:2]) in ENTRANCES] == []
