from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from actions.registry import WorkflowDefinition
from domain.retry import MAX_RETRIES, Backoff, Failure, NoRetry, RetryDecision, decide_retry

FAILED_AT = datetime(2026, 1, 1, tzinfo=timezone.utc)
TIMEOUT = Failure("timeout-total")


def workflow(action=None, **fields):
    return WorkflowDefinition.model_validate(
        {
            "workflowId": "w",
            "trigger": {"type": "manual"},
            "actions": [{"type": "log", "message": "a", **({"retry": action} if action is not None else {})}],
            **fields,
        }
    )


def policy(action=None, **fields):
    definition = workflow(action, **fields)
    return definition.retry_policy(definition.actions[0])


def decide(policy, failure=TIMEOUT, *, left=None, failed_before=0, started=FAILED_AT, uniform=0.999):
    return decide_retry(
        policy,
        failure,
        retries_left=policy.retries if left is None else left,
        failed_before=failed_before,
        first_started_at=started,
        failed_at=FAILED_AT,
        uniform=uniform,
    )


def wait(decision):
    assert isinstance(decision, RetryDecision), decision
    return (decision.at - FAILED_AT).total_seconds()


def test_the_bounds_grow_up_to_the_cap():
    backoff = Backoff(base="1s", cap="10s")
    assert [backoff.bound(retry).total_seconds() for retry in range(1, 7)] == [1, 2, 4, 8, 10, 10]


def test_a_used_up_budget_is_the_end():
    assert decide(policy(), left=0) == NoRetry("no retries are left")
    assert decide(policy(retries=0)) == NoRetry("no retries were asked for")


def test_without_jitter_the_whole_bound_is_waited():
    short_form = policy(retries=3, backoff={"base": "2s", "jitter": "none"})
    waits, left = [], 3
    while isinstance(decision := decide(short_form, left=left, failed_before=len(waits)), RetryDecision):
        waits.append(wait(decision))
        left = decision.retries_left
    assert waits == [2, 4, 8]
    assert left == 0


def test_with_jitter_any_part_of_the_bound_is_waited():
    assert [wait(decide(policy(), failed_before=2, uniform=drawn)) for drawn in (0, 0.25, 0.75)] == [0, 1, 3]


@given(left=st.integers(1, 100), factor=st.floats(1, 10), uniform=st.floats(0, 1, exclude_max=True))
def test_a_retry_is_never_earlier_than_the_failure_nor_later_than_the_cap(left, factor, uniform):
    decision = decide(policy(retries=MAX_RETRIES, backoff={"factor": factor, "cap": "1h"}), left=left, uniform=uniform)
    assert 0 <= wait(decision) <= 3600
    assert decision.retries_left == left - 1


@pytest.mark.parametrize(
    ("word", "failure", "retried"),
    [
        ("request timeout", Failure("status", 408), True),
        ("too early", Failure("status", 425), True),
        ("too many requests", Failure("status", 429), True),
        ("server error", Failure("status", 500), True),
        ("unavailable", Failure("status", 503), True),
        ("bad request", Failure("status", 400), False),
        ("unauthorized", Failure("status", 401), False),
        ("not found", Failure("status", 404), False),
        ("conflict", Failure("status", 409), False),
        ("unwanted success", Failure("status", 204), False),
        ("refused connection", Failure("connect"), True),
        ("unknown host", Failure("dns"), True),
        ("connection cut", Failure("disconnected"), True),
        ("first byte", Failure("timeout-first-byte"), True),
        ("plain timeout", Failure("timeout"), True),
        ("no timeout at all", Failure("timeouts"), False),
        ("assertion", Failure("assertion"), False),
        ("guard", Failure("blocked-address"), False),
        ("certificate", Failure("certificate"), False),
    ],
)
def test_what_is_retried_by_default(word, failure, retried):
    decision = decide(policy(), failure)
    assert isinstance(decision, RetryDecision if retried else NoRetry)
    if not retried:
        assert str(failure.status or failure.error_class) in decision.why


def test_what_is_retried_can_be_chosen():
    chosen = policy(retry={"on": {"statuses": [404, "5xx"], "errors": ["assertion"]}})
    assert isinstance(decide(chosen, Failure("status", 404)), RetryDecision)
    assert isinstance(decide(chosen, Failure("status", 429)), NoRetry)
    assert isinstance(decide(chosen, Failure("assertion")), RetryDecision)
    assert isinstance(decide(chosen, TIMEOUT), NoRetry)
    assert isinstance(decide(policy(retry={"on": {"errors": ["*"]}}), Failure("whatever")), RetryDecision)


