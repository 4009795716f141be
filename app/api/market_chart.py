"""What theta_prime gains over theta in each market, drawn as SVG for the docs page."""

from collections.abc import Sequence
from io import BytesIO
from threading import Lock
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from app.domain.operations import CrossFittedGain, MarketStatus

WIDTH_IN, ROW_IN, FRAME_IN, LEAST_ROWS = 10.5, 0.34, 1.9, 3
COLOURS = {"activate": "#1a7f4b", "hold": "#b26a00", "refuse": "#b3261e"}
MARKERS = {"activate": "o", "hold": "D", "refuse": "X"}
INK, FAINT = "#1f2733", "#8a94a3"
LABEL_CHARACTERS = 22

# Settings of matplotlib are global to the process and drawing is not thread-safe, so one chart is drawn at a time.
_DRAWING = Lock()
_SETTINGS: dict[Any, Any] = {"svg.hashsalt": "thetaprime", "font.family": "DejaVu Sans", "text.parse_math": False}


def draw_gains(markets: Sequence[MarketStatus]) -> bytes:
    """Draw one line a market: the cross-fitted gain in log loss, nats an account, with its interval.

    Markets whose newest theta_prime was not measured are listed without a mark. The same markets give the same bytes.
    """
    with _DRAWING, rc_context(_SETTINGS):
        n_rows = max(len(markets), LEAST_ROWS)
        figure = Figure(figsize=(WIDTH_IN, FRAME_IN + ROW_IN * n_rows), facecolor="white", layout="constrained")
        axes = figure.add_subplot()
        _draw_frame(axes)
        if markets:
            figure.legend(handles=_legend(), loc="outside upper center", ncols=3, frameon=False, fontsize=9)
            _draw_markets(axes, markets)
        else:
            _draw_emptiness(axes)
        return _svg(figure)


def _draw_frame(axes: Axes) -> None:
    axes.set_title("theta_prime against theta, newest version of each market", color=INK, fontsize=11)
    axes.set_xlabel(
        "gain in log loss on accounts held out of the adaptation\nnats an account, with interval; right of 0: better"
    )
    axes.grid(axis="x", color="#e6e9ee", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _draw_markets(axes: Axes, markets: Sequence[MarketStatus]) -> None:
    labels = [f"{_shortened(status.product)} / {_shortened(status.market)}" for status in markets]
    axes.set_yticks(range(len(markets)), labels, color=INK, fontsize=9)
    axes.set_ylim(len(markets) - 0.4, -0.6)
    axes.axvline(0, color=FAINT, linewidth=1)
    for place, status in enumerate(markets):
        if status.cross_fitted is not None:
            _draw_gain(axes, place, status.cross_fitted, status.latest_verdict or "hold")
    notes = axes.secondary_yaxis("right")
    notes.set_yticks(range(len(markets)), [_note(status) for status in markets], color=INK, fontsize=8.5)
    notes.tick_params(length=0)
    notes.spines["right"].set_visible(False)


def _draw_gain(axes: Axes, place: int, measured: CrossFittedGain, verdict: str) -> None:
    colour = COLOURS[verdict]
    axes.plot([measured.gain_low, measured.gain_high], [place, place], color=colour, linewidth=2.2, alpha=0.55)
    axes.plot(measured.gain, place, MARKERS[verdict], color=colour, markersize=7)


def _note(status: MarketStatus) -> str:
    serves = f"v{status.active_version}" if status.active_version is not None else status.basis or "nothing"
    if status.latest_version is None:
        return f"no version yet; {serves} serves"
    measured = "" if status.cross_fitted is not None else ", not measured"
    return f"v{status.latest_version}: {status.n_defaults} of {status.n_support} defaulted{measured}; {serves} serves"


def _draw_emptiness(axes: Axes) -> None:
    axes.set_yticks([])
    axes.set_xticks([])
    axes.text(0.5, 0.55, "no markets yet", transform=axes.transAxes, ha="center", color=FAINT, fontsize=13)


def _legend() -> list[Line2D]:
    return [
        Line2D([], [], color=COLOURS[verdict], marker=MARKERS[verdict], linewidth=2.2, label=f"verdict {verdict}")
        for verdict in COLOURS
    ]


def _shortened(label: str) -> str:
    return label if len(label) <= LABEL_CHARACTERS else label[: LABEL_CHARACTERS - 1] + "…"


def _svg(figure: Figure) -> bytes:
    drawn = BytesIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None, "Title": "gain of theta_prime over theta"})
    return drawn.getvalue()
