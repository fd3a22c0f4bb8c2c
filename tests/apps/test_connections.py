"""Clients of Kafka and of the database are made in one place each, where the credentials are."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVICES = ("actions", "apps", "domain", "events", "store", "templates", "vault")


def made_in(name: str) -> set[str]:
    """Return the files that call something of this name."""
    return {
        str(file.relative_to(ROOT))
        for folder in SERVICES
        for file in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and name == getattr(node.func, "attr", getattr(node.func, "id", None))
    }


@pytest.mark.parametrize(
    ("client", "places"),
    [
        ("AIOKafkaAdminClient", {"events/broker.py"}),
        ("AIOKafkaConsumer", {"events/broker.py"}),
        ("AIOKafkaProducer", {"events/broker.py"}),
        ("Broker", {"apps/kafka_security.py"}),
        ("AsyncMongoClient", {"store/client.py"}),
        ("MongoStore", {"apps/database.py"}),
    ],
)
def test_a_client_is_made_in_one_place(client: str, places: set[str]) -> None:
    assert made_in(client) == places


def imported_in(package: str) -> set[str]:
    """Return the folders in which something of a package is imported."""
    return {
        folder
        for folder in SERVICES
        for file in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        for name in (
            [each.name for each in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        if name.split(".")[0] == package
    }


def test_only_the_store_knows_the_driver_of_the_database() -> None:
    assert imported_in("pymongo") == {"store"}
