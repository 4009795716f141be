"""What a command tells at the terminal: steps, sentences, and how a training comes along."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from app.domain.thetas import Theta

OnTheta = Callable[[Theta], None]
LINE_EVERY_S = 10.0
PLAIN_WIDTH = 110


class Screen:
    """A terminal with colours and a moving bar; or plain lines where output goes to a file or a pipe."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        if not self.console.is_terminal:
            self.console.width = PLAIN_WIDTH
        self._n_steps = 0

    def step(self, text: str) -> None:
        """Begin the next numbered step."""
        self._n_steps += 1
        self.console.print(f"[bold]{self._n_steps}. [/bold]", end="")
        self.console.print(text, style="bold", markup=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """Tell something of the current step."""
        self.console.print(f"   {text}", markup=False, soft_wrap=True)

    @contextmanager
    def training(self) -> Iterator[OnTheta]:
        """Yield what shows a training's progress."""
        if self.console.is_terminal:
            with _Bar(self.console) as bar:
                yield bar.show
        else:
            yield _Lines(self.say).show


class _Bar:
    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("   {task.description}"),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[to_go]}"),
            console=console,
        )
        self._task = self._progress.add_task("waiting for the worker", total=None, to_go="")

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # a terminal that was closed
            self._progress.stop()

    def show(self, theta: Theta) -> None:
        if theta.status == "succeeded":
            self._progress.update(self._task, description="learned", total=1, completed=1, to_go="")
        elif theta.progress is not None:
            found = theta.progress
            self._progress.update(
                self._task,
                description=found["phase"],
                total=found["n_steps"],
                completed=found["step"],
                to_go=_to_go(found),
            )


class _Lines:
    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._phase: str | None = None
        self._said_at = -LINE_EVERY_S

    def show(self, theta: Theta) -> None:
        found = theta.progress
        if found is None:
            return
        is_new = found["phase"] != self._phase or theta.status == "succeeded"
        if is_new or time.monotonic() - self._said_at >= LINE_EVERY_S:
            self._phase, self._said_at = found["phase"], time.monotonic()
            self._say(f"{found['phase']}: step {found['step']:,} of {found['n_steps']:,} {_to_go(found)}".rstrip())


def _to_go(progress: dict[str, Any]) -> str:
    seconds = progress["eta_s"]
    return "" if seconds is None or seconds < 1 else f"about {timedelta(seconds=round(seconds))} to go"
