"""What a row of the table must be able to do."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.engine.task import Weights


@dataclass(frozen=True)
class Contestant:
    """A prepared piece of work: data in place, compiled where it compiles at the first run."""

    run: Callable[[int], object]  # do so many meta-batches, one after another, and have the last result ready
    meta_gradient: Callable[[], Weights]  # d (query loss) / d theta, by the code that ``run`` times

    @classmethod
    def of(cls, step: Callable[[], object], meta_gradient: Callable[[], Weights]) -> "Contestant":
        """Repeat ``step`` in a plain loop."""

        def run(n_meta_batches: int) -> None:
            for _ in range(n_meta_batches):
                step()

        return cls(run, meta_gradient)
