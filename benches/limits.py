#!/usr/bin/env python3
"""How near a full export comes to the service's limits, and how often it is told to wait.

    cargo build --release && benches/limits.py [CASE...]

Fifty mailboxes and drives of different sizes under the documented limits, whose clock is CLOCK times
faster and whose numbers are PART of the documented ones: the rate of a mailbox stays 16.7 requests a
second, with windows of 12 s instead of 600. One mailbox is told to wait once more by a fault, for
PAUSE seconds.

stream: one ordered stream. each: a stream for each owner. For each: the time against the lower bound
that the limits allow for the requests that were really made (fails below 95 %), the refusals that we
provoked (fails above 0.1 %) and requests sent while told to wait (fails above none).
"""

import json
import math
import sys
from pathlib import Path

from bench import TAR365, Simulator, run

CLOCK = 50
PART = 0.02
OUTLOOK, WINDOW = 10_000, 600
UNITS, MINUTE = 1_250, 60
LEAST, MOST_PROVOKED = 0.95, 0.001


def windows(count, limit, length):
    """Seconds that so many requests take at least: full windows, then nothing has to wait."""
    return max(0, math.ceil(count / limit) - 1) * length


def measure(name, export):
    with Simulator(
        "--ordinary", "--users", "50", "--mails", "1398", "--files", "12",
        "--clock-scale", str(CLOCK), "--licences", "50",
    ) as simulator:
        simulator.ask("limits", {"outlook": PART, "sharepoint": 1, "directory": PART})
        report = Path(simulator.directory.name) / "report.json"
        budgets = [
            f"mailbox={OUTLOOK * PART:.0f}/{WINDOW / CLOCK}",
            f"sharepoint={UNITS}/{MINUTE / CLOCK}",
            f"sharepoint=1200000/{86_400 / CLOCK}",
            f"directory={3_500 * PART:.0f}/{10 / CLOCK}",
        ]
        command = [TAR365, "export", "--service", "mail,onedrive", "--progress", "none", "--report", str(report)]
        for budget in budgets:
            command += ["--budget", budget]
        command += export
        cost = run(command, env=simulator.environment)
        scopes = simulator.ask("counts")["scopes"]
        said = json.loads(report.read_text())
    mailboxes = {k: v for k, v in scopes.items() if k not in ("sharepoint", "directory")}
    most = max(scope["requests"] for scope in mailboxes.values())
    bounds = {
        "a mailbox": windows(most, OUTLOOK * PART, WINDOW / CLOCK),
        "SharePoint": windows(scopes["sharepoint"]["units"], UNITS, MINUTE / CLOCK),
    }
    bound = max(bounds.values())
    requests = sum(scope["requests"] for scope in scopes.values())
    provoked = sum(scope["provoked"] for scope in scopes.values())
    inside = sum(scope["duringRetryAfter"] for scope in scopes.values())
    ratio = bound / said["seconds"]
    print(
        f"| {name} | {said['summary']['items']:,} | {requests:,} | {most} | {bound:.1f} s "
        f"| {said['seconds']:.1f} s | **{ratio:.1%}** | {provoked} | {inside} "
        f"| {cost.cpu:.1f} s | {cost.peak:.0f} MiB |",
        flush=True,
    )
    return ratio >= LEAST and provoked <= requests * MOST_PROVOKED and inside == 0


def main():
    cases = sys.argv[1:] or ["stream", "each"]
    ways = {
        "stream": ["--output", "/dev/null"],
        "each": ["--each", "sh -c 'cat >/dev/null'", "--streams", "50"],
    }
    print("| case | items | requests | most of one mailbox | bound | elapsed | ratio | provoked "
          "| while told to wait | CPU | peak RSS |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    return 0 if all([measure(case, ways[case]) for case in cases]) else 1


if __name__ == "__main__":
    sys.exit(main())
