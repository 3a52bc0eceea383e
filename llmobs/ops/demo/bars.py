"""The progress bars of a run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class Bars:
    """Progress bars, one for each step of the run."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def bar(self, what: str, total: int | None = None) -> Callable[[int], None]:
        """A new bar; call what is returned to advance it. Without a total it says only that something is done."""
        task = self._progress.add_task(what, total=total)
        return lambda count: self._progress.advance(task, count)


@contextmanager
def bars(console: Console) -> Iterator[Bars]:
    """Show bars until the end of the block (nothing where the output is no terminal)."""
    columns = (TextColumn("{task.description:<40}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, refresh_per_second=4) as progress:
        yield Bars(progress)
