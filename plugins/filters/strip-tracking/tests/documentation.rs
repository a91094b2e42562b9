//! The examples in the documentation.

use strip_tracking::StripTracking;
use tar365_plugin::Filter;

#[test]
fn the_examples_are_good_settings() {
    let page = include_str!("../../../../doc/plugins/strip-tracking.md");
    let examples: Vec<&str> =
        page.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        StripTracking::configure(example).unwrap_or_else(|error| panic!("{error}\n{example}"));
    }
}

#[test]
fn every_parameter_is_named() {
    let page = include_str!("../../../../doc/plugins/strip-tracking.md").to_lowercase();
    for parameter in strip_tracking::known::PARAMETERS {
        assert!(page.contains(&format!("`{parameter}`")), "{parameter}");
    }
}
