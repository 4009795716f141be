"""The docs page is the operations desk's screen: Swagger UI from an installed package, nothing from anywhere else."""

from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI, Response
from fastapi.routing import iter_route_contexts
from fastapi.staticfiles import StaticFiles

from app.api.openapi import complete_document

_OWN = Path(str(files("app.api"))) / "static"
_SWAGGER_UI = Path(str(files("fastapi_offline"))) / "static"

TAGS = [
    {"name": "products", "description": "A card product: its features with units and ranges, what default means."},
    {"name": "source data", "description": "Labelled rows of mature markets, from which theta is learned."},
    {"name": "thetas", "description": "The starting points of a product: train one as a job, watch it, activate it."},
    {"name": "markets", "description": "A market of a product: its declared base rate, its currency, who activates."},
    {"name": "samples", "description": "Labelled accounts of a market; posting them adapts theta to theta_prime."},
    {"name": "theta-primes", "description": "A market's own versions: their reports and verdicts, which one serves."},
    {"name": "accounts", "description": "Features of accounts, stored so that none is ever in an address."},
    {"name": "scores", "description": "Default risk: PD as a share, points (higher is safer), the ledger, replays."},
    {"name": "operations", "description": "Every market at once, as a table or as a picture."},
    {"name": "health", "description": "For load balancers and monitors."},
]
"""In the order in which a new product needs them."""

PAGE_HEADERS = {
    "Content-Security-Policy": "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data: blob:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}


def install_docs_page(app: FastAPI) -> None:
    """Serve `/docs`, with `/openapi.json` completed by the shape of every error.

    Make the app with `docs_url=None, redoc_url=None`, and call this after all routers are included. All addresses in
    the page are relative, so it works below any path prefix.
    """
    app.openapi_tags = [tag for tag in TAGS if tag["name"] in _used_tags(app)]
    complete_document(app)
    app.mount("/docs/assets", StaticFiles(directory=_SWAGGER_UI), name="docs-assets")
    app.mount("/docs/static", StaticFiles(directory=_OWN), name="docs-static")
    page = (_OWN / "docs.html").read_bytes()

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return Response(page, media_type="text/html; charset=utf-8", headers=PAGE_HEADERS)


def _used_tags(app: FastAPI) -> set[str]:
    return {str(tag) for route in iter_route_contexts(app.routes) for tag in getattr(route, "tags", None) or ()}
