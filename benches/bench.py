"""What the benchmarks share: a simulator in a process of its own, commands and what they cost."""

import json
import os
import re
import resource
import statistics
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TAR365 = os.environ.get("TAR365", str(ROOT / "target/release/tar365"))
TOOLS = f"{ROOT}/target/tools/bin:{os.environ['PATH']}"


class Cost:
    """Elapsed and processor seconds of a command, and its peak memory in MiB."""

    def __init__(self, elapsed, cpu, peak, code):
        self.elapsed, self.cpu, self.peak, self.code = elapsed, cpu, peak, code


def run(command, code=0, **options):
    """Runs a command to its end. Processor time is that of the whole process tree."""
    options.setdefault("stdout", subprocess.DEVNULL)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    process = subprocess.Popen(command, **options)
    _, status, usage = os.wait4(process.pid, 0)
    elapsed = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != code:
        raise SystemExit(f"{command}: exit code {process.returncode}")
    cpu = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    return Cost(elapsed, cpu, usage.ru_maxrss / 1024, process.returncode)


def on(cores):
    """What a process does before it begins, to run on these cores only."""
    return cores and (lambda: os.sched_setaffinity(0, cores))


class Simulator:
    """`tar365 simulate` with these flags, on these cores only if any are named."""

    def __init__(self, *flags, cores=None):
        self.directory = tempfile.TemporaryDirectory(prefix="tar365-bench.")
        command = [TAR365, "simulate", *flags]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            text=True,
            cwd=self.directory.name,
            preexec_fn=on(cores),
        )
        self.environment, self.proxy = dict(os.environ), None
        for line in self.process.stdout:
            if line.strip() == "# ready":
                break
            for name, value in re.findall(r"(\w+)='([^']*)'", line):
                if name == "HTTPS_PROXY":
                    self.proxy = value
                elif line.startswith("export "):
                    self.environment[name] = value

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.directory.cleanup()

    def cpu(self):
        """Processor seconds that it has taken so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def ask(self, path, body=None):
        """The control API."""
        url = f"{self.environment['TAR365_GRAPH_URL']}/_sim/{path}"
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(url, data)) as answer:
            return json.load(answer)

    def token(self):
        """An access token."""
        settings = self.environment
        form = {
            "grant_type": "client_credentials",
            "client_id": settings["TAR365_CLIENT_ID"],
            "client_secret": settings["TAR365_CLIENT_SECRET"],
            "scope": f"{settings['TAR365_GRAPH_URL']}/.default",
        }
        login = f"{settings['TAR365_LOGIN_URL']}/{settings['TAR365_TENANT_ID']}/oauth2/v2.0/token"
        data = urllib.parse.urlencode(form).encode()
        with urllib.request.urlopen(login, data) as answer:
            return json.load(answer)["access_token"]

    def export(self, *flags, **options):
        """An unpaced export of mails and files: what bounds an export is theirs."""
        services = ["--service", "mail,onedrive"]
        command = [TAR365, "export", *services, "--pace", "none", "--progress", "none", *flags]
        return run(command, env=self.environment, **options)


def middle(costs):
    """The median in elapsed time, with its other numbers."""
    wanted = statistics.median_low([cost.elapsed for cost in costs])
    return next(cost for cost in costs if cost.elapsed == wanted)
