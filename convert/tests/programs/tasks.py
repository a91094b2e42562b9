"""Reads tasks with icalendar and vobject, and puts them to Radicale and Xandikos and back.

Usage: tasks.py DIRECTORY with NAME.ics and NAME.json, the task without empty values.
"""

import base64
import json
import pathlib
import re
import sys

import dav
import icalendar
import vobject

ATTACHMENTS = [b"plain text", b"no kind"]


def todo(calendar):
    found, = calendar.walk("VTODO")
    return found


def properties(component, with_backslashes):
    """What a calendar says, in any order: its zones and their names are the server's affair."""
    found = []
    for name, value in component.property_items(sorted=False):
        if name in ("BEGIN", "END"):
            continue
        plain = value.to_ical()
        plain = plain.decode() if isinstance(plain, bytes) else plain
        if not with_backslashes:
            plain = plain.replace("\\", "")
        parameters = sorted((k, str(v)) for k, v in getattr(value, "params", {}).items())
        # VALUE only says what the value shows.
        found.append((name, [p for p in parameters if p[0] != "VALUE"], plain))
    return sorted(found)


def unescaped(text):
    """icalendar leaves alone what it has no type for."""
    return re.sub(r"\\(.)", lambda match: "\n" if match[1] in "nN" else match[1], text)


def check(todo, task):
    text = lambda name: str(todo[name]) if name in todo else None
    assert text("SUMMARY") == task.get("title"), text("SUMMARY")
    body = task.get("body", {})
    if body.get("content"):
        is_html = body.get("contentType") == "html"
        content = unescaped(text("X-ALT-DESC")) if is_html else text("DESCRIPTION")
        assert content == body["content"], content
    for line, property in [("DUE", "dueDateTime"), ("DTSTART", "startDateTime")]:
        if property in task and line in todo and "X-TAR365-IMPLIED" not in todo[line].params:
            time = task[property]["dateTime"]
            found = todo[line].dt
            assert found.isoformat()[:16] == time[:16] or found.isoformat() == time[:10], (
                line, found, time)
    priority = {"low": 9, "normal": 5, "high": 1}.get(task.get("importance"))
    assert todo.get("PRIORITY") == priority, todo.get("PRIORITY")
    status = {"completed": "COMPLETED", "inProgress": "IN-PROCESS"}.get(
        task["status"], "NEEDS-ACTION")
    assert text("STATUS") == status, text("STATUS")
    assert len(todo.walk("VALARM")) == (1 if task.get("isReminderOn") else 0)
    assert ("RRULE" in todo) == ("recurrence" in task)
    items = todo.get("X-TAR365-CHECKLIST-ITEM", [])
    items = items if isinstance(items, list) else [items]
    items = [unescaped(str(item)).replace("~1", "\\").replace("~0", "~") for item in items]
    names = [json.loads(item)["displayName"] for item in items]
    assert len(names) == len(task.get("checklistItems", [])), names
    attached = todo.get("ATTACH", [])
    attached = attached if isinstance(attached, list) else [attached]
    binary = [a for a in attached if a.params.get("VALUE") == "BINARY"]
    if task.get("attachments"):
        assert [base64.b64decode(a.to_ical()) for a in binary] == ATTACHMENTS, binary


def main(directory):
    files = sorted(directory.glob("*.ics"))
    parsed = {}
    for file in files:
        data = file.read_bytes()
        try:
            calendar = parsed[file] = icalendar.Calendar.from_ical(data)
            for component in calendar.walk():
                assert not component.errors, component.errors
            check(todo(calendar), json.loads(file.with_suffix(".json").read_text()))
            vobject.readOne(data.decode()).validate(raiseException=True)
        except Exception as error:
            raise AssertionError(f"{file.name}: {error!r}\n{data.decode()}") from error
    for name in ("radicale", "xandikos"):
        for file, got in dav.round_trip(name, directory / name, files).items():
            # Debian's icalendar, which Xandikos writes with, halves and drops backslashes.
            exact = name == "radicale"
            back = properties(todo(icalendar.Calendar.from_ical(got)), exact)
            sent = properties(todo(parsed[file]), exact)
            assert back == sent, (f"{name}, {file.name}:\n"
                                  f"came {[p for p in back if p not in sent]}\n"
                                  f"sent {[p for p in sent if p not in back]}")
    print(f"{len(files)} tasks")


main(pathlib.Path(sys.argv[1]))
