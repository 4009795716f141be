"""The operations view: every market's state, as a table and as a picture."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest

from app.api.market_chart import draw_gains
from app.domain.operations import CrossFittedGain, MarketStatus
from app.main import create_app
from app.settings import Settings
from app.store.database import Database
from tests.app import fake_engine
from tests.app.bank import MARKET, Bank, rows
from tests.app.browser import chromium
from tests.app.serving import serving

PATH = "/v1/ops/markets"
GAIN = {"mean": 0.03, "low": 0.01, "high": 0.05}
CROSS_FITTED = {"theta": {"log_loss": 0.40}, "theta_prime": {"log_loss": 0.37, "gain": GAIN}}
BEFORE_THE_LADDER = {"theta": {"log_loss": 0.40}, "theta_prime": {"log_loss": 0.37}, "gain": GAIN}


EVIDENCE = {0: "thin", 1: "moderate"}


def measuring_adapt(*arguments: Any, **settings: Any) -> Any:
    """The fake engine's adaptation with the comparison that the real one reports, or, for seed 8, has reported once;
    null for seed 7, which holds."""
    adapted = fake_engine.adapt(*arguments, **settings)
    measured = {7: None, 8: BEFORE_THE_LADDER}.get(settings["recipe"].seed, CROSS_FITTED)
    evidence = EVIDENCE.get(settings["recipe"].seed)
    return replace(adapted, report=adapted.report | {"cross_fitted": measured, "evidence": evidence})


@pytest.fixture
def client(database_url: str) -> Iterator[httpx.Client]:
    engine = replace(fake_engine.FAKE_ENGINE, adapt=measuring_adapt)
    with serving(create_app(Settings(database_url=database_url, n_threads=4), engine)) as client:
        yield client


def states(client: httpx.Client, **query: Any) -> dict[str, dict[str, Any]]:
    answer = client.get(PATH, params=query)
    assert answer.status_code == 200, answer.text
    return {f"{item['product']}/{item['market']}": item for item in answer.json()["items"]}


def test_no_markets_is_an_empty_page_and_a_drawn_picture(client: httpx.Client) -> None:
    assert client.get(PATH).json() == {"items": [], "next_after": None}
    assert is_svg(client.get(PATH, headers={"Accept": "image/svg+xml"}))


def test_a_market_without_theta_says_that_nothing_scores(client: httpx.Client, database: Database) -> None:
    bank = Bank(client, database)
    bank.declare_product()
    bank.put_market("north", **MARKET)
    assert states(client)["card/north"] == {
        "product": "card",
        "market": "north",
        "activation": "automatic",
        "basis": None,
        "active_version": None,
        "age_days": None,
        "latest_version": None,
        "latest_verdict": None,
        "latest_reason": None,
        "latest_evidence": None,
        "latest_at": None,
        "n_support": 0,
        "n_defaults": 0,
        "cross_fitted": None,
    }


@pytest.mark.parametrize("seed", [0, 8])
def test_a_market_goes_from_theta_to_theta_prime(client: httpx.Client, bank: Bank, seed: int) -> None:
    assert states(client)["card/north"]["basis"] == "theta"
    assert bank.post(rows(12, every=3), seed=seed).status_code == 201
    state = states(client)["card/north"]
    expected = {"basis": "theta_prime", "active_version": 1, "latest_version": 1, "latest_verdict": "activate"}
    assert expected.items() <= state.items()
    assert (state["n_support"], state["n_defaults"]) == (12, 4)
    assert 0 <= state["age_days"] < 1
    assert state["latest_at"].endswith("Z")
    assert state["cross_fitted"] == {
        "theta_log_loss": 0.40,
        "theta_prime_log_loss": 0.37,
        "gain": 0.03,
        "gain_low": 0.01,
        "gain_high": 0.05,
    }


def test_a_held_version_is_newest_while_the_one_before_serves(client: httpx.Client, bank: Bank) -> None:
    bank.post(rows(6))
    bank.post(rows(6, prefix="B"), seed=7)
    state = states(client)["card/north"]
    expected = {"active_version": 1, "latest_version": 2, "latest_verdict": "hold", "cross_fitted": None}
    assert expected.items() <= state.items()
    assert state["n_support"] == 12


@pytest.mark.parametrize(("seed", "level"), [(0, "thin"), (1, "moderate"), (2, None)])
def test_the_newest_version_says_what_it_rests_on(
    client: httpx.Client, bank: Bank, seed: int, level: str | None
) -> None:
    bank.post(rows(6), seed=seed)
    state = states(client)["card/north"]
    assert (state["latest_reason"], state["latest_evidence"]) == (f"seed {seed} says activate", level)


def test_pages_walk_all_markets_in_order(client: httpx.Client, bank: Bank) -> None:
    bank.declare_product(slug="Other")
    for slug in ("east", "west"):
        bank.put_market(slug, **MARKET)
    seen, after = [], None
    while True:
        page = client.get(PATH, params={"limit": 2} | ({} if after is None else {"after": after})).json()
        seen += [item["market"] for item in page["items"]]
        after = page["next_after"]
        if after is None:
            break
    assert seen == ["east", "north", "west"]
    assert states(client, product="Other") == {}
    assert list(states(client, product="card")) == ["card/east", "card/north", "card/west"]


def is_svg(answer: httpx.Response) -> bool:
    assert answer.status_code == 200, answer.text
    assert answer.headers["vary"] == "Accept"
    return answer.headers["content-type"] == "image/svg+xml" and ElementTree.fromstring(answer.content).tag.endswith(
        "svg"
    )


def test_the_picture_comes_when_asked_for_and_only_then(client: httpx.Client, bank: Bank) -> None:
    bank.post(rows(12))
    assert is_svg(client.get(PATH, headers={"Accept": "image/svg+xml"}))
    assert client.get(PATH, headers={"Accept": "*/*"}).headers["content-type"] == "application/json"
    chrome = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"
    assert is_svg(client.get(PATH, headers={"Accept": chrome}))
    both = {"Accept": "text/html, application/json, */*;q=0.5"}
    assert client.get(PATH, headers=both).headers["content-type"] == "application/json"
    refused = client.get(PATH, headers={"Accept": "image/png"})
    assert (refused.status_code, refused.json()["code"]) == (406, "not_acceptable")


def test_an_unknown_product_is_404(client: httpx.Client) -> None:
    answer = client.get(PATH, params={"product": "nowhere"})
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_product")


def status(market: str, **changes: Any) -> MarketStatus:
    gain = CrossFittedGain(theta_log_loss=0.4, theta_prime_log_loss=0.37, gain=0.03, gain_low=-0.01, gain_high=0.07)
    values: dict[str, Any] = {
        "product": "card",
        "market": market,
        "activation": "automatic",
        "basis": "theta_prime",
        "active_version": 1,
        "age_days": 0.5,
        "latest_version": 1,
        "latest_verdict": "activate",
        "latest_reason": "as good as theta",
        "latest_evidence": "thin",
        "latest_at": None,
        "n_support": 50,
        "n_defaults": 6,
        "cross_fitted": gain,
    }
    return MarketStatus(**values | changes)


def test_the_same_markets_give_the_same_bytes() -> None:
    shown = [status("a"), status("b", latest_verdict="refuse"), status("c", latest_version=None, cross_fitted=None)]
    assert draw_gains(shown) == draw_gains(shown)


def test_the_picture_grows_with_its_markets_and_holds_odd_names() -> None:
    heights = []
    for n_markets in (0, 1, 40):
        drawn = ElementTree.fromstring(draw_gains([status(f"$m_{i}$<&>") for i in range(n_markets)]))
        heights.append(float(drawn.attrib["height"].removesuffix("pt")))
    assert heights[0] == heights[1] < heights[2]


def test_the_docs_page_shows_the_picture(client: httpx.Client, bank: Bank, tmp_path: Path) -> None:
    """As the operations desk does it: open the operation, choose the picture's media type, press Execute."""
    bank.post(rows(12))
    bank.put_market("south", **MARKET)
    with chromium(tmp_path / "profile") as browser:
        browser.open(f"{client.base_url}/docs#/operations/list_market_status_v1_ops_markets_get")
        browser.wait_for("return document.querySelector('.execute') && document.querySelector('.content-type')")
        browser.run(CHOOSE_SVG)
        width = browser.execute("return document.querySelector('.svg-answer img')?.naturalWidth")
        browser.screenshot(tmp_path / "operations.png")
        assert width > 500
        assert browser.requested_hosts() == {client.base_url.netloc.decode()}
        assert browser.errors() == []


CHOOSE_SVG = """
const select = document.querySelector('.responses-table select.content-type, .response-controls select');
const setter = Object.getOwnPropertyDescriptor(HTMLSelectElement.prototype, 'value').set;
setter.call(select, 'image/svg+xml');
select.dispatchEvent(new Event('change', { bubbles: true }));
"""
