"""``python -m benchmarks.backbone``: backbones for theta by leave-markets-out results; see docs/results/backbone.md."""

import argparse
import sys
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from benchmarks.backbone.candidates import CANDIDATES, CHOSEN
from benchmarks.backbone.measure import score
from benchmarks.backbone.report import write_report
from benchmarks.backbone.run import Setting, run_world
from benchmarks.backbone.worlds import WORLDS
from benchmarks.few_shot.data import REPOSITORY, DataNotFound, find_folder


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backbone", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the parquet files; else THETAPRIME_DATA")
    parser.add_argument("--worlds", nargs="+", choices=list(WORLDS), default=list(WORLDS))
    parser.add_argument("--candidates", nargs="+", choices=list(CANDIDATES), default=list(CANDIDATES))
    parser.add_argument("--seed", type=int, default=0, help="of splits and folds")
    parser.add_argument("--starts", type=int, default=Setting.n_starts, help="fits of each candidate, averaged over")
    parser.add_argument("--folder", type=Path, help="results so far, to resume from; var/backbone/... by default")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "docs" / "results")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    folder = args.folder or REPOSITORY / "var" / "backbone" / f"seed{args.seed}"
    candidates = list(dict.fromkeys([CHOSEN, *args.candidates]))
    data, setting = find_folder(args.data), Setting(args.seed, args.starts)
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            found = {name: run_world(name, candidates, data, folder, setting) for name in args.worlds}
    except DataNotFound as fault:
        print(fault, file=sys.stderr)
        return 2
    scores = {world: {name: score(p) for name, p in by_name.items()} for world, by_name in found.items()}
    print(write_report(scores, setting, args.output))
    return 0


if __name__ == "__main__":
    sys.exit(main())
