"""HyperImpute is run by another interpreter, through files; where none is named the page says so."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.imputation import hyperimpute
from benchmarks.imputation.hyperimpute import hyperimpute_section, measure_hyperimpute
from benchmarks.imputation.tables import Table
from meta.imputers import Layout
from tests.benchmarks.test_imputation import related

NUMBERS = Layout(("a", "b", "c"), (None, None, None))
HALVES = """
import sys, numpy
known = numpy.load(sys.argv[1], allow_pickle=False)
numpy.save(sys.argv[2], numpy.where(numpy.isnan(known), 0.5, known), allow_pickle=False)
"""


def test_where_no_interpreter_is_named_nothing_is_run_and_the_page_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HYPERIMPUTE_PYTHON", raising=False)
    assert measure_hyperimpute(tmp_path, tmp_path / "kept.json") == {}
    assert not (tmp_path / "kept.json").exists()
    assert "Not run: HYPERIMPUTE_PYTHON named no interpreter that has it." in hyperimpute_section({})


def test_its_fills_come_back_from_the_other_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table.of("small", NUMBERS, related(400))
    monkeypatch.setenv("HYPERIMPUTE_PYTHON", sys.executable)
    monkeypatch.setattr(hyperimpute, "PROGRAM", HALVES)
    monkeypatch.setattr(hyperimpute, "TABLES_OF_NUMBERS", ("letter",))
    monkeypatch.setattr(hyperimpute, "RIVALS", ("mean",))
    monkeypatch.setitem(hyperimpute.TABLES, "letter", lambda folder: table)
    found = measure_hyperimpute(tmp_path, tmp_path / "kept.json")
    rng = np.random.default_rng(0)
    values = table.values[np.sort(rng.permutation(400)[: hyperimpute.N_ROWS])]
    gaps = hyperimpute.make_gaps(values, "MCAR", 0.2, rng)
    halves = np.sqrt(((0.5 - table.scaled(values)[gaps]) ** 2).mean())
    assert found["letter"]["hyperimpute"]["rmse"] == pytest.approx(halves)
    monkeypatch.setattr(hyperimpute, "PROGRAM", "raise SystemExit(1)")  # what is kept is not run again
    assert measure_hyperimpute(tmp_path, tmp_path / "kept.json") == json.loads(json.dumps(found))
    assert f"| HyperImpute | {halves:.4f} (" in hyperimpute_section(found)
