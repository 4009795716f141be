"""What the imputation page says of collapsed seeds, of seed noise, and of what filling does for default risk."""

import json
from pathlib import Path

import pandas
import pytest

from benchmarks.imputation import risk_report
from benchmarks.imputation import run as running
from benchmarks.imputation.claims import claims_of, has_collapsed
from benchmarks.imputation.report import write_report
from benchmarks.imputation.risk import RiskJob
from benchmarks.imputation.risk_report import ABSENT, SAME, risk_claims, risk_section, verdict
from benchmarks.imputation.tables import Table
from meta.imputers import Layout
from tests.benchmarks.test_imputation import related


def gain_cells(errors: list[float], collapsed: list[list[str]]) -> list[dict]:
    told = {"table": "credit", "mechanism": "MCAR", "rate": 0.2, "method": "gain_reference", "crps": 0.1}
    told |= {"coverage": 0.1, "told_apart": 0.9, "fit_s": 1.0, "fill_s_per_100k": 1.0}
    return [
        told | {"seed": seed, "rmse": error, "collapsed": names}
        for seed, (error, names) in enumerate(zip(errors, collapsed, strict=True))
    ]


def test_the_page_tells_median_and_collapsed_seeds(tmp_path: Path) -> None:
    write_report(gain_cells([0.133, 0.135, 0.180], [[], [], ["sex"]]), {}, [], tmp_path)
    row = "| GAIN, the authors' program | 3 | 0.1493 ± 0.0266 | 0.1350 | 1 of 3 (sex) |"
    assert row in (tmp_path / "imputation.md").read_text()


def test_cells_of_before_do_not_say_whether_they_collapsed(tmp_path: Path) -> None:
    old = [{name: value for name, value in cell.items() if name != "collapsed"} for cell in gain_cells([0.135], [[]])]
    assert has_collapsed(pandas.DataFrame(old)).tolist() == [False]
    write_report(old, {}, [], tmp_path)
    assert "| GAIN, the authors' program | 1 | 0.1350 | 0.1350 |  |" in (tmp_path / "imputation.md").read_text()


def test_a_collapsed_seed_does_not_widen_the_noise() -> None:
    """By the standard deviation of all three 0.149 would be within noise of 0.135."""
    (claim,) = claims_of(pandas.DataFrame(gain_cells([0.133, 0.135, 0.180], [[], [], ["sex"]])))
    assert claim.startswith("REACHED: Credit, 23 numbers")
    assert "0.1340 over 2 seeds without a collapsed column, within 0.0028 of it" in claim
    assert "over all 3 mean 0.1493, not within, median 0.1350" in claim


def test_another_figure_is_not_the_references() -> None:
    (claim,) = claims_of(pandas.DataFrame(gain_cells([0.150, 0.151], [[], []])))
    assert claim.startswith("**NOT REACHED")
    assert "0.1505 over 2 seeds without a collapsed column, not within 0.0020" in claim


@pytest.mark.parametrize(
    ("errors", "told"),
    [
        ([0.134, 0.138, 0.180], "REACHED: Credit"),  # median 0.138, of 0.135; the others lie 0.004 and 0.042 from it
        ([0.148, 0.150, 0.151], "**NOT REACHED: Credit"),
    ],
)
def test_where_every_seed_has_a_collapsed_column_the_median_is_judged(errors: list[float], told: str) -> None:
    (claim,) = claims_of(pandas.DataFrame(gain_cells(errors, [["sex"]] * 3)))
    assert claim.startswith(told)
    assert f"{sorted(errors)[1]:.4f} the median of 3 seeds, each with a collapsed column" in claim


def test_a_run_notes_which_columns_of_a_gan_collapsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(("a", "b", "kind"), (None, None, ("x", "y")))
    monkeypatch.setitem(running.TABLES, "letter", lambda folder: Table.of("small", layout, related(700)))
    monkeypatch.setattr(running, "collapsed_columns", lambda fitted, known: {"kind": fitted.name, "b": "x"})
    (job,) = running.plan(["letter"], ["gain_paper"], 1, tmp_path, tmp_path / "kept")
    quick = running.METHODS["mean"].fit
    monkeypatch.setitem(running.METHODS, "gain_paper", running.METHODS["gain_paper"].__class__("GAIN", quick, 1, "gan"))
    running.run_job(job)
    assert running.gather([job])[0]["collapsed"] == ["b", "kind"]


def risk_cells(losses: dict[str, tuple[float, float]]) -> pandas.DataFrame:
    """By way the log loss with the gaps of the source, and with a column absent; markets agree but for a hair."""
    return pandas.DataFrame(
        [
            {"way": way, "condition": "taiwan, MCAR 30%", "market": f"M{m}", "n": n, "log_loss": loss + 1e-4 * m}
            for way, both in losses.items()
            for n, loss in zip((0, 20), both, strict=True)
            for m in range(6)
        ]
    )


def test_plain_words_follow_from_the_intervals() -> None:
    said = verdict(risk_cells({"none": (0.5, 0.5), "conditional": (0.5, 0.49), "mean": (0.5, 0.51)}))
    assert f"with {SAME} the missing state is as good (+0.0000 [+0.0000, +0.0000])" in said[0]
    assert f"with {ABSENT} filling helps (-0.0100 [-0.0100, -0.0100])" in said[0]
    assert f"with {ABSENT} filling harms" in said[1]
    assert "**theta, conditional** helps in taiwan, MCAR 30%." in said[2]
    assert said[3].startswith("**The recipe's default is `auto`, which does not follow from this: it would be `none`**")
    assert "no imputer helps" in said[3]
    assert said[3].endswith("Name `conditional` where a new market will lack a column.")


def test_a_default_that_takes_what_pays_follows() -> None:
    losses = {"none": (0.5, 0.5), "conditional": (0.48, 0.49), "gain": (0.49, 0.5)}
    last = verdict(risk_cells(losses))[-1]
    assert last.startswith("**The recipe's default is therefore `auto`**, which is `conditional` where 10% of the")
    assert "Name" not in last
    other = verdict(risk_cells(losses | {"gain": (0.47, 0.5)}))[-1]
    assert other.startswith("**The recipe's default is `auto`, which does not follow from this: it would be `gain`**")


def test_the_default_is_read_off_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    class Recipe:
        imputer = "conditional"

    monkeypatch.setattr(risk_report, "ThetaRecipe", Recipe)
    last = verdict(risk_cells({"none": (0.5, 0.5), "conditional": (0.48, 0.49)}))[-1]
    assert last.startswith("**The recipe's default is therefore `conditional`**: `conditional` helps")


def test_sentences_stand_on_the_page_and_among_the_claims(tmp_path: Path) -> None:
    jobs = [RiskJob("taiwan", "MCAR", 0.3, way, tmp_path, tmp_path) for way in ("none", "conditional")]
    assert risk_claims(jobs) == []
    for job, loss in zip(jobs, (0.5, 0.49), strict=True):
        rows = [
            {"market": m, "draw": 0, "n": n, "log_loss": loss if n else 0.5, "auc": 0.7, "slope": 1.0}
            for m in "AB"
            for n in (0, 20)
        ]
        job.file.write_text(json.dumps({"strongest": "x", "rows": rows}))
    assert risk_claims(jobs)[0].startswith("**The recipe's default is `auto`, which does not follow")
    page = risk_section(jobs)
    assert page.index("- **theta, conditional**: with") < page.index("- **The recipe's default") < page.index("| n = 0")
    assert risk_claims(jobs[1:]) == []  # nothing to compare with
    assert "against missing as a state" not in risk_section(jobs[1:])
