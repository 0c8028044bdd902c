"""When each poll task runs next."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.flow.schedule import SHARE, Schedule, calls_per_s, intervals, stretch
from bridge.pace.limits import Limit, Window
from bridge.ports import PollTask


def task(key: str = "a", interval_s: float = 60.0, **more: object) -> PollTask:
    return PollTask(key, interval_s, **more)  # type: ignore[arg-type] # fields of it


def planned(*tasks: PollTask, now: float = 0.0) -> Schedule:
    schedule = Schedule()
    schedule.plan(tasks, now)
    return schedule


def played(
    schedule: Schedule, until: float, lasts_s: float = 0.0, now: float = 0.0
) -> list[tuple[float, str]]:
    """Runs one task after the other as a poller does; (start, key) of each."""
    runs: list[tuple[float, str]] = []
    while (due := schedule.next_due()) is not None and max(now, due) <= until:
        now = max(now, due)
        taken = schedule.take(now)
        assert taken is not None
        runs.append((now, taken.key))
        started, now = now, now + lasts_s
        schedule.done(taken, started, now)
    return runs


def test_new_tasks_are_due_at_once_or_when_they_say():
    schedule = planned(task("a"), task("b", first_in_s=30.0), now=100.0)
    assert schedule.next_due() == 100.0
    assert [schedule.take(100.0), schedule.take(100.0)] == [task("a"), None]
    assert schedule.next_due() == 130.0
    assert schedule.take(130.0) == task("b", first_in_s=30.0)


def test_first_start_later_than_an_interval_is_kept():
    assert planned(task("a", 60.0, first_in_s=3600.0), now=100.0).next_due() == 3700.0


def test_empty_schedule_has_nothing_due():
    schedule = planned()
    assert (schedule.next_due(), schedule.take(1e9)) == (None, None)


def test_task_is_due_one_interval_after_its_start_not_its_end():
    assert played(planned(task("a", 60.0)), 200.0, lasts_s=10.0) == [
        (0.0, "a"), (60.0, "a"), (120.0, "a"), (180.0, "a"),
    ]  # fmt: skip


def test_task_that_lasts_longer_than_its_interval_runs_back_to_back_and_no_oftener():
    assert [at for at, _ in played(planned(task("a", 60.0)), 300.0, lasts_s=100.0)] == [
        0.0,
        100.0,
        200.0,
        300.0,
    ]


def test_one_that_has_been_due_for_longest_comes_first():
    schedule = planned(task("a", first_in_s=30.0), task("b", first_in_s=10.0), task("c", first_in_s=20.0))
    assert [schedule.take(100.0).key for _ in range(3)] == ["b", "c", "a"]  # type: ignore[union-attr] # three are due


def test_equally_due_tasks_come_in_the_order_of_the_plan():
    schedule = planned(*[task(key) for key in "cab"])
    assert [schedule.take(0.0).key for _ in range(3)] == ["c", "a", "b"]  # type: ignore[union-attr] # three are due


@pytest.mark.parametrize("pause_s", [61.0, 3600.0, 86400.0])
def test_pause_is_followed_by_one_run_of_each_task_and_no_burst(pause_s: float):
    schedule = planned(task("a", 10.0), task("b", 60.0))
    played(schedule, 5.0)
    after = played(schedule, pause_s + 9.0, now=pause_s)
    assert sorted(key for _, key in after) == ["a", "b"]
    later = played(schedule, pause_s + 60.0, now=pause_s + 9.0)
    assert [key for _, key in later].count("a") == 6
    assert [key for _, key in later].count("b") == 1


def test_poll_may_say_when_asking_again_makes_sense():
    schedule = planned(task("a", 60.0))
    taken = schedule.take(0.0)
    assert taken is not None
    schedule.done(taken, started=0.0, now=5.0, next_in_s=300.0)
    assert schedule.next_due() == 305.0


def test_running_task_is_not_started_twice():
    schedule = planned(task("a"), task("b"))
    assert schedule.take(0.0) == task("a")
    schedule.plan([task("a"), task("b")], 0.0)
    schedule.hurry("a", 0.0)
    assert schedule.take(1000.0) == task("b")
    assert schedule.take(1000.0) is None
    schedule.done(task("a"), started=0.0, now=1000.0)
    assert schedule.take(1000.0) == task("a")


def test_hurried_task_is_due_now_once_however_often_it_is_hurried():
    schedule = planned(task("a", 60.0, first_in_s=50.0))
    for _ in range(3):
        schedule.hurry("a", 10.0)
    assert schedule.next_due() == 10.0
    assert schedule.take(10.0) is not None
    assert schedule.take(10.0) is None
    assert schedule.take(50.0) is None
    schedule.done(task("a"), started=10.0, now=11.0)
    assert schedule.next_due() == 70.0
    schedule.hurry("unknown", 10.0)
    assert schedule.next_due() == 70.0


def test_new_plan_keeps_the_phases_of_tasks_that_stay():
    schedule = planned(task("a", first_in_s=50.0), task("b", first_in_s=20.0))
    schedule.plan([task("b"), task("a"), task("c", first_in_s=5.0)], 10.0)
    assert [(schedule.next_due(), schedule.take(1000.0).key) for _ in range(3)] == [  # type: ignore[union-attr] # three are due
        (15.0, "c"), (20.0, "b"), (50.0, "a"),
    ]  # fmt: skip


def test_shorter_interval_takes_effect_at_once_a_longer_one_after_the_next_run():
    schedule = planned(task("a", 3600.0, first_in_s=3000.0))
    schedule.plan([task("a", 60.0)], 100.0)
    assert schedule.next_due() == 160.0
    schedule.plan([task("a", 86400.0)], 110.0)
    assert schedule.next_due() == 160.0
    assert [at for at, _ in played(schedule, 90_000.0)] == [160.0, 86560.0]


def test_task_that_is_planned_anew_while_it_runs_goes_on_as_planned():
    schedule = planned(task("a", 60.0, devices=("one",)))
    running = schedule.take(0.0)
    assert running is not None
    changed = task("a", 600.0, devices=("one", "two"))
    schedule.plan([changed], 5.0)
    schedule.done(running, started=0.0, now=10.0)
    assert schedule.next_due() == 600.0
    assert schedule.take(600.0) == changed


def test_task_that_is_gone_does_not_come_back_when_its_run_ends():
    schedule = planned(task("a"), task("b", first_in_s=10.0))
    running = schedule.take(0.0)
    assert running is not None
    schedule.plan([task("b")], 5.0)
    schedule.done(running, started=0.0, now=6.0)
    assert schedule.take(1000.0) == task("b")
    assert schedule.take(1000.0) is None
    schedule.plan([], 1000.0)
    assert schedule.next_due() is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["plan", "take", "done", "hurry", "pass"]),
            st.sampled_from("abc"),
            st.integers(0, 90),
        ),
        max_size=60,
    )
)
def test_no_key_ever_runs_twice_at_once_or_is_lost(steps: list[tuple[str, str, int]]):
    schedule, now = Schedule(), 0.0
    running: dict[str, tuple[PollTask, float]] = {}
    wanted: set[str] = set()
    for kind, key, number in steps:
        if kind == "plan":
            wanted = set("abc"[: number % 4])
            schedule.plan([task(one, 10.0 + number) for one in sorted(wanted)], now)
        elif kind == "take" and (taken := schedule.take(now)) is not None:
            assert taken.key not in running
            assert taken.key in wanted
            running[taken.key] = (taken, now)
        elif kind == "done" and key in running:
            taken, started = running.pop(key)
            schedule.done(taken, started, now)
        elif kind == "hurry":
            schedule.hurry(key, now)
        elif kind == "pass":
            now += number
    for taken, started in running.values():
        schedule.done(taken, started, now)
    left = set()
    while (found := schedule.take(now + 1000.0)) is not None:
        assert found.key not in left
        left.add(found.key)
    assert left == wanted


# stretching ------------------------------------------------------------------------------------------------------


def limit(count: int, seconds: float, name: str = "calls", **more: object) -> Limit:
    return Limit(name, name, "account", (Window(count, seconds),), **more)  # type: ignore[arg-type] # fields of it


def costing(count: int, interval_s: float, calls: float = 1.0) -> list[PollTask]:
    return [task(f"{number}", interval_s, costs={"calls": calls}) for number in range(count)]


@pytest.mark.parametrize(
    ("tasks", "limits", "factor"),
    [
        (costing(1, 60.0), [limit(10, 60.0)], None),
        (costing(8, 60.0), [limit(10, 60.0)], None),
        (costing(16, 60.0), [limit(10, 60.0)], 2.0),
        (costing(8, 30.0), [limit(10, 60.0)], 2.0),
        (costing(4, 60.0, calls=4), [limit(10, 60.0)], 2.0),
        (costing(16, 60.0), [limit(10, 60.0, per_key=True)], None),
        (costing(16, 60.0), [limit(10, 60.0, name="other")], None),
        (costing(16, 60.0), [limit(10, 60.0), limit(1, 1.0, name="other")], 2.0),
        (costing(16, 60.0), [], None),
        ([], [limit(1, 86400.0)], None),
        (costing(4, 60.0), [Limit("calls", "x", "account", (Window(10, 60.0), Window(100, 86400.0)))], 72.0),
    ],
)
def test_intervals_grow_as_far_as_the_tightest_shared_window_needs(tasks, limits, factor):
    found = stretch(tasks, limits)
    assert (found.factor if found else None) == (pytest.approx(factor) if factor else None)
    assert found is None or found.limit.name == "calls"


@given(
    st.lists(st.tuples(st.integers(1, 3600), st.integers(1, 5)), min_size=1, max_size=20),
    st.lists(st.tuples(st.integers(1, 200), st.integers(1, 86400)), min_size=1, max_size=3),
)
def test_stretched_intervals_fit_into_their_share_exactly(tasks, windows):
    wanted = [
        task(f"{number}", float(interval), costs={"calls": calls})
        for number, (interval, calls) in enumerate(tasks)
    ]
    one = Limit("calls", "x", "account", tuple(Window(count, float(seconds)) for count, seconds in windows))
    found = stretch(wanted, [one])
    factor = found.factor if found else 1.0
    load = [
        sum(t.costs["calls"] / (t.interval_s * factor) for t in wanted)
        * window.seconds
        / (SHARE * window.count)
        for window in one.windows
    ]
    assert all(part <= 1.0 + 1e-9 for part in load)
    assert found is None or max(load) == pytest.approx(1.0)


def test_tasks_that_began_together_drift_apart_until_they_are_spread_evenly() -> None:
    tasks = [PollTask(f"read:{n}", 60.0, {"requests": 1.0}) for n in range(10)]
    schedule, now = Schedule(), 0.0
    schedule.plan(tasks, now)
    starts: dict[str, list[float]] = {task.key: [] for task in tasks}
    while now < 60 * 30:
        task = schedule.take(now)
        if task is None:
            due = schedule.next_due()
            assert due is not None
            now = max(now, due)
            continue
        starts[task.key].append(now)
        schedule.done(task, now, now)
    gaps = [later - sooner for times in starts.values() for sooner, later in pairwise(times)]
    assert min(gaps) >= 60.0
    assert max(gaps) <= 66.0 + 1e-6
    last = sorted(times[-1] % 60 for times in starts.values())
    assert all(later - sooner > 5.9 for sooner, later in pairwise(last))


def test_a_task_that_always_starts_a_little_late_keeps_its_interval() -> None:
    tasks = [task(f"read:{n}", 60.0, costs={"requests": 1.0}) for n in range(2)]
    schedule = planned(*tasks)
    starts: list[float] = []
    while len(starts) < 100:
        due = schedule.next_due()
        assert due is not None
        late = due + 0.05
        taken = schedule.take(late)
        assert taken is not None
        if taken.key == "read:1":
            starts.append(late)
        schedule.done(taken, late, late)
    gaps = [later - sooner for sooner, later in pairwise(starts)]
    assert max(gaps[10:]) < 60.2


def test_calls_are_planned_per_limit_and_where_it_counts_per_device_also_by_device():
    account = Limit("all", "all", "account", (Window(100, 3600.0),))
    each = Limit("each", "each", "device", (Window(12, 3600.0),), per_key=True)
    tasks = [
        PollTask("a", 300.0, {"each": 1.0, "all": 1.0}, ("A",)),
        PollTask("b", 600.0, {"each": 1.0, "all": 1.0}, ("B",)),
        PollTask("list", 3600.0, {"all": 2.0}, lane="inventory"),
    ]
    rates = calls_per_s(tasks, [account, each])
    assert rates == {
        ("each", "A"): pytest.approx(1 / 300),
        ("each", "B"): pytest.approx(1 / 600),
        ("all", ""): pytest.approx(1 / 300 + 1 / 600 + 2 / 3600),
    }
    assert intervals([*tasks, PollTask("all", 900.0, {"all": 1.0})]) == {"A": 300.0, "B": 600.0, "": 900.0}
