"""The first minute, for real: embedded PostgreSQL, service, worker and training, all over HTTP."""

import os
import pty
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import app
from app.client import ThetaprimeClient
from app.store.database import Database
from tests.app.test_cli_hosting import descendants
from tests.e2e.demo import DEMO, PATIENCE_S, RunningDemo, environment, run_to_its_end, running_demo
from tests.e2e.processes import ROOT, eventually, is_alive

TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
MODELS = ("theta_prime", "theta", "pooled trees", "the 50 alone")
ROW = re.compile(
    r"^ +(?P<model>[\w ]+?)  +(?P<log_loss>[\d.]+) .*?(?P<auc>[\d.]+) ± (?P<auc_error>[\d.]+) +[\d.]+ +[\d.]+%"
)


def rows_of(output: str) -> dict[str, dict[str, float]]:
    """The table's rows: log loss, and AUC with its standard error."""
    found = [match.groupdict() for line in output.splitlines() if (match := ROW.match(line))]
    return {row.pop("model"): {name: float(value) for name, value in row.items()} for row in found}


def test_it_learns_adapts_compares_and_says_where_it_serves(demo: RunningDemo) -> None:
    rows = rows_of(demo.output)
    assert set(rows) == {*MODELS, "true PDs"}
    assert all(0.5 < row["auc"] < 1 and 0 < row["auc_error"] < 0.05 for row in rows.values())
    assert rows["true PDs"]["log_loss"] < rows["theta_prime"]["log_loss"] < rows["the 50 alone"]["log_loss"]
    assert "29,000 labelled accounts uploaded" in demo.output
    assert "first 50 accounts, in order of issued" in demo.output
    assert re.search(r"market-30: 950 later accounts, \d+ defaulted = \d+\.\d% ± \d\.\d%", demo.output)
    assert f"{demo.address}/docs" in demo.output
    assert f"{demo.address}/v1/ops/markets" in demo.output


def test_the_curl_line_that_it_prints_works(demo: RunningDemo) -> None:
    (line,) = re.findall(r"curl .*", demo.output)
    answer = subprocess.run(shlex.split(line), capture_output=True, text=True, check=True).stdout
    assert '"account":"A-1051"' in answer
    assert '"basis":"theta_prime"' in answer


def test_everything_that_it_shows_is_in_the_service(demo: RunningDemo) -> None:
    with ThetaprimeClient(demo.address) as client:
        (theta,) = client.list_thetas("demo-card")
        assert (theta.status, theta.active) == ("succeeded", True)
        assert len(list(client.count_source_data("demo-card"))) == 29
        (status,) = client.list_market_status("demo-card")
        assert (status.market, status.n_support) == ("market-30", 50)
        assert len(list(client.list_samples("demo-card", "market-30"))) == 50
        score = client.score_account("demo-card", "market-30", "A-1051")
        assert client.replay_score(score.id).identical


def test_a_second_demo_is_told_what_is_in_its_way(demo: RunningDemo) -> None:
    port = demo.address.rpartition(":")[2]
    result = CliRunner().invoke(app, ["demo", "--port", port])
    assert (result.exit_code, result.stdout) == (1, "")
    assert re.fullmatch(r"thetaprime: Port \d+ of 127.0.0.1 .*choose another one\.\n", result.stderr)
    result = CliRunner(env={"DATABASE_URL": ""}).invoke(app, ["demo", "--port", "0", "--data-dir", str(demo.data_dir)])
    assert result.exit_code == 1
    assert f"process {demo.process.pid} owns {demo.data_dir}" in result.stderr


def test_a_closed_terminal_and_ctrl_c_leave_nothing_running_and_it_starts_afresh(demo_folder: Path) -> None:
    close_terminal_in_the_middle_of_learning(demo_folder)
    with running_demo(demo_folder) as demo:
        with ThetaprimeClient(demo.address) as client:
            assert [theta.version for theta in client.list_thetas("demo-card")] == [1]
        family = descendants(demo.process.pid)
        assert len(family) > 2, "PostgreSQL with its backends, and the worker"
        demo.process.send_signal(signal.SIGINT)
        assert demo.process.wait(PATIENCE_S) == 0
        assert demo.process.stdout is not None
        assert "nothing is left running" in demo.process.stdout.read()
        assert [pid for pid in family if is_alive(pid)] == []


def close_terminal_in_the_middle_of_learning(demo_folder: Path) -> None:
    master, terminal = pty.openpty()
    command = [sys.executable, "-c", TAKE_TERMINAL, *DEMO, "--port", "0", "--data-dir", str(demo_folder)]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment() | {"TERM": "xterm-256color", "COLUMNS": "120"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    ) as process:
        os.close(terminal)
        shown = b""
        while b"pooled rows" not in shown:
            piece = os.read(master, 4096)
            assert piece, shown.decode()
            shown += piece
        family = descendants(process.pid)
        assert len(family) > 3, "PostgreSQL, the worker, and the training"
        os.close(master)
        assert process.wait(PATIENCE_S) == 130, "as after Ctrl-C"
        eventually(lambda: not any(map(is_alive, family)), "all that it started has ended")


def test_lending_club_goes_through_it_over_a_database_of_ones_own(data_folder: Path, empty_database_url: str) -> None:
    path = data_folder / "lendingclub.parquet"
    if not path.exists():
        pytest.skip(f"no {path}")
    columns = ("--market-column", "market", "--target-column", "default", "--date-column", "issued")
    exclude = ("--exclude", "lender_int_rate,lender_grade,zip3")
    done = run_to_its_end("--data", str(path), *columns, *exclude, database_url=empty_database_url)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = rows_of(done.stdout)
    assert set(rows) == set(MODELS)
    assert rows["theta_prime"]["log_loss"] < rows["the 50 alone"]["log_loss"]
    assert rows["theta"]["auc"] > 0.6
    assert "NY: 3,755 later accounts, 482 defaulted" in done.stdout
    assert "drawn at random (seed 0)" in done.stdout, "five years are no order for fifty accounts"
    database = Database(empty_database_url, pool_size=1)
    with database.reading() as tx:
        assert tx.exec_driver_sql("SELECT slug FROM products").scalars().all() == ["lendingclub"]
        assert tx.exec_driver_sql("SELECT count(*) FROM scores").scalar_one() == 2 * 3755
    database.close()
