"""An execution in words: what became of it, and what each attempt of its actions did."""

import json
from collections.abc import Mapping
from datetime import datetime
from itertools import groupby
from typing import Any

from apps.cli import output
from apps.cli.options import Format
from domain.excerpts import excerpt

_LONGEST_INPUT = 500  # characters shown; --json shows all of it


def show_execution(found: Mapping[str, Any], form: Format) -> None:
    """Write an execution in full."""
    if form is not Format.TABLE:
        output.data(found, form)
        return
    present = output.now()
    state = output.status(found.get("status"))
    awaited = output.members(found, "waitingFor")
    if awaited:
        state.append(f", {waiting_words(awaited, present)}", "none")
    elif found.get("nextAttemptAt"):
        words = "goes on" if is_delayed(found) else "next attempt"
        state.append(f", {words} {output.relative(found['nextAttemptAt'], present)}", "none")
    pairs: list[tuple[str, Any]] = [
        ("Execution", str(found.get("executionId", "-"))),
        ("Workflow", f"{found.get('workflowId', '-')}, version {found.get('version', '-')}"),
        ("Status", state),
    ]
    if found.get("reference"):
        pairs.insert(2, ("Reference", str(found["reference"])))
    step = step_words(found, "currentStep")
    if step:
        pairs.append(("At" if awaited or found.get("status") == "running" else "Next", step))
    if awaited:
        pairs.append(("Until", output.exact(awaited.get("until"), present)))
    elif found.get("reason"):
        pairs.append(("Reason", str(found["reason"])))
    if found.get("originId"):
        pairs.append(("Takes up" if found.get("takesUp") else "Repeats", str(found["originId"])))
    parent = output.members(found, "triggeredBy")
    if parent:
        where = f"action {parent.get('actionId', '-')} of {parent.get('workflowId', '-')}"
        pairs.append(("Triggered by", f"{where}, execution {parent.get('executionId', '-')}"))
    if found.get("lastFailedAction"):
        pairs.append(("Last failed", str(found["lastFailedAction"])))
    pairs += [
        ("Cause", str(found.get("cause", "-"))),
        ("Attempt", f"{found.get('attempt', '-')}, retries left: {found.get('retriesLeft', '-')}"),
    ]
    if found.get("dueAt"):
        pairs.append(("Due", output.exact(found["dueAt"], present)))
    if found.get("input"):
        pairs.append(("Input", excerpt(json.dumps(found["input"], ensure_ascii=False), _LONGEST_INPUT)))
    pairs.append(("Created", output.exact(found.get("createdAt"), present)))
    if found.get("startedAt"):
        pairs.append(("Started", output.exact(found["startedAt"], present)))
    if found.get("finishedAt"):
        took = output.length(found.get("startedAt"), found["finishedAt"])
        pairs.append(("Finished", output.exact(found["finishedAt"], present) + (f", took {took}" if took != "-" else "")))
    output.facts(pairs)
    happened = events(found)
    previous_end = None
    for attempt, group in groupby(happened, key=lambda event: event.get("attempt")):
        done = list(group)
        wait = f", {output.length(previous_end, _began(done[0]))} later" if previous_end else ""
        title = (
            f"Attempt {output.printable(attempt)}{wait}"
            if attempt
            else "Done before, by the execution that this one takes up"
        )
        output.render(output.styled(f"\n{title}", "bold"))
        for event in done:
            show_event(event)
        previous_end = (done[-1].get("finishedAt") or done[-1].get("at")) if attempt else None
    if previous_end and found.get("resumedAt") and found.get("attempt") != happened[-1].get("attempt"):
        wait = output.length(previous_end, found["resumedAt"])
        output.render(output.styled(f"\nAttempt {output.printable(found.get('attempt'))}, {wait} later", "bold"))
        output.render(output.styled("  ").append_text(output.status(found.get("status"))))
    output.line(f"\n{_succeeded(found)} of {found.get('totalActions', '-')} actions succeeded.")
    tell_how_to_signal(found)


