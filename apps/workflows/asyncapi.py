"""``/asyncapi.json``: the event topics as a public contract, made of the topics and of what decodes their records."""

from typing import Any

from apps.workflows.openapi import service_version, untitled
from events.retentions import Retentions
from events.topics import ALL, EXECUTION, PARTITIONS, SIGNAL, TopicSpec
from events.wire import json_schema

_DESCRIPTION = """\
What the services tell each other, and whoever listens. Values are JSON objects in snake_case, instants RFC 3339 in UTC; the
key is the workflow's id. Fields that are not described here may appear and must be ignored. Delivery is at least once, and
in order for each workflow. Publish to `workflow.execution` to start a workflow; give an `execution_id` (a UUID) and
publishing twice starts it once.
"""


def document(retentions: Retentions) -> dict[str, Any]:
    """Return the AsyncAPI document."""
    schemas: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for topic in ALL:
        for record in topic.records:
            schema = untitled(json_schema(record))
            for name, definition in schema.pop("$defs", {}).items():
                schemas[name] = definition
            schemas[record.__name__] = schema
            messages[record.__name__] = {
                "name": record.__name__,
                "summary": " ".join((record.__doc__ or "").split()),
                "contentType": "application/json",
                "payload": {"$ref": f"#/components/schemas/{record.__name__}"},
                "bindings": {"kafka": {"key": {"type": "string", "description": "The workflow's id."}}},
            }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Workflow automation: events",
            "version": service_version(),
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {_key(topic): _channel(topic, retentions) for topic in ALL},
        "operations": {
            **{
                f"receive-{_key(topic)}": {
                    "action": "send",  # from the view of this system
                    "channel": {"$ref": f"#/channels/{_key(topic)}"},
                    "summary": topic.purpose,
                }
                for topic in ALL
            },
            "start-a-workflow": {
                "action": "receive",
                "channel": {"$ref": f"#/channels/{_key(EXECUTION)}"},
                "summary": "Any producer may start a workflow.",
            },
            "signal-an-execution": {
                "action": "receive",
                "channel": {"$ref": f"#/channels/{_key(SIGNAL)}"},
                "summary": "Any producer may tell an execution what a step of it waits for.",
            },
        },
        "components": {"messages": messages, "schemas": schemas},
    }


def _key(topic: TopicSpec) -> str:
    return topic.name.replace(".", "-")


def _configuration(topic: TopicSpec, retentions: Retentions) -> dict[str, int]:
    # The binding knows numbers only, and no other name of a setting.
    return {name: int(value) for name, value in topic.configuration(retentions).items() if value.isdecimal()}


def _channel(topic: TopicSpec, retentions: Retentions) -> dict[str, Any]:
    return {
        "address": topic.name,
        "description": topic.purpose,
        "messages": {record.__name__: {"$ref": f"#/components/messages/{record.__name__}"} for record in topic.records},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": PARTITIONS,
                "topicConfiguration": _configuration(topic, retentions),
            }
        },
    }
