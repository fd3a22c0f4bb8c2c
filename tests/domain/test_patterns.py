import pytest

from actions.registry import WorkflowDefinition
from domain import patterns
from domain.inputs import InputSchema
from tests.cost import cpu_seconds

LARGE = r"\pL{1,30}x"  # RE2 makes 36,000 instructions of it, which takes a twentieth of a second


def requesting(*expectations):
    return {
        "workflowId": "w",
        "trigger": {"type": "manual"},
        "actions": [
            {"type": "http-request", "url": "https://example.org/", "method": "GET", "expect": expect}
            for expect in expectations
        ],
    }


@pytest.mark.parametrize(
    ("word", "expectations"),
    [
        ("expressions", [{"matches": f"{LARGE}{number}"} for number in range(20)]),
        ("what RE2 gives up on", [{"matches": rf"(\pL{{1,100}}){{1,9}}{number}"} for number in range(20)]),
        ("paths", [{"json": [{"path": "$" + ".a" * 490, "equals": number} for number in range(50)]}]),
    ],
)
def test_expressions_and_paths_are_bounded_together_where_a_user_writes_them(word, expectations):
    with pytest.raises(ValueError, match="beyond what all regular expressions and JSON paths"), patterns.bounded():
        WorkflowDefinition.model_validate(requesting(*expectations))


def test_what_was_stored_is_read_whatever_it_holds():
    definition = WorkflowDefinition.model_validate(requesting(*({"matches": f"{LARGE}{number}"} for number in range(6))))
    with pytest.raises(ValueError, match="beyond what"), patterns.bounded():
        WorkflowDefinition.from_document(definition.to_document())
    assert WorkflowDefinition.from_document(definition.to_document()) == definition


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {f"p{number}": {"pattern": f"{LARGE}{number}"} for number in range(20)}},
        {"patternProperties": {f"{LARGE}{number}": {} for number in range(20)}},
        {"$defs": {"a": [{"items": {"pattern": f"{LARGE}{number}"}} for number in range(20)]}},
    ],
)
def test_the_expressions_of_schemas_are_counted_before_they_are_compiled(schema):
    with pytest.raises(patterns.TooMuchToUnderstand, match="beyond what"), patterns.bounded():
        InputSchema(schema)


def test_once_it_is_too_much_nothing_more_is_looked_at():
    """Neither where a list is longer than it may be: what is wrong in it does not count for its length."""

    def understand(count):
        with pytest.raises(ValueError, match="beyond what"), patterns.bounded():
            WorkflowDefinition.model_validate(requesting(*({"matches": f"{count}{LARGE}{n}"} for n in range(count))))

    few = cpu_seconds(lambda: understand(20))
    assert cpu_seconds(lambda: understand(200)) < 4 * few


def test_what_people_write_is_not_too_much():
    written = [
        {
            "matches": rf"^[A-Z]{{3}}-[0-9]+ \w{{1,20}} {number}$",
            "json": [{"path": f"$.order.items[{place}].state", "equals": "ready"} for place in range(5)],
        }
        for number in range(50)
    ]
    names = {f"p{number}": {"pattern": "^[A-Za-z0-9 '-]{1,100}$"} for number in range(50)}
    with patterns.bounded():
        WorkflowDefinition.model_validate({**requesting(*written), "inputSchema": {"properties": names}})
