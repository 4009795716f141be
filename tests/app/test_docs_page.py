"""The docs page: whole without the internet, within its Content-Security-Policy, and able to show a chart."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Query, Response
from pydantic import BaseModel, Field

from app.api import examples
from app.api.docs_page import PAGE_HEADERS, install_docs_page
from app.api.problems import install_problem_handlers
from app.api.strict_json import StrictRoute
from app.store.database import Database
from tests.app.bank import Bank
from tests.app.browser import Browser, chromium
from tests.app.serving import serving

CHART = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="320" height="80"><rect width="320" height="80" fill="#2a6"/></svg>'
)


class Rate(BaseModel):
    value: float = Field(examples=[0.04], description="share of accounts that default")


def small_app() -> FastAPI:
    app = FastAPI(title="Small", docs_url=None, redoc_url=None)
    router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["markets"])

    @router.put("/rate")
    async def put_rate(rate: Rate, dry_run: bool = Query(False, description="check only")) -> Rate:
        return rate

    @router.get("/chart", responses={200: {"content": {"image/svg+xml": {}}}})
    async def chart() -> Response:
        return Response(CHART, media_type="image/svg+xml")

    app.include_router(router, max_body_size=1000)
    install_problem_handlers(app)
    install_docs_page(app)
    return app


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with serving(small_app()) as client:
        yield client


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


def own_host(client: httpx.Client) -> str:
    return client.base_url.netloc.decode()


def test_page_and_assets_are_served_with_their_policy(client: httpx.Client) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert {name: page.headers[name] for name in PAGE_HEADERS} == PAGE_HEADERS
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    for asset in ("assets/swagger-ui-bundle.js", "assets/swagger-ui.css", "assets/favicon.png", "static/docs.js"):
        answer = client.get(f"/docs/{asset}")
        assert answer.status_code == 200, asset
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_every_operation_describes_its_errors_and_none_fastapis_own(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert "code" in document["components"]["schemas"]["Problem"]["required"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            described = operation["responses"]["4XX"]["content"]["application/problem+json"]["schema"]
            assert described == {"$ref": "#/components/schemas/Problem"}, (path, method)
            assert "422" not in operation["responses"]


def test_every_tag_of_the_service_is_described(service: FastAPI) -> None:
    document = service.openapi()
    used = {tag for operation in operations_of(document) for tag in operation["tags"]}
    assert {tag["name"] for tag in document["tags"]} == used
    assert all(operation["summary"] and operation["description"] for operation in operations_of(document))


def operations_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for operations in document["paths"].values() for operation in operations.values()]


def test_page_executes_a_request_without_leaving_home(client: httpx.Client, browser: Browser, tmp_path: Path) -> None:
    browser.open(f"{client.base_url}/docs#/markets/put_rate_v1_rate_put")
    browser.wait_for("return document.querySelector('.execute')")
    answer = browser.execute("return document.querySelector('.live-responses-table .highlight-code')?.innerText")
    assert '"value": 0.04' in answer
    assert browser.requested_hosts() == {own_host(client)}
    assert browser.errors() == []


def test_page_shows_an_svg_answer_as_a_picture(client: httpx.Client, browser: Browser, tmp_path: Path) -> None:
    browser.open("about:blank")  # else only the fragment changes, and the page stays as the test before left it
    browser.open(f"{client.base_url}/docs#/markets/chart_v1_chart_get")
    browser.wait_for("return document.querySelector('.execute')")
    width = browser.execute("return document.querySelector('.svg-answer img')?.naturalWidth")
    assert width == 320
    browser.screenshot(tmp_path / "chart.png")
    assert (tmp_path / "chart.png").stat().st_size > 0
    assert browser.requested_hosts() == {own_host(client)}
    assert browser.errors() == []


def test_an_example_runs_by_execute_as_it_stands(
    service: FastAPI, database: Database, browser: Browser, tmp_path: Path
) -> None:
    with serving(service) as client:
        bank = Bank(client, database, examples.MARKET, product=examples.PRODUCT)
        bank.declare_product(**examples.DECLARATION | {"slug": examples.PRODUCT})
        bank.add_theta()
        bank.put_market(examples.MARKET, **examples.MARKET_DECLARATION)
        operation = "post_samples_v1_products__product__markets__market__samples_post"
        browser.open(f"{client.base_url}/docs#/samples/{operation}")
        browser.run("location.reload()")
        browser.wait_for("return document.querySelector('.execute')")
        answer = browser.execute("return document.querySelector('.live-responses-table .response')?.innerText")
        browser.screenshot(tmp_path / "samples.png")
    assert answer.startswith("201")
    assert '"verdict": "activate"' in answer
    assert browser.errors() == []
