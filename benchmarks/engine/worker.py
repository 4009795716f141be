"""``python -m benchmarks.engine.worker ROW DTYPE``: does a row's work on request, one JSON line in, one out.

    {"do": "describe"}      -> {"version": ..., "torch": ...}
    {"do": "gradient"}      -> {"w0": [[...]], ...}
    {"do": "run", "n": 8}   -> {"seconds": ...}: of processor time, for n meta-batches after one untimed

A worker keeps to one core and one thread. A fault is answered as {"error": ...} and ends it.
"""

import importlib.util
import json
import os
import sys
import time
from importlib.metadata import version
from typing import Any

from benchmarks.engine.contestant import Contestant
from benchmarks.engine.rows import Row, find_row
from benchmarks.engine.task import draw_task

ONE_THREAD = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
    "TORCHINDUCTOR_COMPILE_THREADS": "1",
}


def answer(request: dict[str, Any], row: Row, contestant: Contestant) -> dict[str, Any]:
    if request["do"] == "describe":
        return {"version": version(row.package), "torch": version("torch")}
    if request["do"] == "gradient":
        return {name: value.tolist() for name, value in contestant.meta_gradient().items()}
    contestant.run(1)  # the row before this one has emptied the caches
    started = time.process_time()
    contestant.run(request["n"])
    return {"seconds": time.process_time() - started}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes to stderr
    try:
        keep_to_one_core()
        row = find_row(sys.argv[1])
        contestant = row.build(draw_task(sys.argv[2]))
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line), row, contestant)), file=answers, flush=True)
    except Exception as fault:  # a peer may fail in any way; the table prints how
        print(json.dumps({"error": f"{type(fault).__name__}: {fault}"}), file=answers, flush=True)
        raise


def keep_to_one_core() -> None:
    """Pin this process, where the system can, and tell torch; the environment tells the other libraries."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(1)


if __name__ == "__main__":
    main()