def test_retry_after_lengthens_the_wait_up_to_its_cap():
    short = policy(retry={"jitter": "none", "retryAfterCap": "30s"})
    assert wait(decide(short, Failure("status", 429, retry_after=7.5))) == 7.5
    assert wait(decide(short, Failure("status", 429, retry_after=86400))) == 30
    assert wait(decide(short, Failure("status", 429, retry_after=0))) == 1
    for odd in (-5.0, -1e300, float("inf"), float("nan"), 1e300):
        assert 1 <= wait(decide(short, Failure("status", 429, retry_after=odd))) <= 30


def test_what_may_have_arrived_is_repeated_unless_told_otherwise():
    arrived, refused = Failure("status", 503, maybe_done=True), Failure("connect", maybe_done=False)
    assert isinstance(decide(policy(), arrived), RetryDecision)
    careful = policy(retry={"retryUnsafe": False})
    assert "retryUnsafe" in decide(careful, arrived).why
    assert isinstance(decide(careful, refused), RetryDecision)


def test_no_retry_begins_after_the_budget():
    tight = policy(retry={"attempts": 50, "jitter": "none", "initial": "4s", "factor": 1, "budget": "10s"})
    assert wait(decide(tight, started=FAILED_AT - timedelta(seconds=6))) == 4
    assert "budget" in decide(tight, started=FAILED_AT - timedelta(seconds=7)).why
    assert [wait.total_seconds() for wait in tight.waits()] == [4, 4]


@pytest.mark.parametrize(
    ("word", "retry", "waits", "total"),
    [
        ("no budget", {"jitter": "none"}, [1, 2, 4], 7),
        ("one that just fits", {"jitter": "none", "budget": "4s"}, [1, 2], 3),
        ("one that would begin at its very end", {"jitter": "none", "budget": "3s"}, [1], 1),
        ("short random waits may fit, long ones cannot", {"budget": "3s"}, [1, 2, 3], 3),
    ],
)
def test_the_waits_that_are_shown_are_those_that_the_budget_leaves(word, retry, waits, total):
    shown = policy(retry=retry)
    assert [wait.total_seconds() for wait in shown.waits()] == waits
    assert shown.longest_total().total_seconds() == total


@pytest.mark.parametrize("own", [{"initial": "5s"}, {}])
def test_the_wait_grows_with_the_failures_of_the_action_also_where_it_shares_the_retries(own):
    shared = policy(own, retry={"attempts": 6, "initial": "5s", "jitter": "none"})
    assert wait(decide(shared, left=2)) == 5
    assert wait(decide(shared, left=1, failed_before=1)) == 10
    assert decide(shared, left=0, failed_before=2) == NoRetry("no retries are left")


def test_an_action_takes_from_the_workflow_what_it_does_not_say():
    mixed = policy({"cap": "20s"}, retry={"attempts": 3, "initial": "9s", "jitter": "none", "factor": 10})
    assert [wait.total_seconds() for wait in mixed.waits()] == [9, 20]
    assert not mixed.own_budget


def test_what_an_action_says_counts_rather_than_what_its_workflow_says():
    own = policy(
        {
            "attempts": 3, "initial": "2s", "factor": 3, "cap": "5s", "jitter": "none", "budget": "8s",
            "retryAfterCap": "7s",
            "retryUnsafe": True, "on": {"statuses": [404]},
        },
        retry={
            "attempts": 9, "initial": "1s", "factor": 2, "cap": "1m", "jitter": "full", "budget": "1h",
            "retryAfterCap": "1h",
            "retryUnsafe": False, "on": {"statuses": [503]},
        },
    )  # fmt: skip
    assert [wait.total_seconds() for wait in own.waits()] == [2, 5]
    assert wait(decide(own, Failure("status", 404, retry_after=60, maybe_done=True))) == 7
    assert "503" in decide(own, Failure("status", 503)).why
    assert "budget" in decide(own, started=FAILED_AT - timedelta(seconds=7)).why


def test_every_wait_may_be_the_same_and_take_the_whole_budget():
    same = policy(retry={"initial": "10s", "cap": "10s", "budget": "10s", "jitter": "none"})
    assert (wait(decide(same)), wait(decide(same, left=1))) == (10, 10)
    assert wait(decide(policy(backoff={"base": "10s", "cap": "10s", "jitter": "none"}), failed_before=2)) == 10


