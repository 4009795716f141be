"""Meta-training: ask for a theta, see how it comes along, put it in service.

What a worker does with such a request is in ``training_run``.
"""

from app.domain.pages import Page
from app.domain.recipes import ThetaRecipe
from app.domain.thetas import Theta
from app.errors import TooLittleSourceData, UnknownTheta, UntrainedTheta
from app.services import products
from app.store.activations import record_activation
from app.store.database import Transaction
from app.store.products import ProductRow, lock_product, set_active_theta
from app.store.queue import defer_training
from app.store.source_rows import find_variety
from app.store.thetas import TrainingRow, find_training, insert_training, list_trainings


def request_theta(tx: Transaction, product: str, recipe: ThetaRecipe, *, activate: bool = False) -> Theta:
    """Queue a training under the product's next version; the version and its job are there together or not at all.

    Args:   activate: put the theta in service when it is learned, if the product has none in service by then.
    Raises: UnknownProduct; TooLittleSourceData: a training would be sure to fail.
    """
    owner = products.get_row(tx, product)
    _require_source_data(tx, owner)
    training = insert_training(tx, owner.id, recipe, activate_if_first=activate)
    defer_training(tx, training.id)
    return _theta(owner, training)


def _require_source_data(tx: Transaction, owner: ProductRow) -> None:
    """What is known at once; whether each market has rows enough, the training itself finds out."""
    variety = find_variety(tx, owner.id)
    if variety is None:
        raise TooLittleSourceData(f"Product '{owner.product.slug}' has no source rows to learn from.")
    if not variety.several_markets:
        raise TooLittleSourceData("All source rows are of one market; theta is learned from several.")
    if not variety.both_outcomes:
        raise TooLittleSourceData(
            "All source rows have one outcome; theta is learned from defaulted and good accounts."
        )


def get_theta(tx: Transaction, product: str, version: int) -> Theta:
    """Read a version, learned or not. Raises: UnknownProduct, UnknownTheta."""
    owner = products.get_row(tx, product)
    return _theta(owner, _get_training(tx, owner, version))


def list_thetas(tx: Transaction, product: str, *, after: int, limit: int) -> Page[Theta]:
    """Read one page of versions, oldest first. Raises: UnknownProduct."""
    owner = products.get_row(tx, product)
    found = list_trainings(tx, owner.id, after=after, limit=limit)
    return Page.of([_theta(owner, training) for training in found], limit, lambda theta: theta.version)


def activate_theta(tx: Transaction, product: str, version: int, *, activated_by: str, note: str | None = None) -> Theta:
    """Put a learned version in service; markets with an active theta_prime keep it. Twice is as once.

    Raises: UnknownProduct, UnknownTheta; UntrainedTheta: its training has not succeeded.
    """
    owner = products.get_row(tx, product)
    training = _get_training(tx, owner, version)
    if training.status != "succeeded":
        raise UntrainedTheta(f"The training of version {version} is {training.status}.")
    put_in_service(tx, owner.id, version, replaced=lock_product(tx, owner.id), activated_by=activated_by, note=note)
    return get_theta(tx, product, version)


def put_in_service(
    tx: Transaction, product_id: int, version: int, *, replaced: int | None, activated_by: str, note: str | None
) -> None:
    """Point the product, whose row the caller has locked, at one of its thetas."""
    if version == replaced:
        return
    set_active_theta(tx, product_id, version)
    record_activation(
        tx, product_id, None, version=version, replaced_version=replaced, activated_by=activated_by, note=note
    )


def _get_training(tx: Transaction, owner: ProductRow, version: int) -> TrainingRow:
    training = find_training(tx, owner.id, version)
    if training is None:
        raise UnknownTheta(f"Product '{owner.product.slug}' has no theta {version}.")
    return training


def _theta(owner: ProductRow, training: TrainingRow) -> Theta:
    own = Theta.model_fields.keys() - {"product", "active"}
    return Theta(
        product=owner.product.slug,
        active=owner.product.active_theta_version == training.version,
        **{name: getattr(training, name) for name in own},
    )
