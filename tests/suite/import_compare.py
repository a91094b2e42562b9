"""Compares what was exported with what was restored and exported again.

Usage: import_compare.py BEFORE.tar AFTER.tar beside|in-place [CORPUS]

It knows nothing of tar365 but the format of its archives; mails are read by Python's email
package. Prints JSON:
  mails, files, folders  how many of each were compared
  explained              property or loss: how many differences come of it
  unexplained            every other difference, in words: there should be none
  documented             what doc/restore.md must name
"""
import base64
import datetime
import email
import email.header
import email.policy
import email.utils
import hashlib
import json
import pathlib
import re
import sys
import tarfile
from collections import Counter, defaultdict

# What the service makes anew for everything that is created. doc/restore.md has each of them.
REWRITTEN = {
    # Of mails and their folders.
    "id", "parentFolderId", "changeKey", "createdDateTime", "lastModifiedDateTime",
    "conversationId", "conversationIndex", "wellKnownName", "hasAttachments",
    # Of files and their folders.
    "eTag", "parentReference",
    # Of the MIME that it makes of a mail.
    "Content-Type", "Content-Transfer-Encoding", "Content-Disposition", "Content-ID",
    "Content-Description", "Content-Language", "Content-Length", "MIME-Version", "Thread-Topic",
    "Thread-Index", "X-MS-Has-Attach", "Sender", "Importance", "X-Priority",
    # What a mail lacks and a stored one can't be without.
    "Message-ID", "Subject", "Date",
}
# Differences that come of a loss, which the report of a restore counts by this name.
LOSSES = {
    "text-alternative", "recipients", "receipt-request", "message-class", "signature", "name",
    "folder", "body-as-attachment",
}
# Mails of the corpus that Python reads differently than mail programs do, before or after: what is
# restored and Python does not see, or the other way round.
READ_DIFFERENTLY = {
    "eml/cpython/msg_15.eml": "parts after an inner multipart with the boundary of the outer",
    "eml/cpython/msg_20.eml": "two Cc fields: the service's metadata has the people of one",
    "eml/cpython/msg_25.eml": "two To fields: the service's metadata has the people of one",
    "eml/cpython/msg_39.eml": "parts after an inner multipart with the boundary of the outer",
    "eml/mail-parser/malformed-005.eml": "parts of a boundary that looks like another's end",
    "eml/mail-parser/malformed-017.eml": "parts, though the semicolon before the boundary lacks",
    "eml/mail-parser/malformed-019.eml": "parts, though a field has a space before its colon",
    "eml/mail-parser/thirdparty-000.eml": "a text without its zero byte",
    "eml/mail-parser/thirdparty-003.eml": "quoted-printable, though spaces follow the word",
    "eml/mail-parser/thirdparty-012.eml": "parts of a boundary that is folded",
    "eml/mime4j/testmsgs-multipartemptypart.eml": "no epilogue, which nobody is shown",
    "eml/mime4j/testmsgs-obsolete.eml": "fields with white space before the colon",
}
# Metadata that only meeting requests have.
OF_MEETINGS = {
    "@odata.type", "allowNewTimeProposals", "endDateTime", "isAllDay", "isDelegated", "isOutOfDate",
    "location", "meetingMessageType", "meetingRequestType", "responseRequested", "startDateTime",
    "type",
}
MESSAGE_CLASS = 0x1A
MOST_RECIPIENTS = 500
LARGEST_BODY = 3_000_000
PEOPLE = {"from", "sender", "to", "cc", "bcc", "reply-to"}


def sha(content):
    return hashlib.sha256(content).hexdigest()[:16]


class Archive:
    """Metadata and content of an archive, by owner and service."""

    def __init__(self, path):
        self.members, self.sections = {}, {}
        with tarfile.open(path) as tar:
            for member in tar:
                content = tar.extractfile(member).read() if member.isfile() else None
                self.members[member.name.rstrip("/")] = content
        for path, content in self.members.items():
            parts = path.removesuffix(".ndjson").split("/")
            if parts[0] == "users" and len(parts) == 3 and path.endswith(".ndjson"):
                lines = [json.loads(line) for line in content.splitlines()]
                self.sections[parts[1], parts[2]] = lines


