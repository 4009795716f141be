"""The study's questions, answered in words from the cells, whatever the answer is."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pandas

from benchmarks.open_question.contestants import META, METHODS, POOLED, SCRATCH, THETA_PRIME, TREES, TREES_WITH_SOURCE
from benchmarks.open_question.design import ALL
from benchmarks.open_question.summary import (
    Estimate,
    compute,
    differences,
    ends_at,
    markets_of,
    mean_n,
    pooled_of,
)
from benchmarks.open_question.worlds import WORLDS

MARGIN = 0.001  # log loss: less is called no matter, even where it is shown
UNIT = 1e4  # differences are told in 1/10,000 nats an account
PARTS = {"single markets": markets_of, "their rows together": pooled_of}
PAIRS = ((SCRATCH, POOLED), (META, POOLED), (TREES, POOLED), (TREES_WITH_SOURCE, POOLED), (THETA_PRIME, POOLED))


def parts_of(worlds: Mapping[str, pandas.DataFrame]) -> dict[str, pandas.DataFrame]:
    """The cells of each world's single markets and of their rows together, by title."""
    parts = {
        f"{WORLDS[world].title}, {name}": of(cells) for world, cells in worlds.items() for name, of in PARTS.items()
    }
    return {title: cells for title, cells in parts.items() if len(cells)}


def metric_of(cells: pandas.DataFrame) -> tuple[str, str]:
    """What losses are told in: excess over the truth where that is known."""
    if "excess" in cells and cells["excess"].notna().all():
        return "excess", "expected loss above the truth's"
    return "log_loss", "log loss"


def in_short(worlds: Mapping[str, pandas.DataFrame]) -> Iterator[str]:
    """Four lines that answer the question of the title; parts without a method are left out of what is said of it."""
    parts = parts_of(worlds)
    ends = [f"{title}: {_end(cells)}" for title, cells in parts.items() if {SCRATCH, POOLED} <= set(cells["method"])]
    yield f"A network from scratch is no longer shown to be worse than one from pooled rows: {'; '.join(ends)}."
    yield f"A start made by meta-learning: {_count(parts, ((META, POOLED),))}"
    winners = [_ranked(cells)[0] for cells in parts.values()]
    counts = ", ".join(f"*{name}* in {winners.count(name)}" for name in dict.fromkeys(winners))
    yield f"Lowest mean loss with all rows, of {len(winners)} parts: {counts}."
    yield "Fitted to all rows, processor seconds with tuning (shared): " + "; ".join(_costs(parts)) + "."


def _end(cells: pandas.DataFrame) -> str:
    n, gaps = mean_n(cells), differences(cells, SCRATCH, POOLED, metric_of(cells)[0])
    found = ends_at({size: gap if gap.low > 0 else replace(gap, low=-1.0, high=1.0) for size, gap in gaps.items()})
    return f"from {size_told(found, n)} on" if found else f"at no n, {size_told(ALL, n)} included"


def _ranked(cells: pandas.DataFrame) -> list[str]:
    """Methods by their mean loss with all rows, the best first."""
    at_all = cells[cells["size"] == ALL]
    return [str(method) for method in at_all.groupby("method")[metric_of(cells)[0]].mean().sort_values().index]


def _costs(parts: Mapping[str, pandas.DataFrame]) -> Iterator[str]:
    every = pandas.concat(parts.values())
    seconds = compute(every[every["size"] == ALL]).xs(ALL, level="size")
    for method in (name for name in METHODS if name in seconds.index):
        of = seconds.loc[method]
        yield f"*{method}* {of['seconds'] + of['tuning_seconds']:.1f} ({of['shared_seconds']:.0f})"


