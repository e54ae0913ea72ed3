"""The lanes of all executors, and who is left alone because it fails again and again."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence

from qcov import policy, records
from qcov.errors import ExecutorOffline
from qcov.policy import ErrorKind
from qcov.qexecutors.base import BaseQExecutor
from qcov.quantum.lanes import Lane, Refuse, Run
from qcov.quantum.timing import Clock


class Fleet:
    """A lane for each executor, with its circuit breaker.

    Args:
        run: Runs what a thread took from a lane.
        refuse: Settles what cannot run any more.
        clock: What time it is.
    """

    def __init__(self, run: Run, refuse: Refuse, clock: Clock) -> None:
        self._run, self._refuse = run, refuse
        self._clock = clock
        self._lanes: dict[int, Lane] = {}
        self._troubled: set[int] = set()  #: lanes whose breaker is not closed

    @property
    def busy(self) -> bool:
        """Whether circuits run or wait anywhere."""
        return any(lane.busy for lane in tuple(self._lanes.values()))

    @property
    def troubled(self) -> bool:
        """Whether some executor is left alone, or on trial."""
        return bool(self._troubled)

    def lane(self, executor: BaseQExecutor) -> Lane:
        """The lane of an executor, which lives as long as the executor."""
        lane = self._lanes.get(id(executor))
        if lane is None:
            lane = self._lanes.setdefault(id(executor), Lane(self._run, self._refuse))
            if executor.watched_limit is not None or executor.retries:
                self._clock.start()
            forget = weakref.finalize(executor, _forget, self._lanes, self._troubled, id(executor))
            forget.atexit = False
        return lane

    def allows(self, executor: BaseQExecutor) -> bool:
        """Whether an executor may be asked now."""
        lane = self._lanes.get(id(executor))
        return lane is None or lane.breaker.allows(self._clock.now())

    def wait(self, executor: BaseQExecutor) -> float:
        """Seconds until an executor may be asked again."""
        return self.lane(executor).breaker.wait(self._clock.now())

    def begin_trial(self, executor: BaseQExecutor, lane: Lane) -> bool:
        """Whether an executor may be asked; if it had been left alone, it is on trial."""
        if lane.breaker is policy.CLOSED:
            return True
        now = self._clock.now()
        if not lane.breaker.allows(now):
            return False
        lane.breaker = lane.breaker.begin(now, _policy(executor))
        return True

    def judge(
        self,
        executor: BaseQExecutor,
        failed: Iterable[ErrorKind],
        count: int,
        last: BaseException | None,
    ) -> None:
        """Remember how an executor did with `count` circuits, of which some failed.

        Args:
            executor: Whose circuits they were.
            failed: What each of the errors says about another try.
            count: Of all circuits.
            last: The last error.
        """
        lane, kinds = self.lane(executor), list(failed)
        if not kinds and lane.breaker is policy.CLOSED:
            return
        if last is not None:
            lane.trouble = records.error_text(last)
        failure = kinds[-1] if len(kinds) == count and all(map(_is_silence, kinds)) else None
        if failure is None and ErrorKind.QUOTA in kinds:
            failure = ErrorKind.QUOTA
        before, now = lane.breaker.until, self._clock.now()
        lane.breaker = lane.breaker.after(failure, now, _policy(executor))
        if lane.breaker.until != before:
            pause = None if lane.breaker.until is None else lane.breaker.until - now
            records.trouble(executor.name, executor.device_name, pause, lane.trouble)
        if lane.breaker.until is None:
            self._troubled.discard(id(executor))
        else:
            self._troubled.add(id(executor))

    def offline(self, executors: Sequence[BaseQExecutor]) -> ExecutorOffline:
        """The error for circuits of which no executor may be asked."""
        wait = min(map(self.wait, executors))
        names = ", ".join(sorted({executor.name for executor in executors}))
        first = self.lane(executors[0])
        how = (
            f"it failed {first.breaker.failures} times in a row and is"
            if len(executors) == 1
            else "they failed again and again and are"
        )
        reason = f"{how} left alone for another {wait:.1f} s (last error: {first.trouble})"
        return ExecutorOffline(executor=names, reason=reason)


def _policy(executor: BaseQExecutor) -> policy.BreakerPolicy:
    return policy.BreakerPolicy(failures=executor.break_after, pause=executor.break_pause)


def _is_silence(kind: ErrorKind) -> bool:
    return kind in (ErrorKind.TRANSIENT, ErrorKind.OFFLINE)


def _forget(lanes: dict[int, Lane], troubled: set[int], key: int) -> None:
    lanes.pop(key, None)
    troubled.discard(key)
