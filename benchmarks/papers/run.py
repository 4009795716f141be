"""What was asked for: which problems, which learners, which drawings; and the tables that come of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch

from benchmarks.papers import characters, clusters, curves
from benchmarks.papers.glyphs import load_glyphs
from benchmarks.papers.measure import measured, result_file
from benchmarks.papers.omniglot import find_archives, load_omniglot
from benchmarks.papers.problem import Contestant, Problem
from benchmarks.papers.report import Table

PROBLEMS = ("sinusoid", "multimodal", "images", "clusters")

Exam = tuple[Problem, list[Contestant]]


@dataclass(frozen=True)
class Choice:
    """The command's arguments; learners (): all; omniglot None: generated glyphs; n_steps, image_steps None: each
    learner's own.
    """

    problems: tuple[str, ...] = PROBLEMS
    learners: tuple[str, ...] = ()
    omniglot: Path | None = None
    n_steps: int | None = None
    image_steps: int | None = None
    seed: int = 0
    var: Path = Path("var/papers")

    @property
    def said(self) -> str:
        """The arguments that change the numbers, as they were typed."""
        words = [] if self.problems == PROBLEMS else list(self.problems)
        words += ["--learners", *(f'"{name}"' for name in self.learners)] if self.learners else []
        words += [] if self.omniglot is None else ["--omniglot", "FOLDER"]
        words += [] if self.n_steps is None else ["--steps", str(self.n_steps)]
        words += [] if self.image_steps == self.n_steps else ["--image-steps", str(self.image_steps)]
        words += [] if self.seed == 0 else ["--seed", str(self.seed)]
        return "".join(f" {word}" for word in words)


@cache
def exams(choice: Choice) -> list[Exam]:
    """Give every problem that was asked for, with those of the learners that were."""
    found: list[Exam] = []
    if "sinusoid" in choice.problems:
        found.append((curves.SINUSOIDS, _with_steps(curves.sinusoid_contestants(), choice.n_steps)))
    if "multimodal" in choice.problems:
        found.append((curves.MULTIMODAL, _with_steps(curves.multimodal_contestants(), choice.n_steps)))
    if "images" in choice.problems:
        found += _image_exams(choice)
    if "clusters" in choice.problems:
        found.append((clusters.CLUSTERS, _with_steps(clusters.contestants(), choice.n_steps)))
    return [(problem, [c for c in all_of_them if _asked(c, choice)]) for problem, all_of_them in found]


def measure_one(choice: Choice, place: int, name: str) -> str:
    """Measure one learner on the problem at ``place`` of ``exams``, in a process of its own; says what was found."""
    torch.set_num_threads(1)
    problem, contestants = exams(choice)[place]
    contestant = next(c for c in contestants if c.name == name)
    rows = measured(problem, contestant, choice.seed, choice.var)
    return "\n".join(
        f"{problem.name} {name}: {row['n_shots']} shots, {row['steps'] or 'own'} steps:"
        f" {row['mean']:.3f} ± {row['half_width']:.3f}, {row['cpu_s']:.0f} s"
        for row in rows
    )


def unfinished(choice: Choice) -> list[tuple[int, str]]:
    """Name what has no file yet: (place in ``exams``, learner)."""
    return [
        (place, contestant.name)
        for place, (problem, contestants) in enumerate(exams(choice))
        for contestant in contestants
        if not result_file(problem, contestant, choice.seed, choice.var).exists()
    ]


def tables_of(choice: Choice) -> list[Table]:
    """Read the results, once every one has its file."""
    return [
        Table(problem, contestants, [row for c in contestants for row in measured(problem, c, choice.seed, choice.var)])
        for problem, contestants in exams(choice)
    ]


def _image_exams(choice: Choice) -> Sequence[Exam]:
    real = choice.omniglot is not None
    drawings = load_glyphs(choice.var) if choice.omniglot is None else load_omniglot(find_archives(choice.omniglot))
    return [
        (
            characters.problem("omniglot" if real else "glyphs", drawings, n_shots, is_the_papers=real),
            characters.contestants(n_shots, choice.image_steps),
        )
        for n_shots in (1, 5)
    ]


def _asked(contestant: Contestant, choice: Choice) -> bool:
    return not choice.learners or contestant.name in choice.learners


def _with_steps(contestants: list[Contestant], n_steps: int | None) -> list[Contestant]:
    return contestants if n_steps is None else [replace(c, n_steps=n_steps) for c in contestants]
