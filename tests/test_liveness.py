"""Who is stalled and who is merely idle."""

from faust.types import TP

from apps.liveness import Progress, Reach

A, B = TP("workflow.execution", 0), TP("workflow.execution", 1)


def looked(*looks: tuple[float, dict[TP, Reach]]) -> Progress:
    progress = Progress(window=60)
    for now, reaches in looks:
        progress.look(reaches, now)
    return progress


def test_an_idle_partition_is_never_stalled() -> None:
    assert not looked((0, {A: Reach(5, 5)}), (1000, {A: Reach(5, 5)})).stalled(1000)


def test_records_that_nobody_reads_for_a_window_are_a_stall() -> None:
    progress = looked((0, {A: Reach(5, 6), B: Reach(9, 9)}), (59, {A: Reach(5, 8), B: Reach(9, 9)}))
    assert not progress.stalled(59)
    assert progress.stalled(61) == {A: 61}


def test_reading_slowly_is_progress() -> None:
    assert not looked(*((float(now), {A: Reach(now, 10_000)}) for now in range(0, 300, 50))).stalled(299)


def test_the_window_begins_when_records_come() -> None:
    assert not looked((0, {A: Reach(5, 5)}), (100, {A: Reach(5, 6)}), (130, {A: Reach(5, 6)})).stalled(130)


def test_a_partition_that_was_taken_away_and_comes_back_begins_anew() -> None:
    assert not looked((0, {A: Reach(5, 6)}), (30, {}), (70, {A: Reach(5, 6)})).stalled(70)


def test_what_could_not_be_read_is_forgiven() -> None:
    progress = looked((0, {A: Reach(5, 6)}))
    progress.forgive()
    progress.look({A: Reach(5, 6)}, 70)
    assert not progress.stalled(70)
