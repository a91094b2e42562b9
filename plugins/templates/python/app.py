"""Drops mails that have a word in their subject. The contract is in wit/plugin.wit; names there
like `on-metadata` are `on_metadata` here, and a decision like `drop` is `MetadataDecision_Drop`.
`raise Err("text")` says what is wrong; any other exception traps, and its text is lost."""

import json

from componentize_py_types import Err
from wit_world.imports import current, log, settings
from wit_world.imports.types import (
    ContentDecision_Keep,
    Level,
    Manifest,
    MetadataDecision_Drop,
    MetadataDecision_Keep,
    Phase,
)


def word():
    """The word to look for, from settings.json."""
    try:
        subject = json.loads(settings.get() or "{}").get("subject")
    except (ValueError, AttributeError) as error:
        raise Err(f"settings: {error}")
    if not isinstance(subject, str) or not subject:
        raise Err('settings: "subject" must be the word to look for')
    return subject.lower()


class WitWorld:
    def describe(self):
        return Manifest(
            name="my-filter",
            version="0.1.0",
            author="me@example.com",
            description="Drops mails that have a word in their subject",
            # Add Phase.CONTENT to be asked about contents.
            phases=[Phase.METADATA],
            services=["mail"],
        )

    def configure(self):
        word()

    def on_metadata(self):
        item = current.get()
        subject = json.loads(current.value("/subject") or '""') or ""
        if item.kind == "message" and word() in subject.lower():
            log.write(Level.DEBUG, f"{item.path} goes")
            return MetadataDecision_Drop("its subject")
        return MetadataDecision_Keep()

    def on_content(self):
        """`current.read(65536)` gives the next bytes, none at the end; to change a content,
        `current.write` the new one and return `ContentDecision_Replace()`."""
        return ContentDecision_Keep()
