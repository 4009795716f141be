"""A small typed Python client.

with ThetaprimeClient("http://127.0.0.1:8000") as client:
    score = client.score_account("demo-card", "market-30", "A-1051")
"""

from app.client.errors import RowFault, ServiceUnreachable, ThetaprimeError, TrainingFailed
from app.client.thetaprime import ThetaprimeClient

__all__ = ["RowFault", "ServiceUnreachable", "ThetaprimeClient", "ThetaprimeError", "TrainingFailed"]
