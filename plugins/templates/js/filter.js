// Drops mails that have a word in their subject. The contract is in wit/plugin.wit; names there
// like `on-metadata` are `onMetadata` here, a decision like `drop(string)` is `{ tag, val }`, and
// an error is thrown.
import current from "tar365:plugin/current@1.0.0";
import settings from "tar365:plugin/settings@1.0.0";
import log from "tar365:plugin/log@1.0.0";

export function describe() {
  return {
    name: "my-filter",
    version: "0.1.0",
    author: "me@example.com",
    description: "Drops mails that have a word in their subject",
    // Add "content" to be asked about contents.
    phases: ["metadata"],
    services: ["mail"],
  };
}

/** The word to look for, from settings.json; throws what is wrong with the settings. */
function word() {
  const { subject } = JSON.parse(settings.get() || "{}");
  if (typeof subject !== "string" || subject === "") {
    throw 'settings: "subject" must be the word to look for';
  }
  return subject.toLowerCase();
}

export function configure() {
  word();
}

export function onMetadata() {
  const item = current.get();
  const subject = JSON.parse(current.value("/subject") ?? '""') ?? "";
  if (item.kind === "message" && subject.toLowerCase().includes(word())) {
    log.write("debug", `${item.path} goes`);
    return { tag: "drop", val: "its subject" };
  }
  return { tag: "keep" };
}

// current.read(65536) gives the next bytes, none at the end; to change a content, current.write()
// the new one and return { tag: "replace" }. Work with indexOf, regular expressions and whole
// arrays: loops over single bytes are a hundred times slower.
export function onContent() {
  return { tag: "keep" };
}