class Section:
    """Items and folders of a section; `top` is cut off the paths of folders, others are left out."""

    def __init__(self, archive, key, mode, top=None):
        lines = archive.sections.get(key, [])
        self.mode, self.top = mode, top
        self.prefix = "users/" + "/".join(key)
        self.known = {line["id"]: line for line in lines if line["kind"] == "folder"}
        trails = {key: self.trail(key) for key in self.known}
        self.folders = {trails[key]: self.known[key] for key in trails if trails[key]}
        self.items = []
        for line in lines:
            if line["kind"] in ("message", "file") and line.get("path") in archive.members:
                trail = trails.get(parent(line["graph"]), ())
                if trail is not None:
                    self.items.append((trail, line, archive.members[line["path"]]))

    def trail(self, key):
        names = []
        while key in self.known and self.known[key]["path"] != self.prefix:
            graph = self.known[key]["graph"]
            well_known = graph.get("wellKnownName") if self.mode == "in-place" else None
            name = graph.get("displayName", graph.get("name")) or ""
            names.insert(0, "@" + well_known if well_known else name.strip() or "(no name)")
            key = parent(graph)
        if self.top is None:
            return tuple(names)
        return tuple(names[1:]) if names[:1] == [self.top] else None


def parent(graph):
    return graph.get("parentFolderId") or graph.get("parentReference", {}).get("id")


# Mail

def text_of(content, charset):
    for name in (charset or "utf-8", "utf-8"):
        try:
            return content.decode(name)
        except (LookupError, UnicodeDecodeError):
            pass
    return content.decode("cp1252", "replace")


def loose(text):
    """The digest of a text without what may change on the way: line ends, white space before them."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return sha("\n".join(line.rstrip() for line in lines).rstrip().encode("utf-8", "replace"))


def leaves(part):
    """Of each leaf: its type, and the digests of its content as text and as bytes."""
    kind = part.get_content_type()
    is_mail = kind in ("message/rfc822", "message/global")
    encoding = str(part.get("Content-Transfer-Encoding", "")).strip().lower()
    if part.is_multipart():
        if kind.startswith("message/") and encoding == "base64":
            # RFC 2046 forbids it, mails have it, Python leaves it as it is.
            content = base64.b64decode(part.get_payload()[0].get_payload().encode(), validate=False)
            inner = email.message_from_bytes(content, policy=email.policy.compat32)
            if is_mail and inner.keys():
                yield from leaves(inner)
                return
        elif is_mail and not part.get_payload()[0].keys():
            content = part.get_payload()[0].get_payload(decode=True)
        elif is_mail or kind.startswith("multipart/"):
            for inner in part.get_payload():
                yield from leaves(inner)
            return
        else:
            inner = (inner.as_bytes(policy=email.policy.compat32) for inner in part.get_payload())
            content = b"".join(inner)
    else:
        content = part.get_payload(decode=True) or b""
    if kind.startswith("multipart/"):
        # Broken: it has no parts, and is shown as text.
        kind = "text/plain"
    if kind.startswith("message/"):
        # Fields as Python writes them again.
        digest = sha(b"".join(content.split()))
        yield kind, digest, digest
    elif not kind.startswith("text/"):
        yield kind, sha(content), sha(content)
    elif content.strip():
        text = text_of(content, part.get_content_charset())
        yield kind, loose(text), loose(content.decode("latin-1"))


def unmatched(old, new):
    """The leaves that only one of two mails has: those of `old`, and those of `new`."""
    old, new = list(old), list(new)
    # An attached text may be given back without its character set: then its bytes are compared.
    for by in ((0, 1), (1,), (2,)):
        for leaf in list(old):
            same = next((other for other in new if all(other[i] == leaf[i] for i in by)), None)
            if same:
                old.remove(leaf), new.remove(same)
    return old, new


def decoded(value):
    """A header's value as one line of text."""
    try:
        value = str(email.header.make_header(email.header.decode_header(str(value))))
    except (LookupError, ValueError, email.errors.HeaderParseError):
        value = str(value)
    return " ".join(value.replace("\0", "").split())


