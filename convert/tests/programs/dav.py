"""CalDAV and CardDAV servers of Debian's on a port of their own, and what one does with them."""

import contextlib
import http.client
import pathlib
import socket
import subprocess
import time

COLLECTIONS = {
    ".vcf": (
        "text/vcard",
        '<mkcol xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav"><set><prop><resourcetype>'
        "<collection/><C:addressbook/></resourcetype></prop></set></mkcol>",
    ),
    ".ics": (
        "text/calendar",
        '<mkcol xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><set><prop><resourcetype>'
        "<collection/><C:calendar/></resourcetype></prop></set></mkcol>",
    ),
}


def commands(directory, port):
    return {
        "radicale": ["radicale", "--config", "/dev/null", "--server-hosts", f"127.0.0.1:{port}",
                     "--storage-filesystem-folder", directory, "--auth-type", "none"],
        "xandikos": ["xandikos", "-d", directory, "--port", str(port), "-l", "127.0.0.1",
                     "--defaults"],
    }


@contextlib.contextmanager
def server(name, directory):
    """A running server; yields a function that sends a request."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    directory = pathlib.Path(directory)
    directory.mkdir()
    log = open(directory.with_suffix(".log"), "w+")
    process = subprocess.Popen(
        commands(str(directory), port)[name], stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def request(method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        response = connection.getresponse()
        return response.status, response.read()

    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                request("OPTIONS", "/")
                break
            except OSError:
                log.seek(0)
                assert process.poll() is None, f"{name} ended: {log.read()}"
                assert time.monotonic() < deadline, f"{name} does not listen: {log.read()}"
                time.sleep(0.05)
        yield request
    finally:
        process.terminate()
        process.wait()


def round_trip(name, directory, files):
    """PUTs files, which must be accepted, and returns what GET then gives for each."""
    kind, collection = COLLECTIONS[files[0].suffix]
    with server(name, directory) as request:
        if name == "radicale":
            request("MKCOL", "/user/")
            place = "/user/ours/"
        else:  # Xandikos makes a user's places itself.
            place = f"/user/{'contacts' if files[0].suffix == '.vcf' else 'calendars'}/ours/"
        status, said = request("MKCOL", place, collection, Content_Type="application/xml")
        assert status == 201, f"{name} MKCOL: {status} {said}"
        got = {}
        for file in files:
            status, said = request("PUT", place + file.name, file.read_bytes(), Content_Type=kind)
            assert status == 201, f"{name} PUT {file}: {status} {said}"
            status, got[file] = request("GET", place + file.name)
            assert status == 200, f"{name} GET {file}: {status} {got[file]}"
        return got
