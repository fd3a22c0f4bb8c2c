"""The cache of Kafka's jars: a complete set is used as it is, anything else counts as none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from apps.standalone import jars


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    target = tmp_path / f"kafka-{jars.KAFKA_VERSION}"
    target.mkdir()
    for name in ("a.jar", "b.jar"):
        (target / name).write_bytes(b"12345")
    manifest = {"endpoint": jars.ENDPOINT, "jars": {"a.jar": 5, "b.jar": 5}}
    (target / jars.MANIFEST).write_text(json.dumps(manifest))
    return target


async def test_a_complete_set_needs_no_fetch(cache: Path) -> None:
    said: list[str] = []
    assert await jars.class_path(cache.parent, said.append) == [cache / "a.jar", cache / "b.jar"]
    assert said == []


@pytest.mark.parametrize("damage", ["missing", "torn", "other version", "no manifest", "garbage"])
def test_a_damaged_set_counts_as_none(cache: Path, damage: str) -> None:
    manifest = cache / jars.MANIFEST
    if damage == "missing":
        (cache / "a.jar").unlink()
    elif damage == "torn":
        (cache / "a.jar").write_bytes(b"1")
    elif damage == "other version":
        manifest.write_text(manifest.read_text().replace(jars.KAFKA_VERSION, "0.0.1"))
    elif damage == "no manifest":
        manifest.unlink()
    else:
        manifest.write_text("[]")
    assert jars._complete_set(cache) is None
