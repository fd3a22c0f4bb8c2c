"""What somebody may have meant who wrote a field or a kind that is not known: a slip of the pen, or another system's word.

Which fields there are at a place is told by the models, so a word is only taken for one that would be taken there.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

NEAR: Final = 0.75  # as difflib counts: "uri" is none for "url" yet, "timout" is one for "timeout"

# As others call them, in lower case and without '_' and '-'; the first that is a field of the place counts.
_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "id": ("workflowId", "actionId"),
    "name": ("workflowId", "actionId"),
    "dagid": ("workflowId",),
    "flowid": ("workflowId",),
    "taskid": ("actionId",),
    "stepid": ("actionId",),
    "steps": ("actions",),
    "tasks": ("actions",),
    "nodes": ("actions",),
    "activities": ("actions",),
    "triggers": ("trigger",),
    "schedule": ("trigger", "expression"),
    "cron": ("expression", "trigger"),
    "every": ("interval",),
    "tz": ("timezone",),
    "catchup": ("misfire",),
    "inputs": ("inputSchema", "input"),
    "parameters": ("inputSchema", "query", "input"),
    "params": ("inputSchema", "query", "input"),
    "errors": ("onFailure",),
    "onerror": ("onFailure", "continueOnError"),
    "onfailurecallback": ("onFailure",),
    "concurrency": ("overlap",),
    "maxactiveruns": ("overlap",),
    "uri": ("url",),
    "endpoint": ("url",),
    "data": ("json", "value", "values"),
    "payload": ("json", "value"),
    "when": ("if",),
    "condition": ("if",),
    "runif": ("if",),
    "allowfailure": ("continueOnError",),
    "continueonfail": ("continueOnError",),
    "loop": ("forEach",),
    "items": ("forEach",),
    "withitems": ("forEach",),
    "waitforcompletion": ("waitForEnd",),
    "workflow": ("workflowId",),
    "text": ("message",),
    "maxattempt": ("attempts",),
    "maximumattempts": ("attempts",),
    "delay": ("initial", "duration"),
    "interval": ("initial",),
    "initialinterval": ("initial",),
    "retrydelay": ("initial",),
    "backoffcoefficient": ("factor",),
    "multiplier": ("factor",),
    "maximuminterval": ("cap",),
    "maxinterval": ("cap",),
    "maxdelay": ("cap",),
    "maxduration": ("budget", "timeout"),
}

_PLUGIN = "code of yours runs behind HTTP, or as a kind of your own (ACTION_PLUGINS)"

_KINDS: Final[Mapping[str, Mapping[str, str]]] = {  # by a kind that is there as well: of triggers, of actions
    "manual": {
        "kafka": "write {type: manual}, and beside the trigger kafka: {topic: …}",
        "webhook": "write {type: manual}, and beside the trigger webhook: {type: hmac, …}",
        "schedule": "did you mean 'cron'?",
        "interval": "did you mean 'periodic'?",
    },
    "http-request": {
        "http": "did you mean 'http-request'?",
        "kafka": "did you mean 'publish'?",
        "sleep": "did you mean 'delay'?",
        "wait": "did you mean 'delay' or 'wait-for-signal'?",
        "pause": "did you mean 'wait-for-signal'?",
        "approval": "did you mean 'wait-for-signal'?",
        "subflow": "did you mean 'trigger-workflow'?",
        "workflow": "did you mean 'trigger-workflow'?",
        "python": _PLUGIN,
        "script": _PLUGIN,
        "shell": _PLUGIN,
    },
}


def meant_field(model: type[BaseModel], loc: Sequence[str | int]) -> str | None:
    """Return the field that was meant by the last part of ``loc``, a path through what is to be a ``model``."""
    known = _fields(model, loc[:-1])
    word = _plain(str(loc[-1]))
    named = [name for name in _FIELDS.get(word, ()) if name in known]
    plain = {_plain(name): name for name in known}
    near = difflib.get_close_matches(word, plain, n=1, cutoff=NEAR)
    return named[0] if named else plain[near[0]] if near else None


def meant_kind(word: object, kinds: Sequence[str]) -> str | None:
    """Return what is to be written where ``word`` is none of the ``kinds``."""
    if not isinstance(word, str):
        return None
    near = difflib.get_close_matches(word.lower(), kinds, n=1, cutoff=NEAR)
    if near:
        return f"did you mean {near[0]!r}?"
    return next((words[word.lower()] for kind, words in _KINDS.items() if kind in kinds and word.lower() in words), None)


def example(model: type[BaseModel], loc: Sequence[str | int]) -> str | None:
    """Return what may stand at ``loc``, where the field says so."""
    info = _fields(model, loc[:-1]).get(str(loc[-1]))
    return (
        None if info is None else next((str(each) for each in [*(info.examples or ()), *_examples(info.annotation)]), None)
    )


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _fields(model: type[BaseModel], loc: Sequence[str | int]) -> dict[str, FieldInfo]:
    """Return the fields of what stands at ``loc`` by their names on the wire."""
    models = [model]
    for part in loc:
        tagged = [each for each in models if _is_tagged(each, part)]
        if tagged and len(models) > 1:
            models = tagged
        elif not isinstance(part, int):
            found = [info.annotation for each in models for name, info in _named(each) if name == part]
            models = [inner for annotation in found for inner in _models(annotation)]
    return {name: info for each in models for name, info in _named(each)}


def _named(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    for name, info in model.model_fields.items():
        yield info.alias or name, info


def _is_tagged(model: type[BaseModel], tag: str | int) -> bool:
    info = model.model_fields.get("type")
    return info is not None and tag in get_args(info.annotation)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif not isinstance(annotation, TypeVar):
        for inner in get_args(annotation):
            yield from _models(inner)


def _examples(annotation: Any) -> Iterator[Any]:
    for note in getattr(annotation, "__metadata__", ()):
        if isinstance(note, FieldInfo):
            yield from note.examples or ()
    for inner in get_args(annotation):
        yield from _examples(inner)
