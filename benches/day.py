"""A day in the life of a simulated tenant, and a naive layout of an archive; for base.sh.

    day.py content DIR                       makes the tenant: 15,000 mails, 80 files, 1.9 GB
    day.py change recent|spread GRAPH_URL    changes it; prints the bytes of what is new
    day.py naive <ARCHIVE >TAR               folder order, metadata of an item before it
"""

import base64
import email.utils
import io
import json
import os
import random
import sys
import tarfile
import urllib.parse
import urllib.request

# Of 1,000 items: as in a tenant of 30,000 mails with 300 new a day, 90 deleted, 90 moved, 300 read.
NEW, DELETED, MOVED, READ = 10, 3, 3, 10
CHANGED_FILES = 2  # of 100
MEAN_AGE = 10  # days, of what is touched on a recent day
START = 1672531200  # the first mails; they come for three years


USERS, MAILS, FILES = 10, 1500, 8


def eml_of(dice, subject, date):
    """Sizes as mailboxes have them: a median of 31 KB, a mean of 80 KB, one in 200 of MiBs."""
    size = min(int(dice.lognormvariate(10.3, 1.3)), 10_000_000)
    body = base64.encodebytes(dice.randbytes(size * 3 // 4)).decode().replace("\n", "\r\n")
    return (f"Subject: {subject}\r\nDate: {email.utils.formatdate(date)}\r\n"
            "MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n"
            f"Content-Transfer-Encoding: base64\r\n\r\n{body}")


def content(folder):
    dice = random.Random(1)
    # What comes is sorted by subject, and mostly by rules.
    folders = ["Inbox", "Sent Items"] + [f"Inbox/Project {number:02}" for number in range(10)]
    for user in range(USERS):
        for number in range(MAILS):
            place = f"{folder}/user{user:02}/mail/{dice.choice(folders)}"
            os.makedirs(place, exist_ok=True)
            date = START + dice.random() * 1095 * 86400
            with open(f"{place}/{number:05}.eml", "w", newline="") as file:
                file.write(eml_of(dice, f"mail {number}", date))
        os.makedirs(f"{folder}/user{user:02}/onedrive/Work")
        for number in range(FILES):
            size = min(int(dice.lognormvariate(15.2, 1.2)), 50 << 20)
            with open(f"{folder}/user{user:02}/onedrive/Work/{number:03}.bin", "wb") as file:
                file.write(dice.randbytes(size))


def call(root, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{root}/_sim/{path}", data)) as answer:
        return json.load(answer)


def change(how, root):
    dice = random.Random(365)
    wanted = 0
    for user in call(root, "users"):
        name = urllib.parse.quote(user["id"])
        mails = call(root, f"messages?user={name}&top=1000000")
        folders = [f for f in call(root, f"folders?user={name}") if not f["search"]]
        inbox = next(f["id"] for f in folders if f["wellKnown"] == "inbox")
        mails.sort(key=lambda mail: mail["received"] or "", reverse=True)

        def pick():
            """A mail, and it is gone from the list."""
            if how == "spread":
                return mails.pop(dice.randrange(len(mails)))
            # Mails come evenly over three years: a place in the list is an age.
            place = int(dice.expovariate(1 / (len(mails) * MEAN_AGE / 1095)))
            return mails.pop(min(place, len(mails) - 1))

        thousands = len(mails) / 1000
        for _ in range(round(DELETED * thousands)):
            act(root, "delete_message", user=user["id"], message=pick()["id"])
        for _ in range(round(MOVED * thousands)):
            mail = pick()
            other = dice.choice([f["id"] for f in folders if f["id"] != mail["folder"]])
            act(root, "move_message", user=user["id"], message=mail["id"], folder=other)
        for _ in range(round(READ * thousands)):
            mail = pick()
            act(root, "set_read", user=user["id"], message=mail["id"], read=not mail["isRead"])
        for number in range(round(NEW * thousands)):
            eml = eml_of(dice, f"new {number}", START + 1095 * 86400 + number)
            act(root, "add_message", user=user["id"], folder=inbox, eml=eml)
            wanted += len(eml)
        files = call(root, f"files?drive={name}") if user["drive"] else []
        # One file in 50, so not of every user.
        for file in dice.sample(files, dice.random() < len(files) * CHANGED_FILES / 100):
            fresh = dice.randbytes(min(file["size"], 1_000_000))
            act(root, "put_file", drive=user["id"], path="/".join(file["path"]),
                base64=base64.b64encode(fresh).decode())
            wanted += len(fresh)
    print(wanted)


def act(root, action, **body):
    call(root, action, body)


def naive(source, target):
    """Spooled by section: that is what fits in memory here."""
    archive = tarfile.open(fileobj=source, mode="r|", errors="surrogateescape")
    output = tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT)
    lines, items = {}, []

    def flush():
        # As somebody would write it who walks through the folders, oldest first.
        for member, content in sorted(items, key=lambda item: item[0].name):
            about = lines.get(member.name, b"{}\n")
            sidecar = tarfile.TarInfo(member.name + ".json")
            sidecar.size = len(about)
            output.addfile(sidecar, io.BytesIO(about))
            plain = tarfile.TarInfo(member.name)
            plain.size, plain.mtime = member.size, member.mtime
            output.addfile(plain, io.BytesIO(content))
        items.clear()
        lines.clear()

    for member in archive:
        if member.isdir() or member.name.startswith(".tar365/"):
            continue
        content = archive.extractfile(member).read()
        if member.name.endswith(".ndjson"):
            flush()
            for line in content.splitlines(keepends=True):
                path = json.loads(line).get("path")
                if path:
                    lines[path] = line
        else:
            items.append((member, content))
    flush()
    output.close()


if sys.argv[1] == "content":
    content(sys.argv[2])
elif sys.argv[1] == "change":
    change(sys.argv[2], sys.argv[3])
else:
    naive(sys.stdin.buffer, sys.stdout.buffer)
