from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.retry import Backoff, decide_retry

FAILED_AT = datetime(2026, 1, 1, tzinfo=timezone.utc)


def test_the_bounds_grow_up_to_the_cap():
    backoff = Backoff(base="1s", cap="10s")
    assert [backoff.bound(retry).total_seconds() for retry in range(1, 7)] == [1, 2, 4, 8, 10, 10]


def test_a_used_up_budget_is_the_end():
    assert decide_retry(retries_left=0, retries=3, backoff=Backoff(), failed_at=FAILED_AT, uniform=0.5) is None


def test_without_jitter_the_whole_bound_is_waited():
    waits = []
    left = 3
    while (
        decision := decide_retry(
            retries_left=left, retries=3, backoff=Backoff(base="2s", jitter="none"), failed_at=FAILED_AT, uniform=0.0
        )
    ) is not None:
        waits.append((decision.at - FAILED_AT).total_seconds())
        left = decision.retries_left
    assert waits == [2, 4, 8]
    assert left == 0


@given(
    left=st.integers(1, 100),
    retries=st.integers(1, 100),
    factor=st.floats(1, 10),
    uniform=st.floats(0, 1, exclude_max=True),
)
def test_a_retry_is_never_earlier_than_the_failure_nor_later_than_the_cap(left, retries, factor, uniform):
    retries = max(left, retries)
    decision = decide_retry(
        retries_left=left, retries=retries, backoff=Backoff(factor=factor, cap="1h"), failed_at=FAILED_AT, uniform=uniform
    )
    assert decision is not None
    assert FAILED_AT <= decision.at <= FAILED_AT + timedelta(hours=1)
    assert decision.retries_left == left - 1


def test_a_cap_below_the_base_is_refused():
    with pytest.raises(ValidationError, match="raise cap or lower base"):
        Backoff(base="10s", cap="5s")
