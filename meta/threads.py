"""One thread for what must have the same bits everywhere.

Matrix libraries may split a sum among threads, and how they split it changes its last bits. A market's adaptation is
small: a second thread gains it nothing, and its hash must not depend on the machine's number of processors.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import torch

_lock = Lock()
_inside = 0
_usual = 1


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread inside, whichever threads of the program are inside at once.

    torch keeps a number of threads for each thread and the matrix library one for all: the usual number comes back
    when the last has left.
    """
    global _inside, _usual
    with _lock:
        if _inside == 0:
            _usual = torch.get_num_threads()
        _inside += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                torch.set_num_threads(_usual)
