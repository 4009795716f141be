"""HyperImpute beside ours and chained LightGBM, all three on the same 3,000 rows.

HyperImpute (Jarrett et al. 2022, arXiv:2206.07769) searches a model for each column anew whenever it fills, which takes
minutes for a few thousand rows, and its package works with pandas 2.2 and scikit-learn 1.6 alone. So it is run by an
interpreter of its own, named by HYPERIMPUTE_PYTHON, on few rows.
"""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.imputation.claims import TITLES as TABLE_TITLES
from benchmarks.imputation.gaps import make_gaps
from benchmarks.imputation.methods import METHODS
from benchmarks.imputation.metrics import rmse
from benchmarks.imputation.tables import TABLES

FloatArray = NDArray[np.float64]
INTERPRETER = "HYPERIMPUTE_PYTHON"
TABLES_OF_NUMBERS = ("credit", "letter")
N_ROWS = 3000
RIVALS = ("lightgbm", "conditional")
# Run over there, on files alone: nothing of this repository is imported, and nothing is unpickled.
PROGRAM = """
import sys, warnings
warnings.simplefilter("ignore")
import numpy, pandas
from hyperimpute.plugins.imputers import Imputers
known = pandas.DataFrame(numpy.load(sys.argv[1], allow_pickle=False))
filled = Imputers().get("hyperimpute", random_state=0).fit_transform(known)
numpy.save(sys.argv[2], numpy.asarray(filled, dtype=numpy.float64), allow_pickle=False)
"""


def measure_hyperimpute(data: Path, file: Path) -> dict[str, Any]:
    """RMSE and seconds by table and method, kept in ``file``; nothing where no interpreter is named.

    Raises:  subprocess.CalledProcessError: the interpreter that was named could not run it; its words are printed.
    """
    if file.exists():
        found: dict[str, Any] = json.loads(file.read_text())
        return found
    interpreter = os.environ.get(INTERPRETER)
    if interpreter is None:
        return {}
    with threadpool_limits(1):
        result = {table: _of_table(table, data, interpreter) for table in TABLES_OF_NUMBERS}
    file.write_text(json.dumps(result))
    return result


def _of_table(name: str, data: Path, interpreter: str) -> dict[str, dict[str, float]]:
    table, rng = TABLES[name](data), np.random.default_rng(0)
    values = table.values[np.sort(rng.permutation(len(table.values))[:N_ROWS])]
    gaps = make_gaps(values, "MCAR", 0.2, rng)
    known, truth = np.where(gaps, np.nan, values), table.scaled(values)
    found = {}
    for method in RIVALS:
        started = time.perf_counter()
        filled = METHODS[method].fit(table.layout, known, 0).fill(known)
        found[method] = {"s": time.perf_counter() - started, "rmse": rmse(table.scaled(filled), truth, gaps)}
    started = time.perf_counter()
    filled = _over_there(interpreter, table.scaled(known))
    found["hyperimpute"] = {"s": time.perf_counter() - started, "rmse": rmse(filled, truth, gaps)}
    print(f"HyperImpute, {name}: {found['hyperimpute']['rmse']:.4f}", flush=True)
    return found


def _over_there(interpreter: str, known: FloatArray) -> FloatArray:
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder) / "known.npy", Path(folder) / "filled.npy"
        np.save(asked, known, allow_pickle=False)
        one_thread = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
        command = [interpreter, "-c", PROGRAM, str(asked), str(answered)]
        subprocess.run(command, check=True, env=one_thread, stdout=subprocess.DEVNULL)
        filled: FloatArray = np.load(answered, allow_pickle=False)
    return filled


def hyperimpute_section(found: Mapping[str, Any]) -> str:
    """The part of the page on HyperImpute, measured or skipped with its reason."""
    if not found:
        return f"{_HEAD}\nNot run: {INTERPRETER} named no interpreter that has it.\n"
    titles = {name: METHODS[name].title for name in RIVALS} | {"hyperimpute": "HyperImpute"}
    rows = [_HEAD, "| method | " + " | ".join(TABLE_TITLES[table] for table in found) + " |"]
    rows.append("|" + "---|" * (len(found) + 1))
    for method, title in titles.items():
        cells = [f"{cell[method]['rmse']:.4f} ({cell[method]['s']:.0f} s)" for cell in found.values()]
        rows.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


_HEAD = f"""## HyperImpute

On {N_ROWS:,} rows alone, 20 % MCAR, seed 0; RMSE of single fills, in brackets seconds of wall clock, one thread.
HyperImpute ({INTERPRETER}) searches a model a column whenever it fills.
"""
