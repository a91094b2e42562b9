// Drops mails that have a word in their subject. The contract is in wit/plugin.wit; filter.h is
// the same in C. What is returned is freed by the bindings: give copies (filter_string_dup).
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "filter.h"

void exports_filter_describe(filter_manifest_t *manifest) {
    filter_string_dup(&manifest->name, "my-filter");
    filter_string_dup(&manifest->version, "0.1.0");
    filter_string_dup(&manifest->author, "me@example.com");
    filter_string_dup(&manifest->description, "Drops mails that have a word in their subject");
    // One more, TAR365_PLUGIN_TYPES_PHASE_CONTENT, to be asked about contents.
    manifest->phases.len = 1;
    manifest->phases.ptr = malloc(sizeof *manifest->phases.ptr);
    manifest->phases.ptr[0] = TAR365_PLUGIN_TYPES_PHASE_METADATA;
    manifest->services.len = 1;
    manifest->services.ptr = malloc(sizeof *manifest->services.ptr);
    filter_string_dup(&manifest->services.ptr[0], "mail");
}

// What is between the quotes of a JSON string, or nothing if it is something else. Escapes are
// left as they are: the word is looked for as the settings write it.
static filter_string_t unquoted(filter_string_t json) {
    while (json.len > 0 && isspace(json.ptr[json.len - 1])) json.len--;
    if (json.len < 2 || json.ptr[0] != '"' || json.ptr[json.len - 1] != '"') {
        return (filter_string_t){0};
    }
    return (filter_string_t){json.ptr + 1, json.len - 2};
}

// Whether a text has the word; capital letters of ASCII are as good as small ones.
static bool has(filter_string_t text, filter_string_t word) {
    for (size_t at = 0; at + word.len <= text.len; at++) {
        size_t same = 0;
        while (same < word.len && tolower(text.ptr[at + same]) == tolower(word.ptr[same])) same++;
        if (same == word.len) return true;
    }
    return false;
}

// The word to look for, from settings.json.
static bool word(filter_string_t *word, filter_string_t *error) {
    filter_string_t text;
    tar365_plugin_settings_get(&text);
    *word = unquoted(text);
    if (word->len == 0) {
        filter_string_dup(error, "settings: must be the word to look for, in double quotes");
        return false;
    }
    return true;
}

bool exports_filter_configure(filter_string_t *error) {
    filter_string_t wanted;
    return word(&wanted, error);
}

bool exports_filter_on_metadata(filter_metadata_decision_t *decision, filter_string_t *error) {
    filter_string_t wanted, pointer, subject;
    if (!word(&wanted, error)) return false;
    tar365_plugin_current_item_t item;
    tar365_plugin_current_get(&item);
    bool message = item.kind.len == 7 && memcmp(item.kind.ptr, "message", 7) == 0;
    decision->tag = TAR365_PLUGIN_TYPES_METADATA_DECISION_KEEP;
    filter_string_set(&pointer, "/subject");
    if (message && tar365_plugin_current_value(&pointer, &subject) &&
        has(unquoted(subject), wanted)) {
        decision->tag = TAR365_PLUGIN_TYPES_METADATA_DECISION_DROP;
        filter_string_dup(&decision->val.drop, "its subject");
    }
    // Nothing is freed: the instance, and its memory, end with this call.
    return true;
}

// tar365_plugin_current_read gives the next bytes, none at the end; to change a content, give the
// new one to tar365_plugin_current_write and answer ..._REPLACE.
bool exports_filter_on_content(filter_content_decision_t *decision, filter_string_t *error) {
    (void)error;
    decision->tag = TAR365_PLUGIN_TYPES_CONTENT_DECISION_KEEP;
    return true;
}