def headers(message):
    """The values of each header, in their order."""
    found = defaultdict(list)
    for name, value in message.items():
        name = name.lower()
        if name in PEOPLE:
            people = email.utils.getaddresses([re.sub(r"\s+", " ", str(value))])
            found[name] += [(decoded(who) or address, address) for who, address in people if address]
        else:
            found[name].append(decoded(value))
    return {name: values for name, values in found.items() if values}


class Mail:
    """A mail, its metadata and what Python reads in it."""

    def __init__(self, item):
        self.folder, line, content = item
        self.graph, self.path, self.digest = dict(line["graph"]), line["path"], sha(content)
        # 0x001A and 0x1a are one.
        extended = self.graph.get("singleValueExtendedProperties") or ()
        numbered = {int(one["id"].split("0x")[1], 16): one["value"] for one in extended}
        self.graph["singleValueExtendedProperties"] = numbered
        message = email.message_from_bytes(content, policy=email.policy.compat32)
        self.leaves, self.headers = list(leaves(message)), headers(message)
        self.text_size = len(content) if message.get_content_maintype() == "text" else 0

    def unlike(self, other):
        """How much two mails differ."""
        leaf = sum(map(len, unmatched(self.leaves, other.leaves)))
        differ = lambda a, b: sum(a.get(key) != b.get(key) for key in a.keys() | b.keys())
        return 10 * leaf + differ(self.headers, other.headers) + differ(self.graph, other.graph)


def pairs(old, new, name, report):
    """Mails of one folder, subject and time belong together; of several, those most alike."""
    buckets = defaultdict(lambda: ([], []))
    for side, items in enumerate((old, new)):
        for mail in map(Mail, items):
            # What never arrived gets the time of its making.
            received = mail.graph.get("receivedDateTime") or mail.graph["createdDateTime"]
            key = fold(mail.folder), mail.graph.get("subject"), received[:19]
            buckets[key][side].append(mail)
    for key, (left, right) in buckets.items():
        if len(left) != len(right):
            report.unexplained.append(f"{name}: {key}: {len(left)} mails before, {len(right)} after")
        ways = [(a.unlike(b), i, j) for i, a in enumerate(left) for j, b in enumerate(right)]
        used = set(), set()
        for _, i, j in sorted(ways):
            if i not in used[0] and j not in used[1]:
                used[0].add(i), used[1].add(j)
                yield left[i], right[j]


def compare_mail(old, new, report):
    name = report.corpus.get(old.digest, old.path)
    for key in sorted(old.graph.keys() | new.graph.keys()):
        was, now = old.graph.get(key), new.graph.get(key)
        if was != now:
            report.differs(name, key, (was, now), of_property(key, was, now))
    if name in READ_DIFFERENTLY:
        report.read_differently.add(name)
        if not any(unmatched(old.leaves, new.leaves)) and old.headers == new.headers:
            report.unexplained.append(f"{name} is not read differently")
        return
    is_html = any(kind == "text/html" for kind, *_ in old.leaves)
    for what, changed in zip(("lost", "new"), unmatched(old.leaves, new.leaves)):
        for kind, *_ in changed:
            loss = None
            if kind == "text/plain" and is_html:
                loss = "text-alternative"
            elif kind == "text/plain" and what == "new" and old.text_size > LARGEST_BODY:
                # The words that tell where the body is.
                loss = "body-as-attachment"
            report.differs(name, f"leaf {what} {kind}", "", loss)
    for field in sorted(old.headers.keys() | new.headers.keys()):
        was, now = old.headers.get(field), new.headers.get(field)
        if was != now:
            report.differs(name, "header " + field, (was, now), of_header(field, was, now, new.graph))


