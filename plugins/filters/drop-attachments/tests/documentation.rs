//! The examples in the documentation.

use drop_attachments::DropAttachments;
use tar365_plugin::Filter;

#[test]
fn the_examples_are_good_settings() {
    let page = include_str!("../../../../doc/plugins/drop-attachments.md");
    let examples: Vec<&str> =
        page.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        DropAttachments::configure(example).unwrap_or_else(|error| panic!("{error}\n{example}"));
    }
}
