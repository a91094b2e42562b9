#!/usr/bin/env python3
"""Which layout serves restic best: one stream, a stream for each owner, or extracted files.

    cargo build --release && benches/layout.py

A tenant of 1.7 GB (benches/day.py), a first night, a second one after a day's changes, and then one
mail of the last user back: what a night adds to the repository, what it costs, and what the way back
costs. restic is the one on the PATH or of tests/setup. About 10 GB in $TMPDIR (/var/tmp), 10 minutes.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import ROOT, TAR365, TOOLS, Simulator, run

NIGHT = f"'{TAR365}' export --service mail,onedrive --pace none --progress none"
RESTIC = "restic backup --quiet --stdin --stdin-filename"

# Name: a first night, a night, and the way back of $MAIL, a mail of $OWNER.
LAYOUTS = {
    "one stream": (
        f"{NIGHT} --to-command '{RESTIC} m365.tar'",
        f"{NIGHT} --base-command 'restic dump latest m365.tar' --to-command '{RESTIC} m365.tar'",
        f"restic dump latest m365.tar | '{TAR365}' extract - --include \"$MAIL\" -C out",
    ),
    "a stream for each owner": (
        f"{NIGHT} --each '{RESTIC} {{name}}.tar --tag {{name}}'",
        f"{NIGHT} --base-command 'restic dump --tag {{name}} latest {{name}}.tar'"
        f" --each '{RESTIC} {{name}}.tar --tag {{name}}'",
        'restic dump --tag "$OWNER" latest "$OWNER.tar"'
        f" | '{TAR365}' extract - --include \"$MAIL\" -C out",
    ),
    "files": (
        f"{NIGHT} | tar x -C tree && restic backup --quiet tree",
        f"rm -rf tree && mkdir tree && {NIGHT} | tar x -C tree && restic backup --quiet tree",
        'restic restore latest --quiet --target out --include "**/$MAIL"',
    ),
}


def size_of(folder):
    return sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())


class Layout:
    """A repository, and what is done with it."""

    def __init__(self, name, below):
        self.first, self.night, self.back = LAYOUTS[name]
        self.name, self.home = name, Path(below, name.replace(" ", "-"))
        self.home.mkdir()
        (self.home / "tree").mkdir()
        self.environment = {
            "PATH": TOOLS,
            "RESTIC_REPOSITORY": str(self.home / "repository"),
            "RESTIC_CACHE_DIR": str(self.home / "cache"),
            "RESTIC_PASSWORD": "of no worth",
        }
        self.run("restic --quiet init", {})

    def run(self, script, environment):
        """Its cost, and the bytes that it adds to the repository."""
        before = size_of(self.home / "repository")
        command = ["bash", "-euo", "pipefail", "-c", script]
        environment = os.environ | environment | self.environment
        cost = run(command, env=environment, cwd=self.home, stderr=subprocess.DEVNULL)
        return cost, size_of(self.home / "repository") - before


def newest_mail(simulator):
    """The path of a mail of the user whose stream is written last, and his name."""
    command = [TAR365, "export", "--pace", "none", "--progress", "none", "--service", "mail"]
    with subprocess.Popen(
        command, env=simulator.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as export:
        names = subprocess.check_output(["tar", "t"], stdin=export.stdout)
    paths = names.decode().splitlines()
    mail = [path for path in paths if path.endswith(".eml")][-1]
    return mail, mail.split("/")[1]


def main():
    with tempfile.TemporaryDirectory(
        prefix="tar365-layout.", dir=os.environ.get("TMPDIR", "/var/tmp")
    ) as below:
        content = Path(below, "content")
        day = [sys.executable, str(ROOT / "benches/day.py")]
        subprocess.run([*day, "content", str(content)], check=True)
        with Simulator("--no-limits", "--content", str(content)) as simulator:
            tenant = simulator.environment
            layouts = [Layout(name, below) for name in LAYOUTS]
            firsts = [layout.run(layout.first, tenant) for layout in layouts]
            url = tenant["TAR365_GRAPH_URL"]
            subprocess.run([*day, "change", "recent", url], check=True, stdout=subprocess.DEVNULL)
            nights = [layout.run(layout.night, tenant) for layout in layouts]
            mail, owner = newest_mail(simulator)
            wanted = {"MAIL": mail, "OWNER": owner}
            print("| layout | first night adds | CPU | a night adds | CPU | elapsed | one mail back |")
            print("|---|---|---|---|---|---|---|")
            for layout, (first, grown), (night, added) in zip(layouts, firsts, nights):
                back, _ = layout.run(layout.back, tenant | wanted)
                found = list((layout.home / "out").rglob(Path(mail).name))
                if len(found) != 1:
                    raise SystemExit(f"{layout.name}: {mail} came back {len(found)} times")
                print(
                    f"| {layout.name} | {grown / 1e6:,.0f} MB | {first.cpu:.0f} s "
                    f"| {added / 1e6:,.1f} MB | {night.cpu:.0f} s | {night.elapsed:.0f} s "
                    f"| {back.elapsed:.1f} s |",
                    flush=True,
                )
                shutil.rmtree(layout.home)


if __name__ == "__main__":
    main()
