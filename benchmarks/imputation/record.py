"""What has been measured, a line each result file, kept beside the pages: runs of several days add up.

Every result is a small JSON file of a folder; the record holds their texts, so that a page can be written anew from
what was measured elsewhere, and seeds added to those that are there.
"""

import json
from collections.abc import Sequence
from pathlib import Path

NAME = "imputation.jsonl"


def save(record: Path, files: Sequence[Path]) -> None:
    """Write a line for each of ``files`` that exists, in order of their names; of others keep what was recorded.

    ``files`` are all that a whole run leaves: lines of files that no run leaves any more are dropped.
    """
    known = _lines(record)
    found = {file.name: json.loads(file.read_text()) for file in files if file.exists()}
    kept = {file.name: known[file.name] for file in files if file.name in known}
    lines = [json.dumps({"file": name, "result": result}) for name, result in sorted((kept | found).items())]
    unfinished = record.with_suffix(".part")
    unfinished.write_text("".join(f"{line}\n" for line in lines))
    unfinished.replace(record)


def restore(record: Path, folder: Path) -> int:
    """Write the recorded files that the folder lacks, and return how many; what it has was measured later."""
    missing = {name: result for name, result in _lines(record).items() if not (folder / name).exists()}
    folder.mkdir(parents=True, exist_ok=True)
    for name, result in missing.items():
        (folder / name).write_text(json.dumps(result))
    return len(missing)


def _lines(record: Path) -> dict[str, object]:
    if not record.exists():
        return {}
    return {line["file"]: line["result"] for line in map(json.loads, record.read_text().splitlines())}