def events(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the outcomes of an execution, with its restarts before the outcomes of the steps that it went on with.

    Where it was ended in a step, that comes last."""
    every = [*(found.get("restarts") or ()), *(found.get("executedActions") or ())]
    waits = {
        _place(each): each for each in reversed(every) if is_waiting(each)
    }  # the first of each, the others go on with it
    every = [each for each in every if not is_waiting(each) or each is waits[_place(each)]]
    ends = {_place(each): each for each in every if is_outcome(each) and not is_waiting(each)}
    # Of one attempt of one action: what interrupted it, and since when it waited, as they came; then its end.
    every.sort(
        key=lambda each: (*_place(each), each is ends.get(_place(each)), str(each.get("at") or each.get("finishedAt")))
    )
    every = [{**each, "over": ends.get(_place(each), {}).get("startedAt")} if is_waiting(each) else each for each in every]
    step = step_words(found, "cutOff")
    if step:
        cut = {"why": "cut-off", "step": step, "since": found["cutOff"].get("since"), "at": found.get("finishedAt")}
        every.append({**cut, "attempt": found.get("attempt")})
    return every


def is_outcome(event: Mapping[str, Any]) -> bool:
    """Tell whether an event is what an attempt of an action did, rather than a restart."""
    return "why" not in event


def is_waiting(event: Mapping[str, Any]) -> bool:
    """Tell whether an event is that an action waits for something; what comes of that is another one."""
    return bool(event.get("status") == "waiting")


def waiting_words(awaited: Mapping[str, Any], present: datetime) -> str:
    """Return what an execution waits for, and how long it will."""
    gives_up = output.relative(awaited.get("until"), present)
    what = f"signal {awaited['signal']}" if awaited.get("signal") else f"the end of {number_of_executions(awaited)}"
    return f"waits for {what}" + (f", gives up {gives_up}" if gives_up.startswith("in") else "")


def number_of_executions(awaited: Mapping[str, Any]) -> str:
    """Return how many executions there are whose end one waits for."""
    count = awaited.get("executions")
    return f"{count} execution{'s' * (count != 1)}"


def tell_how_to_signal(found: Mapping[str, Any]) -> None:
    """Say how to send the signal that an execution waits for, if it does."""
    name = output.members(found, "waitingFor").get("signal")
    if name:
        output.note(f"Send it: wf signal {found.get('executionId')} {name}")


def _place(event: Mapping[str, Any]) -> tuple[int, int]:
    return event.get("attempt", 0), event.get("index", 0)


def _began(event: Mapping[str, Any]) -> Any:
    return event.get("startedAt") or event.get("since") or event.get("at")


def is_delayed(found: Mapping[str, Any]) -> bool:
    """Tell whether an execution that waits does so for a delay, rather than to try again what has failed."""
    outcomes = found.get("executedActions") or [{}]
    return bool(outcomes[-1].get("status") == "ok")


def step_words(found: Mapping[str, Any], name: str) -> str:
    """Return a step of an execution, as in ``action 2 of 3: charge``: its currentStep, or cutOff; empty if none."""
    step = output.members(found, name)
    if not step:
        return ""
    place = step.get("position", "?")
    in_words = f"action {place} of {found.get('totalActions', '?')}"
    if step.get("list") != "actions":
        in_words = f"step {place} of {step.get('list', '?')}"
    return f"{in_words}: {step.get('actionId', '?')}"


def _succeeded(found: Mapping[str, Any]) -> int:
    """Return how many of the workflow's actions succeeded in the end; steps of onFailure and finally stand behind them."""
    last = {outcome.get("actionId"): outcome for outcome in found.get("executedActions") or ()}
    own = (outcome for outcome in last.values() if outcome.get("index", 0) < found.get("totalActions", 0))
    return sum(outcome.get("status") == "ok" for outcome in own)


def show_event(event: Mapping[str, Any], *, with_attempt: bool = False) -> None:
    """Write what one attempt of an action did, or why it was handed to the runners again."""
    if is_outcome(event):
        _show_outcome(event, with_attempt=with_attempt)
        return
    head = output.styled(_prefix(event, with_attempt=with_attempt)).append(_WHY.get(event["why"], "restarted"), "yellow")
    output.facts([(head, _in_words(event))], style="")


_WHY = {
    "lost": "interrupted",
    "handed-back": "interrupted",
    "unclaimed": "handed out again",
    "released": "queued",
    "timed-out": "timed out",
    "given-up": "given up",
    "cancelled": "cancelled",
    "cut-off": "cut off",
}


def _in_words(event: Mapping[str, Any]) -> str:
    took = output.length(event.get("since"), event.get("at"))
    if event["why"] == "cut-off":
        return f"{event['step']}, under way for {took}; it may have been done"
    # After it had come to the step: when its runner was lost nobody knows, only when that was noticed.
    later = f" {took} later," if event.get("since") else ""
    runner = f"runner {event['runner']}" if event.get("runner") else "its runner"
    over = "its actions were ended" + (f", this one under way for {took}," if event.get("since") else "")
    words = {
        "lost": f"{runner} was lost; it went on{later}",
        "handed-back": f"{runner} handed it back; it went on{later}",
        "unclaimed": "no runner had taken it;",
        "released": "its turn came",
        "timed-out": over,
        "given-up": over,
        "cancelled": over,
    }.get(event["why"], f"{event['why']};")
    return f"{words} at {output.exact(event.get('at'), output.now())}"


def _prefix(event: Mapping[str, Any], *, with_attempt: bool) -> str:
    return f"[{output.printable(event.get('attempt') or 'before')}] " if with_attempt else "  "


def _show_outcome(outcome: Mapping[str, Any], *, with_attempt: bool) -> None:
    """Write what one attempt of an action did."""
    took = output.length(outcome.get("startedAt"), outcome.get("finishedAt"))
    if is_waiting(outcome):
        took = f"for {output.length(outcome.get('finishedAt'), outcome['over'])}" if outcome.get("over") else ""
    head = output.styled(_prefix(outcome, with_attempt=with_attempt))
    head.append_text(output.status(outcome.get("status")))
    output.render(head.append(f"  {output.printable(outcome.get('actionId', '-'))}", "bold").append(f"  {took}", "dim"))
    for log in outcome.get("logs") or ():
        output.indented(str(log), 6)
    error = output.members(outcome, "error")
    if error:
        output.indented(f"{error.get('class', 'error')}: {error.get('message', '')}", 6, "red")
