"""Prints the occurrences that recurring-ical-events finds: file, start in seconds since 1970,
summary. Fails on a file that icalendar or vobject finds fault with.
Usage: occurrences.py FROM TO <LIST-OF-FILES"""

import datetime
import multiprocessing
import sys

import icalendar
import recurring_ical_events
import vobject

UTC = datetime.timezone.utc
DAY = datetime.timedelta(days=1)


def seconds(time):
    if not isinstance(time, datetime.datetime):
        time = datetime.datetime(time.year, time.month, time.day, tzinfo=UTC)
    return int(time.timestamp())


def expand(file):
    with open(file, encoding="utf-8", newline="") as opened:
        text = opened.read()
    calendar = icalendar.Calendar.from_ical(text)
    faults = [fault for component in calendar.walk() for fault in component.errors]
    if faults:
        raise ValueError(f"{file}: {faults}")
    vobject.readOne(text).validate(raiseException=True)
    begin, end = (datetime.datetime.fromtimestamp(int(bound), UTC) for bound in sys.argv[1:3])
    found = recurring_ical_events.of(calendar).between(begin - DAY, end + DAY)
    lines = []
    for event in found:
        start = seconds(event["DTSTART"].dt)
        if int(sys.argv[1]) <= start < int(sys.argv[2]):
            lines.append(f"{file}\t{start}\t{event['SUMMARY']}\n")
    return "".join(lines)


if __name__ == "__main__":
    with multiprocessing.Pool() as pool:
        for lines in pool.imap(expand, sys.stdin.read().splitlines(), chunksize=16):
            sys.stdout.write(lines)
