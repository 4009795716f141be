"""The docs page is the operations desk's screen: Swagger UI from an installed package, nothing from anywhere else."""

from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI, Response
from fastapi.staticfiles import StaticFiles

from app.api.openapi import describe_problems

_OWN = Path(str(files("app.api"))) / "static"
_SWAGGER_UI = Path(str(files("fastapi_offline"))) / "static"

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
    describe_problems(app)
    app.mount("/docs/assets", StaticFiles(directory=_SWAGGER_UI), name="docs-assets")
    app.mount("/docs/static", StaticFiles(directory=_OWN), name="docs-static")
    page = (_OWN / "docs.html").read_bytes()

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return Response(page, media_type="text/html; charset=utf-8", headers=PAGE_HEADERS)
