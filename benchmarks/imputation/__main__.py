"""``python -m benchmarks.imputation``: fills and draws, and default risk with gaps; writes docs/results/imputation*."""

import argparse
import sys
from pathlib import Path

from benchmarks.few_shot.data import REPOSITORY, DataNotFound, find_folder
from benchmarks.few_shot.run import run_each
from benchmarks.imputation.coverage import coverage_claim, coverage_section, plan_coverage, run_coverage
from benchmarks.imputation.enriched import enriched_section, measure_enriched
from benchmarks.imputation.generated import generated_section, measure_generated
from benchmarks.imputation.hyperimpute import hyperimpute_section, measure_hyperimpute
from benchmarks.imputation.methods import METHODS
from benchmarks.imputation.record import NAME, restore, save
from benchmarks.imputation.report import write_report
from benchmarks.imputation.risk import plan_risk, run_risk
from benchmarks.imputation.risk_report import risk_claims, risk_section, write_risk_report
from benchmarks.imputation.run import gather, plan, run_job
from benchmarks.imputation.speed import measure_speed
from benchmarks.imputation.tables import TABLES

ALONE = ("speed", "generated", "hyperimpute", "enriched")  # a file each, beside those of the jobs


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.imputation", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the data files; else THETAPRIME_DATA")
    parser.add_argument("--tables", nargs="*", choices=sorted(TABLES), default=list(TABLES))
    parser.add_argument("--methods", nargs="+", choices=sorted(METHODS), default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=5, help="at most; slow methods have fewer")
    parser.add_argument("--no-risk", action="store_true", help="leave default prediction and intervals out")
    parser.add_argument("--add", action="store_true", help=f"what {NAME} of the output tells is not run again")
    parser.add_argument("--kept", action="store_true", help="report what is done of it, run nothing")
    parser.add_argument("--processes", type=int, default=2, help="one thread each")
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "var" / "imputation", help="results so far")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "docs" / "results")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    data = find_folder(args.data)
    record = args.output / NAME
    if args.add:
        print(f"{restore(record, args.folder)} results taken from {record}", flush=True)
    kept = {name: args.folder / f"{name}.json" for name in ALONE}
    jobs = plan(args.tables, args.methods, args.seeds, data, args.folder)
    risks = [] if args.no_risk else plan_risk(data, args.folder)
    intervals = [] if args.no_risk else plan_coverage(args.folder)
    try:
        if not args.kept:
            run_each(run_job, jobs, args.processes)
            measure_speed(data, kept["speed"])
            measure_generated(data, kept["generated"])
            measure_hyperimpute(data, kept["hyperimpute"])
            if risks:
                run_each(run_coverage, intervals, args.processes)
                run_each(run_risk, risks, args.processes)
                measure_enriched(data, kept["enriched"])
        speed = measure_speed(data, kept["speed"]) if kept["speed"].exists() else {}
        generated = measure_generated(data, kept["generated"]) if kept["generated"].exists() else {}
        searched = measure_hyperimpute(data, kept["hyperimpute"]) if kept["hyperimpute"].exists() else {}
        enriched = measure_enriched(data, kept["enriched"]) if kept["enriched"].exists() else {}
    except DataNotFound as fault:
        print(fault, file=sys.stderr)
        return 2
    more = [hyperimpute_section(searched), generated_section(generated)]
    print(write_report(gather(jobs), speed, more, args.output))
    if risks:
        claims = [*coverage_claim(intervals), *risk_claims(risks)]
        sections = [enriched_section(enriched), coverage_section(intervals), risk_section(risks)]
        print(write_risk_report(claims, sections, args.output))
    save(record, _files_of_a_whole_run(data, args.folder))
    return 0


def _files_of_a_whole_run(data: Path, folder: Path) -> list[Path]:
    most_seeds = max(method.n_seeds for method in METHODS.values())
    whole = [*plan(list(TABLES), list(METHODS), most_seeds, data, folder), *plan_coverage(folder)]
    files = [job.file for job in (*whole, *plan_risk(data, folder))]
    return [*files, *(folder / f"{name}.json" for name in ALONE)]


if __name__ == "__main__":
    sys.exit(main())
