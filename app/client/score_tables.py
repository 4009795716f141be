"""Batches to score as Arrow streams, and the scores that come back."""

from collections.abc import Iterator
from functools import partial

import httpx
import pandas
import pyarrow
import pyarrow.ipc

from app.client.errors import ThetaprimeError
from app.client.tables import arrow_chunks
from app.client.transport import MakeContent
from app.domain.scores import Score

SCORE_COLUMNS = tuple(Score.model_fields)
MAX_CELLS = 500_000  # of one request: far below the service's limits on bytes and rows
MAX_ROWS = 20_000


def tables_of(frame: pandas.DataFrame) -> Iterator[MakeContent]:
    """Cut a frame into bodies of bounded size."""
    n_rows = max(1, min(MAX_ROWS, MAX_CELLS // max(1, frame.shape[1])))
    for first in range(0, len(frame), n_rows):
        yield partial(arrow_chunks, frame.iloc[first : first + n_rows])


def read_scores(answer: httpx.Response) -> pandas.DataFrame:
    """Read an Arrow stream of scores. Raises: ThetaprimeError: it is none."""
    try:
        scores: pandas.DataFrame = pyarrow.ipc.open_stream(answer.content).read_pandas()
    except pyarrow.ArrowException as fault:
        detail = f"{answer.url.host} answered with something that is no table of scores."
        raise ThetaprimeError(detail, code="unexpected_answer", status=answer.status_code) from fault
    return scores
