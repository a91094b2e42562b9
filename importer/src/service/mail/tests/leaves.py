"""The decoded leaf parts of mails, as Python's email package reads them.

Reads paths from standard input, one a line; writes a JSON list of leaves a line.
"""
import email
import email.policy
import hashlib
import json
import sys

QUIET = email.policy.compat32


def sha(content):
    return hashlib.sha256(content).hexdigest()


def loose(text):
    """Text without what transport may change: line ends, and white space before them."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return sha("\n".join(line.rstrip() for line in lines).rstrip().encode("utf-8", "replace"))


def text_of(content, charset):
    if charset and charset.lower() != "us-ascii":
        try:
            return content.decode(charset, "replace")
        except LookupError:
            pass
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def leaves(part):
    kind = part.get_content_type()
    if part.is_multipart():
        if kind.startswith("multipart/") or kind in ("message/rfc822", "message/global"):
            for inner in part.get_payload():
                yield from leaves(inner)
            return
        # Other message types are taken apart, too: back to what they were, spaces apart.
        content = b"".join(inner.as_bytes(policy=QUIET) for inner in part.get_payload())
    else:
        content = part.get_payload(decode=True) or b""
    if content.strip():
        charset = part.get_content_charset()
        yield {
            "type": kind,
            "exact": sha(content),
            "text": loose(text_of(content, charset)),
            "bytes": loose(content.decode("latin-1")),
            "dense": sha(b"".join(content.split())),
        }


for path in sys.stdin.read().splitlines():
    with open(path, "rb") as mail:
        # Not from the file, which would be read with other line ends.
        message = email.message_from_bytes(mail.read(), policy=email.policy.default)
    print(json.dumps(list(leaves(message))), flush=True)