def answers(worlds: Mapping[str, pandas.DataFrame]) -> Iterator[str]:
    """One paragraph a question, one line in it a world and part."""
    parts = parts_of(worlds)
    questions = {
        "From which n on does the start no longer matter?": ((SCRATCH, POOLED),),
        "Is a meta-learned start better than a merely pooled one?": ((META, POOLED),),
        "Do trees win?": ((TREES, POOLED), (TREES_WITH_SOURCE, POOLED)),
        "And the service's own adaptation?": ((THETA_PRIME, POOLED),),
    }
    for question, pairs in questions.items():
        yield f"**{question}** {_count(parts, pairs)}\n"
        for title, cells in parts.items():
            yield from (f"- {title}: {_compared(cells, *pair)}" for pair in pairs if set(pair) <= set(cells["method"]))
        yield ""
    yield "**Who is best with all rows, and at what compute?** In processor seconds: a fit (its tuning, shared).\n"
    yield from (f"- {title}: {_best(cells)}" for title, cells in parts.items())


def _count(parts: Mapping[str, pandas.DataFrame], pairs: tuple[tuple[str, str], ...]) -> str:
    """In how many of all cells (part, size) each first method is better, worse, or neither."""
    told = []
    for method, other in pairs:
        gaps = [
            gap
            for cells in parts.values()
            if {method, other} <= set(cells["method"])
            for gap in differences(cells, method, other, metric_of(cells)[0]).values()
        ]
        better, worse = sum(gap.high < 0 for gap in gaps), sum(gap.low > 0 for gap in gaps)
        told.append(
            f"*{method}* against *{other}*: better in {better}, worse in {worse}, no difference shown in"
            f" {len(gaps) - better - worse} of {len(gaps)} settings (part, n)."
        )
    return " ".join(told)


def _compared(cells: pandas.DataFrame, method: str, other: str) -> str:
    """One comparison over all sizes of a part."""
    n, gaps = mean_n(cells), differences(cells, method, other, metric_of(cells)[0])
    better = [size_told(size, n) for size, gap in gaps.items() if gap.high < 0]
    worse = [size_told(size, n) for size, gap in gaps.items() if gap.low > 0]
    verdicts = [f"better at {', '.join(better)}"] * bool(better) + [f"worse at {', '.join(worse)}"] * bool(worse)
    shown, matters = ends_at(gaps), ends_at(gaps, MARGIN)
    ends = f"none shown from {size_told(shown, n)} on" if shown else "shown to the last"
    if matters and matters != shown:
        ends += f", but none of more than {MARGIN} from {size_told(matters, n)} on"
    told = "; ".join([*verdicts, ends]) if verdicts else "no difference shown at any n"
    return f"*{method}* against *{other}* {told}. At all rows {gap_told(gaps[ALL])}."


def _best(cells: pandas.DataFrame) -> str:
    """Who has the lowest mean loss with all rows, what it is not shown to be better than, and what each cost."""
    n, metric = mean_n(cells), metric_of(cells)[0]
    at_all = cells[cells["size"] == ALL]
    order = _ranked(cells)
    gaps = {method: differences(at_all, method, order[0], metric)[ALL] for method in order[1:]}
    even = [f"*{method}*" for method, gap in gaps.items() if not gap.shown]
    seconds = compute(at_all).xs(ALL, level="size")
    costs = [
        "{} {:.1f} ({:.1f}, {:.0f})".format(m, *seconds.loc[m, ["seconds", "tuning_seconds", "shared_seconds"]])
        for m in order
    ]
    beside = f"not shown to be better than {', '.join(even)}" if even else "shown to be better than all others"
    return (
        f"{size_told(ALL, n)}: *{order[0]}* has the lowest mean loss, {beside}. Cost, best first: {'; '.join(costs)}."
    )


def gap_told(gap: Estimate) -> str:
    """In 1/10,000 nats; bold where zero is outside the interval."""
    text = f"{UNIT * gap.mean:+.0f} [{UNIT * gap.low:+.0f}, {UNIT * gap.high:+.0f}]"
    return f"**{text}**" if gap.shown else text


def size_told(size: str, n: Mapping[str, float]) -> str:
    return f"all ({n[size]:,.0f})" if size == ALL else f"n = {int(size):,}"
