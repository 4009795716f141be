"""One training in a process of its own, as a worker starts it: ``python -m app.training_process``.

A process and no thread, so that the worker's sign of life goes on whatever torch does, the memory of a training goes
back to the system, and a crash of native code costs one run and not the worker.
"""

import logging
import os
import signal
import sys
import threading

from app import leash
from app.errors import DatabaseUnavailable
from app.services.training_run import run_training
from app.store.database import Database

DONE, ALONE, INTERRUPTED = 0, 70, 75  # the last two: EX_SOFTWARE and EX_TEMPFAIL of <sysexits.h>


def main() -> int:
    """Run the training that the worker orders; SIGTERM ends it in good order, the worker's end at once."""
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stopping.set())
    order = leash.take_order(when_parent_ends=lambda: os._exit(ALONE))
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")

    from app.engine.training import train_theta  # torch takes seconds to load, and SIGTERM may come in them

    database = Database(order["database_url"], pool_size=2)
    try:
        is_done = run_training(database, order["training_id"], train_theta, is_stopping=stopping.is_set)
    except DatabaseUnavailable as fault:
        logging.getLogger("thetaprime.training").warning("training %d: %s", order["training_id"], fault)
        return INTERRUPTED
    return DONE if is_done else INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