def of_property(key, was, now):
    """What a difference of metadata comes of; none if it should not be."""
    if key in REWRITTEN:
        return key
    if key == "internetMessageId":
        return None if was else "Message-ID"
    if key in ("sentDateTime", "receivedDateTime"):
        return None if was else "Date"
    if key in OF_MEETINGS:
        return "message-class"
    if key in ("isReadReceiptRequested", "isDeliveryReceiptRequested"):
        return "receipt-request" if now is False else None
    if key in ("from", "sender", "toRecipients", "ccRecipients", "bccRecipients", "replyTo"):
        people = was if isinstance(was, list) else [was]
        kept = [one for one in people if is_address(one["emailAddress"]["address"])][:MOST_RECIPIENTS]
        return "recipients" if kept == (now if isinstance(was, list) else [now] * (now is not None)) else None
    if key == "singleValueExtendedProperties":
        class_was, class_now = was.get(MESSAGE_CLASS, ""), now.get(MESSAGE_CLASS, "")
        if {**was, MESSAGE_CLASS: class_now} != now or class_now != "IPM.Note":
            return None
        return "signature" if class_was.startswith("IPM.Note.SMIME") else "message-class"
    return None


def is_address(address):
    return re.fullmatch(r"[^\s<>,;]+@[^\s<>,;@]+", address or "") is not None


def of_header(field, was, now, graph):
    """What a difference of a header comes of; none if it should not be."""
    by_name = {name.lower(): name for name in REWRITTEN}
    if field == "date":
        sent = graph["sentDateTime"]
        instants = [instant(value) for value in (was or [])[:1] + (now or [])[:1]]
        is_sent = now and instants[-1] == datetime.datetime.fromisoformat(sent)
        return "Date" if is_sent else None
    if field == "message-id" and was:
        # Without its angle brackets.
        return "Message-ID" if [f"<{id}>" for id in was] == now else None
    if field in ("message-id", "subject"):
        return None if was else by_name[field]
    if field == "sender":
        # Of one who sends for himself.
        return "Sender" if now is None and graph["sender"] == graph["from"] else None
    if field == "importance":
        return "Importance" if graph["importance"] == "normal" and now is None else None
    if field in ("disposition-notification-to", "return-receipt-to"):
        return "receipt-request" if now is None else None
    if field in PEOPLE:
        kept = [one for one in was or [] if is_address(one[1])][:MOST_RECIPIENTS]
        return "recipients" if kept == (now or []) else None
    return by_name.get(field)


def instant(value):
    try:
        return email.utils.parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return None


# Files

def accepted(name):
    """The name SharePoint takes, by the rules of doc/restore.md."""
    name = re.sub(r'["*:<>?/\\|\x00-\x1f\x7f-\x9f]', "_", name)[:255]
    name = name.strip(" ").rstrip(".").rstrip(" ")
    name = re.sub(r"^~\$", "__", name).replace("_vti_", "_vti-")
    reserved = r"(\.lock|desktop\.ini)$|(con|prn|aux|nul|com\d|lpt\d)(\.|$)"
    return "_" + name if not name or re.match(reserved, name.lower()) else name


def compare_files(name, old, new, folders, report):
    """Files that need the same name get numbers, in no particular order."""
    def bucket(items, change):
        found = defaultdict(list)
        for trail, line, content in items:
            trail = tuple(change(folder).lower() for folder in trail)
            stem = re.sub(r" \(\d+\)(?=(\.[^.]*)?$)", "", change(line["graph"]["name"])).lower()
            found[trail, stem].append((sha(content), line["graph"], trail))
        return found

    old, new = bucket(old, accepted), bucket(new, lambda name: name)
    for key in old.keys() | new.keys():
        left, right = old.get(key, []), new.get(key, [])
        if Counter(item[0] for item in left) != Counter(item[0] for item in right):
            report.unexplained.append(f"{name}: {key}: {len(left)} files before, {len(right)} after, other bytes")
            continue
        order = lambda item: (item[0], item[1]["fileSystemInfo"]["lastModifiedDateTime"])
        for was, now in zip(sorted(left, key=order), sorted(right, key=order)):
            was, now = dict(was[1]), dict(now[1])
            taken = len(left) > 1 or key[0] + (key[1],) in folders
            if was["name"] != now["name"] and (taken or accepted(was["name"]) == now["name"]):
                report.differs(name, "name", (was["name"], now["name"]), "name")
                now["name"] = was["name"]
            compare_graph(f"{name}: {key}", was, now, report)


