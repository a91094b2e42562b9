#!/usr/bin/env python3
"""How fast an export is, held against others in the same run.

    cargo build --release --example download && cargo build --release && benches/speed.py [CASE...]

mail, files: an unpaced export against a bare downloader that fetches the same addresses at the same
concurrency and throws the bytes away (benches/download.rs). "near" is a service that answers in 5 ms
(the real one needs ten times that and more): fails below 0.8. "apart" answers at once, on a core of its
own, as a service has its own machines: mails fail below 0.8. "shared" has the client on both of its
two cores, where what the client computes is missing to the simulator: shown only.

rclone: the same OneDrive from the same server, both over TLS, both into a folder, medians of five
pairs taken in turn; fails when rclone is faster.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from bench import ROOT, TAR365, TOOLS, Simulator, middle, on, run

CONCURRENCY = "16"
LEAST = 0.8
ROUNDS = 5
PLACES = ("near", "apart", "shared")


def against_downloader(name, simulator_flags, place):
    """Both five times in turn: the ratio of the medians."""
    theirs, here = ({0, 1}, {0, 1}) if place == "shared" else ({0}, {1})
    latency = "5ms" if place == "near" else "0s"
    flags = ["--no-limits", "--ordinary", "--latency", latency, *simulator_flags]
    with Simulator(*flags, cores=theirs) as simulator:
        report = Path(simulator.directory.name) / "report.json"
        flags = ["--concurrency", CONCURRENCY, "--report", str(report)]
        simulator.export(*flags)
        records = simulator.ask("log")["requests"]
        base = simulator.environment["TAR365_GRAPH_URL"]
        # What a redirect led to comes by the redirect again.
        records = [r for r in records if r["host"] == "graph" and r["status"] in (200, 302)]
        # The page is as long as ours was.
        asked = [f"{base}{r['path']}?{r['query']}".rstrip("?") + f"\t{r['prefer'] or ''}" for r in records]
        addresses = Path(simulator.directory.name) / "addresses"
        addresses.write_text("".join(f"{address}\n" for address in asked))
        environment = simulator.environment | {"TOKEN": simulator.token()}
        download = [str(ROOT / "target/release/examples/download"), CONCURRENCY]
        ours, bare, server = [], [], 0
        for _ in range(ROUNDS):
            with open(addresses, encoding="utf-8") as stdin:
                bare.append(run(download, stdin=stdin, env=environment, preexec_fn=on(here)))
            before = simulator.cpu()
            ours.append(simulator.export(*flags, preexec_fn=on(here)))
            server += simulator.cpu() - before
        summary = json.loads(report.read_text())["summary"]
    ours, bare = middle(ours), middle(bare)
    ratio = bare.elapsed / ours.elapsed
    size = summary["bytes"]
    print(
        f"| {name}, {place} | {summary['items']:,} | {size / 1e6:,.0f} MB | {ours.elapsed:.2f} s "
        f"| {summary['items'] / ours.elapsed:,.0f}/s | {size / 1e6 / ours.elapsed:,.0f} MB/s "
        f"| {bare.elapsed:.2f} s | **{ratio:.2f}** | {ours.cpu / (size / 1e9):.1f} s "
        f"| {bare.cpu / (size / 1e9):.1f} s | {server / ROUNDS / (size / 1e9):.1f} s |",
        flush=True,
    )
    return ratio


def against_rclone():
    """Into a folder in memory if there is one."""
    flags = ["--no-limits", "--ordinary", "--users", "1", "--mails", "0", "--files", "1500"]
    shm = Path("/dev/shm")
    with (
        Simulator(*flags, "--connect", "127.0.0.1:0", "--tls-ca", "ca.pem") as simulator,
        tempfile.TemporaryDirectory(dir=shm if shm.is_dir() else None) as folder,
    ):
        settings = simulator.environment
        user = simulator.ask("users")[0]
        authority = str(Path(simulator.directory.name) / "ca.pem")
        configuration = Path(simulator.directory.name) / "rclone.conf"
        configuration.write_text(
            f"[drive]\ntype = onedrive\ndrive_id = {user['drive']}\ndrive_type = business\n"
            f"tenant = {settings['TAR365_TENANT_ID']}\nclient_id = {settings['TAR365_CLIENT_ID']}\n"
            f"client_secret = {settings['TAR365_CLIENT_SECRET']}\nclient_credentials = true\n"
        )
        real = {name: value for name, value in settings.items() if not name.endswith("_URL")}
        real |= {"HTTPS_PROXY": simulator.proxy, "PATH": TOOLS, "SSL_CERT_FILE": authority}
        real |= {"TAR365_CA_CERTIFICATE": authority}
        theirs = ["rclone", "--config", str(configuration), "--quiet", "--transfers", CONCURRENCY]
        theirs += ["--checkers", CONCURRENCY, "copy", "drive:", f"{folder}/rclone"]
        # What the service refuses to give fails a copy by rclone.
        for file in simulator.ask(f"files?drive={user['drive']}"):
            if file["malware"]:
                theirs += ["--exclude", "/" + "/".join(file["path"])]
        export = f"'{TAR365}' export --service onedrive --pace none --progress none"
        export += f" --concurrency {CONCURRENCY} | tar x -C {folder}/tar365"
        rclone, ours = [], []
        for _ in range(5):
            rclone.append(run(theirs, env=real))
            Path(folder, "tar365").mkdir()
            ours.append(run(["bash", "-o", "pipefail", "-c", export], env=real))
            count = lambda name: sum(1 for f in Path(folder, name).rglob("*") if f.is_file())
            copied, extracted = count("rclone"), count("tar365/users")
            # The metadata is a file of ours.
            if not extracted - 1 >= copied >= 1000:
                raise SystemExit(f"rclone copied {copied}, tar365 {extracted - 1} files")
            shutil.rmtree(f"{folder}/rclone")
            shutil.rmtree(f"{folder}/tar365")
        rclone, ours = middle(rclone), middle(ours)
    ratio = rclone.elapsed / ours.elapsed
    print(
        f"\n| | elapsed | CPU | peak RSS |\n|---|---|---|---|\n"
        f"| rclone copy | {rclone.elapsed:.2f} s | {rclone.cpu:.2f} s | {rclone.peak:.0f} MiB |\n"
        f"| tar365 export, tar x | {ours.elapsed:.2f} s | {ours.cpu:.2f} s | |\n\n"
        f"{copied:,} files: tar365 is **{ratio:.2f}** times as fast.",
        flush=True,
    )
    return ratio > 1


def main():
    cases = sys.argv[1:] or ["mail", "files", "rclone"]
    good = True
    if {"mail", "files"} & set(cases):
        print("| case | items | stream | export | | | bare | ratio | CPU/GB | bare | simulator |")
        print("|---|---|---|---|---|---|---|---|---|---|---|")
    if "mail" in cases:
        flags = ["--users", "8", "--mails", "2500", "--files", "0"]
        ratios = {place: against_downloader("mail", flags, place) for place in PLACES}
        good &= min(ratios["near"], ratios["apart"]) >= LEAST
    if "files" in cases:
        flags = ["--users", "4", "--mails", "0", "--files", "1500"]
        ratios = {place: against_downloader("files", flags, place) for place in PLACES}
        good &= ratios["near"] >= LEAST
    if "rclone" in cases:
        good &= against_rclone()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
