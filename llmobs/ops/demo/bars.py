"""The progress bars of a run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class Bars:
    """Progress bars, one for each step of the run."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    @contextmanager
    def bar(self, what: str, total: int = 1) -> Iterator[Callable[[int], None]]:
        """A bar until the end of the block; call what is given to advance it."""
        task = self._progress.add_task(what, total=total)
        yield lambda count: self._progress.advance(task, count)
        self._progress.stop_task(task)


@contextmanager
def bars(console: Console) -> Iterator[Bars]:
    """Show bars until the end of the block (nothing where the output is no terminal)."""
    columns = (TextColumn("{task.description:<40}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, refresh_per_second=4) as progress:
        yield Bars(progress)
