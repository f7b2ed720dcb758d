"""The fault table in full doses: `make faults`, or `python -m tests.faults --only NAME`.

Exits with 1 if anything was lost, doubled, miscounted, blamed or left undone, or if a recovery took
longer than its limit. The output of the programs goes to a file.
"""

import argparse
import os
import sys
import tempfile
import traceback
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from models.release.files import save_release
from tests.builders import tiny_release
from tests.faults.campaigns import CAMPAIGNS, Campaign, Record
from tests.faults.ground import Ground, make_ground_truth
from tests.faults.oracle import Verdict
from tests.services import run_postgres, run_redis


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "--only", nargs="+", choices=CAMPAIGNS, default=[*CAMPAIGNS], metavar="NAME"
    )
    parser.add_argument(
        "--dose-scale", type=float, default=1.0, help="fraction of the full doses, such as 0.1"
    )

    chosen = parser.parse_args()

    log = Path(tempfile.mkstemp(prefix="cuemill-faults-", suffix=".log")[1])
    console = _redirect(log)
    console.print(f"The output of the programs goes to {log}.")

    table = Table("fault", "dose", "lost", "duplicated", "counter error", "recovery", "remarks")
    sound = True

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )

    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cuemill-faults-")))
        save_release(tiny_release(), scratch / "tiny.pkl")
        faces = make_ground_truth(scratch, scratch / "tiny.pkl")

        postgres, redis = stack.enter_context(run_postgres()), stack.enter_context(run_redis())

        progress = stack.enter_context(Progress(*columns, console=console))
        for name in chosen.only:
            campaign = CAMPAIGNS[name]
            dose = max(round(campaign.dose * chosen.dose_scale), 1)
            task = progress.add_task(campaign.fault, total=dose)

            ground = Ground(
                scratch / "tiny.pkl", faces, postgres, redis, partial(progress.advance, task)
            )
            try:
                record = campaign.run(ground, dose)
            except Exception as error:
                # Whatever went wrong, the other campaigns still run.
                traceback.print_exc()
                sound = False
                table.add_row(
                    campaign.fault,
                    str(dose),
                    "",
                    "",
                    "",
                    "",
                    f"[red]{type(error).__name__}: {error}",
                )
                continue
            # The log gets every recovery, the table only the longest.
            print(campaign.fault, dose, record, flush=True)
            sound &= record.verdict == Verdict() and campaign.is_in_time(record)
            table.add_row(campaign.fault, str(dose), *_cells(campaign, record))

    console.print(table)
    return 0 if sound else 1


def _redirect(log: Path) -> Console:
    """Redirects this process and its children to a file; returns the console that is left."""
    console = Console(file=os.fdopen(os.dup(sys.stdout.fileno()), "w"))
    with open(log, "w") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    return console


def _cells(campaign: Campaign, record: Record) -> list[str]:
    verdict = record.verdict

    others = {
        "unfinished": verdict.unfinished,
        "reopened": verdict.reopened,
        "wrong": verdict.wrong,
        "blamed": verdict.blamed,
        "stuck": verdict.stuck,
        "partial": verdict.partial,
        "misplaced": verdict.misplaced,
        "unswept": verdict.unswept,
    }
    remarks = [
        record.remark,
        *(f"[red]{count} {name}[/]" for name, count in others.items() if count),
    ]

    counts = (verdict.lost, verdict.duplicated, verdict.counter_error)
    return [
        *(f"[red]{count}[/]" if count else "0" for count in counts),
        _recovery(campaign, record),
        ", ".join(filter(None, remarks)),
    ]


def _recovery(campaign: Campaign, record: Record) -> str:
    """The longest recovery, and the longest that is allowed."""
    if not record.recovery_s:
        return ""
    longest = max(record.recovery_s)
    if campaign.limit_s is None:
        return f"{longest:.1f} s"
    text = f"{longest:.1f} of {campaign.limit_s:.1f} s"
    return text if campaign.is_in_time(record) else f"[red]{text}[/]"


if __name__ == "__main__":
    sys.exit(main())
