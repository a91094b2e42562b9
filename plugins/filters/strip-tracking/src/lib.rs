//! Takes out of mails what reports on who reads them: tracking pixels and tracking parameters of
//! links; and, if asked, puts the destination in place of a redirector's link.
//!
//! What is known of them is in [`known`]; see `doc/plugins/strip-tracking.md`.

mod html;
pub mod known;
mod link;

use std::cell::RefCell;

use mime_edit::{Half, Outcome, Part, edit_texts};
use serde::Deserialize;
use tar365_plugin::{
    Content, ContentDecision, Filter, Item, Manifest, Phase, log, settings as read,
};

pub use html::{Rules, clean_html};
pub use link::{Links, clean_text};

/// Longest text part that is looked into, in bytes as it is encoded. Of a longer one several
/// copies would not fit into an instance.
const MAX_TEXT: usize = 8 * 1024 * 1024;

/// What the operator can say.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// Takes out tracking pixels.
    pixels: bool,
    /// Addresses of more tracking pixels: globs over `host/path?query`.
    pixel_addresses: Vec<String>,
    /// Takes out tracking parameters.
    parameters: bool,
    /// Names of more parameters: globs.
    more_parameters: Vec<String>,
    /// Names of parameters that stay: globs.
    keep_parameters: Vec<String>,
    /// Puts destinations in place of redirectors' links.
    unwrap: bool,
    /// Looks for links in plain text too.
    plain: bool,
    /// What becomes of signed mails.
    signed: Signed,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            pixels: true,
            pixel_addresses: Vec::new(),
            parameters: true,
            more_parameters: Vec::new(),
            keep_parameters: Vec::new(),
            unwrap: false,
            plain: true,
            signed: Signed::default(),
        }
    }
}

/// What becomes of what stands in a `multipart/signed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Signed {
    /// It stays, so that the signature can be checked.
    #[default]
    Keep,
    /// The same as of all else; the signature does not fit any more.
    Change,
}

/// The filter.
#[derive(Debug)]
pub struct StripTracking {
    rules: Rules,
    plain: bool,
    signed: Signed,
}

impl StripTracking {
    fn wants(&self, part: &Part) -> bool {
        let signed = part.within.iter().any(|within| within == "multipart/signed");
        if part.is_attachment() || signed && self.signed == Signed::Keep {
            return false;
        }
        is_html(part) || self.plain && part.media_type == "text/plain"
    }
}

impl Filter for StripTracking {
    const MANIFEST: Manifest<'static> = Manifest {
        name: "strip-tracking",
        version: env!("CARGO_PKG_VERSION"),
        author: "tar365",
        description: "Takes tracking pixels and tracking parameters out of mails, and unwraps \
                      redirectors if asked.",
        phases: &[Phase::Content],
        services: &["mail"],
    };

    fn configure(settings: &str) -> Result<Self, String> {
        let settings: Settings = read::json(settings)?;
        for (name, list) in [
            ("pixel_addresses", &settings.pixel_addresses),
            ("more_parameters", &settings.more_parameters),
            ("keep_parameters", &settings.keep_parameters),
        ] {
            if let Some(index) = list.iter().position(|glob| glob.trim().is_empty()) {
                return Err(format!("settings: {name}[{index}]: an empty glob fits nothing"));
            }
        }
        if !(settings.pixels || settings.parameters || settings.unwrap) {
            return Err("settings: pixels, parameters, unwrap: all are off".into());
        }
        let links = Links::new(
            settings.parameters,
            &settings.more_parameters,
            &settings.keep_parameters,
            settings.unwrap,
        );
        let rules = Rules::new(links, settings.pixels, &settings.pixel_addresses);
        Ok(StripTracking { rules, plain: settings.plain, signed: settings.signed })
    }

    fn on_content(
        &self,
        item: &Item,
        content: &mut Content<'_>,
    ) -> Result<ContentDecision, String> {
        if item.kind != "message" {
            return Ok(ContentDecision::Keep);
        }
        let content = RefCell::new(content);
        let edit = |part: &Part, text: &str| {
            if is_html(part) {
                clean_html(text, &self.rules)
            } else {
                clean_text(text, &self.rules.links)
            }
        };
        let wants = |part: &Part| self.wants(part);
        let Outcome { changed, too_long } =
            edit_texts(Half(&content), Half(&content), MAX_TEXT, wants, edit)
                .map_err(|error| format!("the mail can't be read: {error}"))?;
        if too_long > 0 {
            log::warn(format_args!("{too_long} texts of over 8 MiB were not looked into"));
        }
        Ok(if changed { ContentDecision::Replace } else { ContentDecision::Keep })
    }
}

fn is_html(part: &Part) -> bool {
    matches!(part.media_type.as_str(), "text/html" | "text/x-amp-html")
}

tar365_plugin::export!(StripTracking);
