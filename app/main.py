"""Wiring only: settings, database, engine and routers become one application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import APIRouter, FastAPI

from app.api import (
    accounts,
    cards,
    health,
    markets,
    ops,
    outcomes,
    products,
    samples,
    scores,
    source_data,
    theta_primes,
    thetas,
)
from app.api.counter import Counter
from app.api.docs_page import install_docs_page
from app.api.metrics import CountRequests
from app.api.problems import install_problem_handlers
from app.services.engine import Engine
from app.services.predictors import Predictors
from app.services.watching import Watch
from app.settings import Settings
from app.store.database import Database

DESCRIPTION = """
Default risk for card markets that have barely begun. Mature markets teach one starting point, **theta**; a new
market's first labelled accounts turn it into that market's own model, **theta_prime**; scores are served from it as
soon as it is active. A PD is a probability of default, a share from 0 to 1; points are safer as they grow.
"""

ROUTERS = (products, thetas, markets, samples, outcomes, theta_primes, cards, accounts, scores, ops)


def load_engine() -> Engine:
    """Take the real engine; this is where torch is imported."""
    from app.engine.adapter import adapt, influence, reference_row_ids
    from app.engine.predictor import Predictor
    from app.engine.training import train_theta

    return Engine(train_theta, adapt, reference_row_ids, Predictor, influence)


def create_app(settings: Settings | None = None, engine: Engine | None = None) -> FastAPI:
    """Make the application; settings come from the environment and the engine is the real one, unless given."""
    settings = settings or Settings()
    engine = engine or load_engine()
    database = Database(settings.database_url, pool_size=settings.n_threads + 2)
    predictors = Predictors(engine, capacity=settings.n_predictors)
    watch = Watch(database, predictors, every_s=settings.watch_every_s)
    counter = Counter(settings, database, engine, predictors, watch)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = settings.n_threads
        watch.start()
        yield
        await anyio.to_thread.run_sync(watch.stop)
        database.close()

    app = FastAPI(
        title="Thetaprime",
        version="0.1.0",
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.counter = counter
    app.state.max_json_depth = settings.max_json_depth
    v1 = APIRouter(prefix="/v1")
    for module in ROUTERS:
        v1.include_router(module.router)
    v1.include_router(source_data.router, max_body_size=settings.max_upload_bytes)
    app.include_router(v1, max_body_size=settings.max_body_bytes)
    app.include_router(health.router, max_body_size=settings.max_body_bytes)
    install_problem_handlers(app)
    app.add_middleware(CountRequests, metrics=counter.metrics, routes=app.routes)
    install_docs_page(app)
    return app
