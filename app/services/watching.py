"""The watch: newly active versions are in this process's memory before somebody asks for a score by them.

Which version scores is read with each score, so an activation counts everywhere from its commit on; the watch spares
the first of these scores the loading. Notices tell it at once, and since a notice can be missed it looks each second.
"""

import logging
from threading import Event, Thread

from app.errors import DatabaseUnavailable, EngineRefused, StoredWeightsCorrupt
from app.services.predictors import Key, Predictors
from app.store.activations import CHANNEL, notify
from app.store.database import Database
from app.store.scores import list_serving

log = logging.getLogger("thetaprime.watch")


class Watch:
    """A thread that loads what becomes active, until ``stop``."""

    def __init__(self, database: Database, predictors: Predictors, *, every_s: float) -> None:
        self._database, self._predictors, self._every_s = database, predictors, every_s
        self._known: set[Key] = set()
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="watch", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Is it watching? False before ``start``, after ``stop``, and after a fault of its own."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Stop and wait until it has."""
        self._stopping.set()
        try:
            with self._database.writing() as tx:
                notify(tx)  # wakes the thread
        except DatabaseUnavailable:
            log.info("the database is gone; the watch ends by itself")
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._watch_while_connected()
            except DatabaseUnavailable:
                log.warning("the database is gone; looking again in %.1f s", self._every_s)
                self._stopping.wait(self._every_s)

    def _watch_while_connected(self) -> None:
        with self._database.listening(CHANNEL) as wait:
            while not self._stopping.is_set():
                self._load_newly_active()
                wait(self._every_s)

    def _load_newly_active(self) -> None:
        with self._database.reading() as tx:
            serving = list_serving(tx)
            active = {(theta_id, theta_prime_id): product for product, theta_id, theta_prime_id in serving}
            for key in active.keys() - self._known:
                try:
                    self._predictors.get(tx, active[key], *key)
                except (StoredWeightsCorrupt, EngineRefused) as fault:
                    log.error("theta id %s, theta_prime id %s cannot be loaded: %s", *key, fault.code)
        self._known = set(active)
