"""A headless Chromium, driven over ChromeDriver's own HTTP protocol (W3C WebDriver); no client package needed."""

import base64
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1400,1600",
)
PATIENCE_S = 30


class Browser:
    """One browser session."""

    def __init__(self, driver: httpx.Client, session: str) -> None:
        self._driver, self._session = driver, f"/session/{session}"
        self._network: list[dict[str, Any]] = []

    def open(self, url: str) -> None:
        self._call("/url", {"url": url})

    def run(self, script: str, *arguments: object) -> Any:
        """Run the body of a JavaScript function in the page and return what it returns."""
        return self._call("/execute/sync", {"script": script, "args": list(arguments)})

    def wait_for(self, script: str, *arguments: object) -> Any:
        """Run a script until it returns something true."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := self.run(script, *arguments)):
            if time.monotonic() > deadline:
                raise AssertionError(f"the page never came to: {script}\n{self.errors()}")
            time.sleep(0.05)
        return found

    def execute(self, script: str) -> Any:
        """Press the open operation's Execute as a person would, a second after it shows, until ``script`` is true."""
        press = """
            const now = Date.now();
            window.pressedAt ??= now;
            if (now - window.pressedAt > 1500) {
                window.pressedAt = now;
                document.querySelector('.execute')?.click();
            }
        """
        return self.wait_for(press + script)

    def screenshot(self, path: Path) -> None:
        answer = self._driver.get(f"{self._session}/screenshot")
        path.write_bytes(base64.b64decode(answer.json()["value"]))

    def errors(self) -> list[str]:
        """Errors on the console since the last call; refused loads and policy violations are among them."""
        return [entry["message"] for entry in self._log("browser") if entry["level"] == "SEVERE"]

    def requested_hosts(self) -> set[str]:
        """Host and port of every address that pages of this session asked for."""
        self._network += [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        sent = [event["params"]["request"]["url"] for event in self._network if _is_request(event)]
        return {urlsplit(url).netloc for url in sent if url.startswith(("http", "ws"))}

    def _log(self, kind: str) -> list[dict[str, Any]]:
        return list(self._call("/se/log", {"type": kind}))

    def _call(self, path: str, body: dict[str, Any]) -> Any:
        answer = self._driver.post(self._session + path, json=body).json()["value"]
        if isinstance(answer, dict) and "error" in answer:
            raise AssertionError(f"{answer['error']}: {answer['message']}")
        return answer


def _is_request(event: dict[str, Any]) -> bool:
    return bool(event["method"] == "Network.requestWillBeSent")


@contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """Start a browser with an empty profile; skip the test where Chromium or ChromeDriver is not installed."""
    binary, driver_binary = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver_binary is None:
        pytest.skip("needs Chromium and ChromeDriver (Debian packages chromium and chromium-driver)")
    port = free_port()
    driver_process = subprocess.Popen([driver_binary, f"--port={port}"], stdout=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as driver:
            _await_ready(driver)
            session = _start_session(driver, binary, profile)
            try:
                yield Browser(driver, session)
            finally:
                driver.delete(f"/session/{session}")
    finally:
        driver_process.terminate()
        driver_process.wait()


def _await_ready(driver: httpx.Client) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if driver.get("/status").json()["value"]["ready"]:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("ChromeDriver did not start")


def _start_session(driver: httpx.Client, binary: str, profile: Path) -> str:
    options = {"binary": binary, "args": [*FLAGS, f"--user-data-dir={profile}"]}
    wanted = {
        "browserName": "chrome",
        "goog:chromeOptions": options,
        "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
    }
    answer = driver.post("/session", json={"capabilities": {"alwaysMatch": wanted}}).json()["value"]
    if "sessionId" not in answer:
        raise AssertionError(f"Chromium did not start: {answer['message']}")
    return str(answer["sessionId"])


def free_port() -> int:
    """Find a TCP port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