def compare_folders(name, old, new, service, report):
    change = accepted if service == "onedrive" else lambda name: name
    left, right = defaultdict(list), {fold(trail): line["graph"] for trail, line in new.folders.items()}
    for trail, line in old.folders.items():
        left[fold(map(change, trail))].append((trail, line["graph"]))
    for trail in left.keys() ^ right.keys():
        side = "lost" if trail in left else "new"
        report.differs(name, f"folder {side}", "/".join(trail), None)
    for key in left.keys() & right.keys():
        # Of folders whose names differ in case, one is made for all.
        if len(left[key]) > 1:
            report.differs(name, "folder", key, "folder")
        ways = []
        for trail, was in left[key]:
            was, now, way = dict(was), dict(right[key]), []
            if service == "onedrive" and was["name"] != now["name"] and change(was["name"]) != was["name"]:
                way.append((key, "name", was["name"], "name"))
                now["name"] = was["name"]
            if service == "mail" and was["displayName"] != now["displayName"]:
                # A well-known one is called as in the language of its mailbox.
                is_cut = now["displayName"] == was["displayName"].strip()
                why = "wellKnownName" if key[-1].startswith("@") else "folder" if is_cut else None
                way.append((key, "displayName", (was["displayName"], now["displayName"]), why))
                del was["displayName"], now["displayName"]
            if "package" in was and "package" not in now:
                # A notebook: its files are in a folder.
                way.append((key, "package", was["package"], "folder"))
                del was["package"], now["folder"]
            for field in sorted(was.keys() | now.keys()):
                if was.get(field) != now.get(field):
                    how = (was.get(field), now.get(field))
                    way.append((key, field, how, field if field in REWRITTEN else None))
            ways.append(way)
        for difference in min(ways, key=lambda way: sum(why is None for *_, why in way)):
            report.differs(*difference)


def fold(trail):
    return tuple(name.lower() for name in trail)


def compare_graph(name, was, now, report):
    for key in sorted(was.keys() | now.keys()):
        if was.get(key) != now.get(key):
            report.differs(name, key, (was.get(key), now.get(key)), key if key in REWRITTEN else None)


class Report:
    def __init__(self, corpus):
        self.explained, self.unexplained, self.compared = Counter(), [], Counter()
        self.read_differently = set()
        files = pathlib.Path(corpus).rglob("*.eml") if corpus else ()
        self.corpus = {sha(file.read_bytes()): str(file.relative_to(corpus)) for file in files}

    def differs(self, name, what, how, why):
        """Something differs, and that comes of `why`: a rewritten property or a loss, or neither."""
        if why in REWRITTEN or why in LOSSES:
            self.explained[why] += 1
        else:
            self.unexplained.append(f"{name}: {what}: {how}")


def main(before, after, mode, corpus=None):
    report = Report(corpus)
    before, after = Archive(before), Archive(after)
    for key, lines in before.sections.items():
        name = "/".join(key)
        top = None
        if mode == "beside":
            tops = [line["graph"] for line in after.sections.get(key, []) if line["kind"] == "folder"]
            tops = [graph.get("displayName", graph.get("name")) or "" for graph in tops]
            tops = [folder for folder in tops if folder.startswith("tar365 restore ")]
            if len(tops) != 1:
                report.unexplained.append(f"{name}: folders of restores: {tops}")
                continue
            top = tops[0]
        old, new = Section(before, key, mode), Section(after, key, mode, top)
        compare_folders(name, old, new, key[1], report)
        report.compared["folders"] += len(old.folders)
        if key[1] == "mail":
            for was, now in pairs(old.items, new.items, name, report):
                compare_mail(was, now, report)
                report.compared["mails"] += 1
        else:
            compare_files(name, old.items, new.items, {fold(trail) for trail in new.folders}, report)
            report.compared["files"] += len(old.items)
    if corpus and report.read_differently != READ_DIFFERENTLY.keys():
        report.unexplained.append(f"not met: {READ_DIFFERENTLY.keys() - report.read_differently}")
    print(json.dumps({
        **report.compared,
        "explained": report.explained,
        "unexplained": report.unexplained,
        "documented": sorted(REWRITTEN | LOSSES),
    }))


if __name__ == "__main__":
    main(*sys.argv[1:])
