"""What of a ``wait-for-signal`` is refused when it is written; tests/runner/test_signals.py runs it."""

import pytest
from pydantic import ValidationError

from actions.wait_for_signal import WaitForSignalAction


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("within", "soon", "'soon' is not a duration"),
        ("payloadSchema", {"type": "sting"}, "sting"),
        ("signal", "a b", "pattern"),
    ],
)
def test_what_can_never_be_waited_for_is_refused_when_it_is_written(field, value, said):
    with pytest.raises(ValidationError) as raised:
        WaitForSignalAction.model_validate({"type": "wait-for-signal", "actionId": "a", field: value})
    (error,) = raised.value.errors()
    assert error["loc"] == (field,)
    assert said in error["msg"]
