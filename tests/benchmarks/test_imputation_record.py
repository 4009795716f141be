"""What was measured is kept beside the page: seeds of several runs add up, and nothing is run twice."""

import json
from pathlib import Path

from benchmarks.imputation.record import restore, save


def results(folder: Path, **numbers: float) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for name, number in numbers.items():
        (folder / f"{name}.json").write_text(json.dumps({"rmse": number}))
    return [folder / f"{name}.json" for name in ("a", "b", "c")]


def test_results_of_two_folders_add_up(tmp_path: Path) -> None:
    record = tmp_path / "imputation.jsonl"
    save(record, results(tmp_path / "first", a=1.0, b=2.0))
    save(record, results(tmp_path / "second", b=3.0, c=4.0))
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    assert lines == [
        {"file": "a.json", "result": {"rmse": 1.0}},
        {"file": "b.json", "result": {"rmse": 3.0}},  # what was measured last
        {"file": "c.json", "result": {"rmse": 4.0}},
    ]


def test_what_no_run_leaves_any_more_is_dropped(tmp_path: Path) -> None:
    record = tmp_path / "imputation.jsonl"
    files = results(tmp_path / "first", a=1.0, b=2.0)
    save(record, files)
    save(record, files[1:])
    assert [json.loads(line)["file"] for line in record.read_text().splitlines()] == ["b.json"]


def test_a_folder_gets_what_it_lacks_and_keeps_what_it_has(tmp_path: Path) -> None:
    record = tmp_path / "imputation.jsonl"
    save(record, results(tmp_path / "first", a=1.0, b=2.0))
    results(tmp_path / "second", b=3.0)
    assert restore(record, tmp_path / "second") == 1
    kept = {file.name: json.loads(file.read_text())["rmse"] for file in (tmp_path / "second").iterdir()}
    assert kept == {"a.json": 1.0, "b.json": 3.0}


def test_no_record_is_no_fault(tmp_path: Path) -> None:
    assert restore(tmp_path / "imputation.jsonl", tmp_path / "new") == 0
    assert (tmp_path / "new").is_dir()
