"""Health: can this process do its work, and what is there to count?"""

from app.domain.thetas import TrainingStatus
from app.errors import NotReady
from app.services.watching import Watch
from app.store import migrations, thetas
from app.store.database import Transaction


def require_ready(tx: Transaction, watch: Watch) -> None:
    """Raises: NotReady: the database is not at this version's migrations, or the watch has ended."""
    if not migrations.has_newest(tx):
        raise NotReady("The database does not have this version's tables; run: thetaprime migrate")
    if not watch.is_alive:
        raise NotReady("Newly active versions are no longer watched for; restart this process.")


def count_trainings(tx: Transaction) -> dict[TrainingStatus, int]:
    """Count trainings by their status."""
    return thetas.count_trainings(tx)
