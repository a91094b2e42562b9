#!/usr/bin/env python3
"""Reads a tar365 archive from a file or pipe, proves what it can, and prints what is inside.

A second implementation of doc/format.md, kept small on purpose: an archive can be read and
proven in twenty years without tar365. Usage: read_archive.py archive.tar (or - for stdin)
"""
import hashlib
import json
import sys
import tarfile


def read(stream):
    """Yields (path, size, digest, comment digest, content if it is JSON) of each member."""
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            digest, kept = None, b""
            if member.isfile():
                hashed, content = hashlib.sha256(), archive.extractfile(member)
                while block := content.read(1 << 20):
                    hashed.update(block)
                    if member.name.startswith(".tar365/"):
                        kept += block
                digest = hashed.hexdigest()
            comment = member.pax_headers.get("comment", "").rstrip(" ")
            stated = comment[len("sha256:"):] if comment.startswith("sha256:") else None
            if stated not in (None, digest):
                sys.exit(f"{member.name}: the content does not match its digest")
            yield member.name, member.size, digest, kept


def main(stream):
    seen, control = [], {}
    for path, size, digest, kept in read(stream):
        if path == ".tar365/EXPORT-FAILED":
            sys.exit("the export failed: " + kept.decode(errors="replace").rstrip("\0"))
        if path in (".tar365/manifest.ndjson", ".tar365/ledger.ndjson", ".tar365/seal.json"):
            control[path] = (kept, digest)
            continue
        seen.append((path, size, digest))
    if ".tar365/seal.json" not in control:
        sys.exit("no seal: the export never finished")
    seal = json.loads(control[".tar365/seal.json"][0])
    for name in ("manifest", "ledger"):
        if control[f".tar365/{name}.ndjson"][1] != seal[name]["sha256"]:
            sys.exit(f"{name}: not the one of the seal")
    lines = [json.loads(line) for line in control[".tar365/manifest.ndjson"][0].splitlines()]
    if [(line["path"], line["size"], line.get("sha256")) for line in lines] != seen:
        sys.exit("the manifest does not list the members")
    for line in lines:
        print(f"{line['size']:>12}  {line['path']}{'  DAMAGED' if 'damaged' in line else ''}")
    for text in control[".tar365/ledger.ndjson"][0].splitlines():
        line = json.loads(text)
        place = line.get("path") or line.get("scope") or line.get("id")
        print(f"{line['outcome']}: {place}: {line['message']}")
    counts = ", ".join(f"{seal[name]} {name}" for name in
                       ("members", "items", "skipped", "failed", "converted", "damaged"))
    print(f"{seal['outcome']}: {counts}")


if __name__ == "__main__":
    main(sys.stdin.buffer if sys.argv[1] == "-" else open(sys.argv[1], "rb"))
