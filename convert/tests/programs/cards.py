"""Reads cards with vobject and khard, and puts them to Radicale and Xandikos and back.

Usage: cards.py DIRECTORY with NAME.vcf, NAME.json (the contact) and, of some, NAME.photo; the names
of cards of version 4.0 start with v4.
"""

import json
import pathlib
import subprocess
import sys

import dav
import vobject


def lines(text):
    return (text or "").replace("\r\n", "\n").replace("\r", "\n")


def properties(card):
    """What a card says, in any order."""
    return sorted(
        (line.name, line.group or "", sorted((k, sorted(v)) for k, v in line.params.items()),
         str(line.value))
        for line in card.getChildren()
    )


def check(card, contact, photo):
    def values(name, kind=None):
        found = [c for c in card.contents.get(name, [])]
        return [c.value for c in found if kind is None or c.params.get("TYPE") == [kind]]

    assert card.fn.value == lines(contact["displayName"]), card.fn.value
    name = card.n.value
    for member, property in [("family", "surname"), ("given", "givenName"),
                             ("additional", "middleName"), ("prefix", "title"),
                             ("suffix", "generation")]:
        assert getattr(name, member) == lines(contact.get(property)), (member, name)
    addresses = [email.get("address") or "" for email in contact.get("emailAddresses") or []]
    assert values("email") == [lines(address) for address in addresses], values("email")
    names = [email["name"] for email in contact.get("emailAddresses") or [] if email.get("name")]
    assert values("x-ablabel") == [lines(name) for name in names], values("x-ablabel")
    for kind, property in [("WORK", "businessPhones"), ("HOME", "homePhones")]:
        numbers = [lines(number) for number in contact.get(property) or []]
        assert values("tel", kind) == numbers, (property, values("tel", kind))
    for property, line in [("jobTitle", "title"), ("profession", "role"),
                           ("personalNotes", "note"), ("manager", "x-ms-manager")]:
        text = contact.get(property)
        assert values(line) == ([lines(text)] if text else []), (property, values(line))
    organization = [lines(contact.get(p)) for p in ("companyName", "department", "officeLocation")]
    while organization and not organization[-1]:
        organization.pop()
    assert values("org") == ([organization] if organization else []), values("org")
    categories = [lines(category) for category in contact.get("categories") or []]
    assert values("categories") == ([categories] if categories else []), values("categories")
    if contact.get("birthday"):
        assert card.bday.value.replace("-", "") == contact["birthday"][:10].replace("-", "")
    for kind, property in [("WORK", "businessAddress"), ("HOME", "homeAddress")]:
        address = contact.get(property)
        if address and any(address.values()):
            value, = values("adr", kind)
            for member, ours in [("street", "street"), ("city", "city"), ("region", "state"),
                                 ("code", "postalCode"), ("country", "countryOrRegion")]:
                assert getattr(value, member) == lines(address.get(ours)), (ours, value)
    if photo is not None:
        assert card.photo.value == photo


def khard(directory, count):
    config = directory / "khard.conf"
    config.write_text(f"[addressbooks]\n[[ours]]\npath = {directory}\n[general]\ndebug = no\n")
    listed = subprocess.run(["khard", "-c", config, "list", "--parsable", "--fields", "uid"],
                            capture_output=True, text=True)
    assert listed.returncode == 0, listed.stderr
    uids = set(listed.stdout.split())
    assert len(uids) == count, f"khard lists {len(uids)} of {count}: {listed.stderr}"


def main(directory):
    cards = sorted(directory.glob("*.vcf"))
    parsed = {}
    for file in cards:
        text = file.read_bytes().decode()
        card = parsed[file] = vobject.readOne(text)
        contact = json.loads(file.with_suffix(".json").read_text())
        photo = file.with_suffix(".photo")
        try:
            is_new = file.name.startswith("v4")
            if not is_new:
                card.validate(raiseException=True)
            # vobject cuts off the photos of version 4.0.
            check(card, contact, photo.read_bytes() if photo.exists() and not is_new else None)
        except AssertionError as error:
            raise AssertionError(f"vobject, {file.name}: {error}\n{text}") from error
    khard(directory, len(cards))
    older = [file for file in cards if not file.name.startswith("v4")]
    for name in ("radicale", "xandikos"):
        for file, got in dav.round_trip(name, directory / name, older).items():
            back = properties(vobject.readOne(got.decode()))
            sent = properties(parsed[file])
            assert back == sent, f"{name}, {file.name}:\n{back}\n{sent}"
    print(f"{len(cards)} cards")


main(pathlib.Path(sys.argv[1]))