def test_attempts_of_an_action_are_its_own():
    own = policy({"attempts": 3, "jitter": "none"}, retries=0)
    first = decide(own, left=0)
    assert (wait(first), first.retries_left) == (1, 0)
    assert wait(decide(own, left=0, failed_before=1)) == 2
    assert decide(own, left=5, failed_before=2) == NoRetry("its own 3 attempts are used up")
    assert isinstance(decide(policy({"attempts": 1}, retries=5), left=5), NoRetry)


def test_attempts_set_the_retries_that_admission_reads():
    definition = workflow(retry={"attempts": 7})
    assert definition.retries == 6
    assert WorkflowDefinition.from_document(definition.to_document()) == definition
    assert WorkflowDefinition.model_validate(definition.to_wire()) == definition


@pytest.mark.parametrize(
    ("word", "fields", "action", "said"),
    [
        ("attempts disagree", {"retries": 1, "retry": {"attempts": 3}}, None, "disagree; leave out retries"),
        ("no attempts", {"retry": {"attempts": 0}}, None, "greater than or equal to 1"),
        ("too many", {"retry": {"attempts": 102}}, None, "less than or equal to 101"),
        ("attempts text", {"retry": {"attempts": "many"}}, None, "valid integer"),
        ("cap below initial", {"retry": {"initial": "10s", "cap": "5s"}}, None, "raise cap or lower initial"),
        ("cap below short base", {"backoff": {"base": "10s"}, "retry": {"cap": "5s"}}, None, "raise cap or lower initial"),
        ("cap of an action", {"retry": {"initial": "10s"}}, {"cap": "5s"}, "cap 5s is shorter"),
        ("budget below initial", {"retry": {"initial": "10s", "budget": "5s"}}, None, "no retry would fit"),
        ("factor below one", {"retry": {"factor": 0.5}}, None, "greater than or equal to 1"),
        ("factor endless", {"retry": {"factor": float("inf")}}, None, "finite|less than or equal"),
        ("factor nan", {"retry": {"factor": float("nan")}}, None, "finite|greater than or equal"),
        ("status nonsense", {"retry": {"on": {"statuses": ["9xx"]}}}, None, "write for example 404"),
        ("error nonsense", {"retry": {"on": {"errors": ["No!"]}}}, None, "pattern"),
        (
            "handler",
            {"onFailure": [{"type": "log", "message": "x", "retry": {"initial": "10m"}}]},
            None,
            "cap 5m is shorter than initial 10m",
        ),
        (
            "last step",
            {"finally": [{"type": "log", "message": "x", "retry": {"initial": "1m", "budget": "5s"}}]},
            None,
            "no retry would fit",
        ),
        ("unknown field", {"retry": {"tries": 3}}, None, "Extra inputs"),
        ("unsafe text", {"retry": {"retryUnsafe": "no"}}, None, "valid boolean"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(word, fields, action, said):
    with pytest.raises(ValidationError, match=said):
        workflow(action, **fields)


def test_a_cap_below_the_base_is_refused():
    with pytest.raises(ValidationError, match="raise cap or lower base"):
        Backoff(base="10s", cap="5s")


DURATIONS = st.sampled_from(["1s", "2s", "7s", "1m", "1h", "0s", "x"])
RETRIES = st.fixed_dictionaries(
    {},
    optional={
        "attempts": st.integers(-1, 110),
        "initial": DURATIONS,
        "factor": st.floats(),
        "cap": DURATIONS,
        "jitter": st.sampled_from(["full", "none", "some"]),
        "budget": DURATIONS,
        "retryAfterCap": DURATIONS,
        "retryUnsafe": st.booleans(),
        "on": st.fixed_dictionaries({}, optional={"statuses": st.lists(st.integers(90, 610), max_size=3)}),
    },
)


@given(action=RETRIES, shared=RETRIES, uniform=st.floats(0, 1, exclude_max=True), after=st.none() | st.floats())
def test_every_policy_is_refused_or_ends(action, shared, uniform, after):
    try:
        accepted = policy(action, retry=shared)
    except ValidationError:
        return
    left, failed = accepted.retries, 0
    while isinstance(
        decision := decide(accepted, Failure("status", 503, after), left=left, failed_before=failed, uniform=uniform),
        RetryDecision,
    ):
        assert decision.at >= FAILED_AT
        left, failed = decision.retries_left, failed + 1
        assert failed <= accepted.retries <= MAX_RETRIES
    assert len(accepted.waits()) <= accepted.retries
