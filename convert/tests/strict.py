"""Fails on the first file that icalendar or vobject finds fault with. Usage: strict.py FILE..."""

import sys

import icalendar
import vobject

for file in sys.argv[1:]:
    with open(file, encoding="utf-8", newline="") as opened:
        text = opened.read()
    for calendar in icalendar.Calendar.from_ical(text, multiple=True):
        faults = [fault for component in calendar.walk() for fault in component.errors]
        if faults:
            raise ValueError(f"{file}: {faults}")
    for calendar in vobject.readComponents(text):
        calendar.validate(raiseException=True)
