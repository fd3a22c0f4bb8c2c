"""The collections that executions live in, in memory, command by command.

The repository's own code runs on them, so that a process may die, stand still or be refused between any two of its
commands; every other process sees what was written until then. Only what :mod:`store.executions` asks for is there.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from pymongo import InsertOne, ReplaceOne
from pymongo.errors import BulkWriteError, DuplicateKeyError

Document = dict[str, Any]
Watch = Callable[[str, Document | None], None]

DUPLICATE_KEY = 11000
OUT_OF_DISK_SPACE = 14031
_ABSENT = object()


class Collection:
    """Documents by id; ``unique`` fields hold no value twice. ``watch`` hears of each write before it is made."""

    def __init__(self, watch: Watch, unique: Sequence[str] = ()) -> None:
        self.documents: dict[Any, Document] = {}
        self._watch = watch
        self._unique = unique

    def find(self, query: Mapping[str, Any]) -> list[Document]:
        wanted = query.get("_id")
        if isinstance(wanted, dict) and "$in" in wanted:
            candidates = [self.documents[each] for each in wanted["$in"] if each in self.documents]
        elif wanted is not None and not isinstance(wanted, dict):
            candidates = [self.documents[wanted]] if wanted in self.documents else []
        else:
            candidates = list(self.documents.values())
        return [document for document in candidates if _matches(document, query)]

    def put(self, document: Document) -> str | None:
        """Insert or replace; the unique field that another document holds already, where there is one."""
        for name in self._unique:
            if name in document and any(
                other.get(name) == document[name] and other["_id"] != document["_id"] for other in self.documents.values()
            ):
                return name
        self._watch(document["_id"], document)
        self.documents[document["_id"]] = document
        return None

    def insert(self, document: Document) -> str | None:
        return "_id" if document["_id"] in self.documents else self.put(document)

    def update(self, query: Mapping[str, Any], change: Mapping[str, Mapping[str, Any]], *, many: bool) -> int:
        found = self.find(query)[: None if many else 1]
        for before in found:
            after = dict(before)
            after.update(change.get("$set", {}))
            for name, value in change.get("$min", {}).items():
                after[name] = min(after.get(name, value), value)
            for name, value in change.get("$addToSet", {}).items():
                after[name] = [*after.get(name, []), *([] if value in after.get(name, []) else [value])]
            for name in change.get("$unset", {}):
                after.pop(name, None)
            self.put(after)
        return len(found)

    def delete(self, query: Mapping[str, Any]) -> int:
        found = self.find(query)
        for document in found:
            self._watch(document["_id"], None)
            del self.documents[document["_id"]]
        return len(found)


class View:
    """A collection as one process sees it: its driver's collection.

    The process has ``collections`` by name, ``command`` to have something done there, and ``refuses`` to tell whether the
    database refuses to write a document.
    """

    def __init__(self, process: Any, name: str) -> None:
        self._process = process
        self._name = name
        self._there: Collection = process.collections[name]

    @property
    def database(self) -> Any:
        return _Database(self._process)

    def find(self, query: Mapping[str, Any], projection: Any = None, *, limit: int = 0, batch_size: int = 0) -> "_Cursor":
        return _Cursor(self, query, limit)

    async def insert_one(self, document: Document) -> None:
        def insert() -> None:
            if self._there.insert(dict(document)) is not None:
                raise DuplicateKeyError("E11000 duplicate key")

        await self._command(insert)

    async def update_many(self, query: Mapping[str, Any], change: Mapping[str, Any]) -> Any:
        return SimpleNamespace(matched_count=await self._command(lambda: self._there.update(query, change, many=True)))

    async def delete_many(self, query: Mapping[str, Any]) -> Any:
        return SimpleNamespace(deleted_count=await self._command(lambda: self._there.delete(query)))

    async def bulk_write(self, writes: Sequence[Any], *, ordered: bool) -> Any:
        return SimpleNamespace(matched_count=await self._command(lambda: self._bulk(writes)))

    def _bulk(self, writes: Sequence[Any]) -> int:
        matched = 0
        errors: list[Document] = []
        for index, write in enumerate(writes):
            clash: str | None = None
            if self._process.refuses():
                errors.append({"index": index, "code": OUT_OF_DISK_SPACE, "errmsg": "the disk is full"})
                continue
            if isinstance(write, InsertOne):
                clash = self._there.insert(dict(write._doc))
            elif isinstance(write, ReplaceOne):
                found = self._there.find(write._filter)[:1]
                matched += len(found)
                for before in found:
                    clash = self._there.put({**write._doc, "_id": before["_id"]})
            else:
                matched += self._there.update(write._filter, write._doc, many=False)
            if clash is not None:
                errors.append({"index": index, "code": DUPLICATE_KEY, "keyPattern": {clash: 1}, "errmsg": "E11000"})
        if errors:
            raise BulkWriteError({"writeErrors": errors, "writeConcernErrors": []})
        return matched

    async def _command(self, do: Callable[[], Any]) -> Any:
        return await self._process.command(do)


class _Database:
    def __init__(self, process: Any) -> None:
        self._process = process

    def __getitem__(self, name: str) -> View:
        return View(self._process, name)


class _Cursor:
    def __init__(self, view: View, query: Mapping[str, Any], limit: int) -> None:
        self._view = view
        self._query = query
        self._limit = limit
        self._order: Sequence[tuple[str, int]] = ()

    def sort(self, order: Sequence[tuple[str, int]]) -> "_Cursor":
        self._order = order
        return self

    async def __aiter__(self) -> AsyncIterator[Document]:
        for document in await self._view._command(self._find):
            yield document

    def _find(self) -> list[Document]:
        found = self._view._there.find(self._query)
        for name, direction in reversed(self._order):
            found.sort(key=lambda document: document[name], reverse=direction < 0)
        return [dict(document) for document in found[: self._limit or None]]


def _matches(document: Document, query: Mapping[str, Any]) -> bool:
    return all(_holds(document.get(name, _ABSENT), wanted) for name, wanted in query.items())


def _holds(value: Any, wanted: Any) -> bool:
    if not isinstance(wanted, dict):
        return value is _ABSENT if wanted is None else value == wanted
    return all(_compares(value, operator, bound) for operator, bound in wanted.items())


def _compares(value: Any, operator: str, bound: Any) -> bool:
    if operator == "$in":
        return value in bound
    if value is _ABSENT:
        return False
    if operator == "$lt":
        return bool(value < bound)
    if operator == "$lte":
        return bool(value <= bound)
    if operator == "$gt":
        return bool(value > bound)
    if operator == "$gte":
        return bool(value >= bound)
    raise NotImplementedError(operator)
