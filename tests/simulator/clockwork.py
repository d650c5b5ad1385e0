"""An asyncio loop in simulated time: what waits is skipped, and nothing happens by itself.

The node's own code runs on it unchanged. `Life` is one run of one machine, from its start to its
stop or power cut; every task and timer belongs to the life in whose context it was made. Timers of
a dead life never fire, those of a stopped one (SIGSTOP) fire when it goes on. Wall clocks are wrong
by what the life says; monotonic time is the loop's.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from typing import Any
from unittest import mock

EPOCH_S = 1_700_000_000
LATE_S = 1e-6
"""A timer fires a little late, as real ones do: 8.12 s x 1000 is 8119.999.. in floats."""
LIFE: ContextVar["Life | None"] = ContextVar("LIFE", default=None)


class Life:
    """One run of a machine. `skew_s` and `drift_ppm` are how its wall clock errs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.asleep = False
        self.skew_s = 0.0
        self.drift_ppm = 0.0
        self.held: list[Callable[[], None]] = []
        """What would have happened while it was stopped."""
        self.tasks: set[asyncio.Task[Any]] = set()
        self.context = copy_context()
        self.context.run(LIFE.set, self)

    def do(self, action: Callable[[], None]) -> None:
        """Do it in this life, later if it is stopped, never if it is over."""
        if not self.alive:
            return
        if self.asleep:
            self.held.append(action)
        else:
            self.context.run(action)

    def sleep(self) -> None:
        self.asleep = True

    def wake(self) -> None:
        self.asleep = False
        held, self.held = self.held, []
        for action in held:
            self.do(action)

    def end(self) -> None:
        """Nothing of it happens from here on; its tasks unwind without touching the world."""
        self.alive = False
        self.held.clear()
        for task in list(self.tasks):
            task.cancel()


class _Idle:
    """Instead of a selector: to wait is to let time pass."""

    def __init__(self, loop: "SimulatedLoop") -> None:
        self._loop = loop

    def select(self, timeout_s: float | None) -> list[Any]:
        assert timeout_s is not None, "nothing is left that could ever happen"
        self._loop.now_s += timeout_s + LATE_S
        return []


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs callbacks in the order of their times, ties as they were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.faults: list[str] = []
        """Exceptions that nobody caught; a run with one has failed."""
        self._selector = _Idle(self)
        self._clock_resolution = 1e-6
        self.set_task_factory(self._make_task)
        self.set_exception_handler(self._note_fault)

    def time(self) -> float:
        return self.now_s

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        life = context.get(LIFE) if context is not None else LIFE.get()
        if life is None:
            return super().call_at(when, callback, *args, context=context)
        guarded = lambda: life.do(lambda: callback(*args))  # noqa: E731
        return super().call_at(when, guarded, context=context)

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def _process_events(self, events: list[Any]) -> None:
        """There are none but timers."""

    def _write_to_self(self) -> None:
        """Nobody waits in a selector."""

    @staticmethod
    def _make_task(loop: Any, work: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **options)
        context = options.get("context")
        life = context.get(LIFE) if context is not None else LIFE.get()
        if life is not None:
            life.tasks.add(task)
            task.add_done_callback(life.tasks.discard)
            if not life.alive:
                task.cancel()
        return task

    def _note_fault(self, loop: Any, details: dict[str, Any]) -> None:
        error = details.get("exception")
        if not isinstance(error, PowerCut):
            self.faults.append(f"{details.get('message')}: {error!r}")


class PowerCut(BaseException):
    """Raised where a dead machine would go on; unwinds whatever was being done."""


class InlineExecutor:
    """Instead of a pool of threads: the work is done at once."""

    def __init__(self, *_: Any) -> None:
        pass

    def submit(self, work: Callable[..., Any], *args: Any) -> Any:
        from concurrent.futures import Future

        future: Future[Any] = Future()
        try:
            future.set_result(work(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def map(self, work: Callable[..., Any], *items: Any) -> Iterator[Any]:
        return map(work, *items)

    def shutdown(self, **_: Any) -> None:
        pass


@contextmanager
def simulated_time(loop: SimulatedLoop) -> Iterator[None]:
    """Within this, `time` is the loop's, and the wall clock that of the life which asks."""

    def wall_s() -> float:
        life = LIFE.get()
        wrong_s = 0.0 if life is None else life.skew_s + loop.now_s * life.drift_ppm / 1e6
        return EPOCH_S + loop.now_s + wrong_s

    with (
        mock.patch.object(time, "monotonic", loop.time),
        mock.patch.object(time, "perf_counter", loop.time),
        mock.patch.object(time, "time", wall_s),
        mock.patch("node.node.ThreadPoolExecutor", InlineExecutor),
    ):
        yield
