//! Keeps what an expression over the metadata says is to be kept.
//!
//! The expression is CEL, <https://cel.dev>; what it may use is in `doc/plugins/keep-only.md`.

mod check;
mod expression;
mod variables;

use serde::Deserialize;
use tar365_plugin::{Filter, Item, Manifest, MetadataDecision, Phase, settings as read};

use expression::Expression;

/// What the operator can say.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// Stays if this is true.
    keep: Option<String>,
    /// Goes if this is true.
    drop: Option<String>,
    /// What the expression is asked about; all else stays. Empty is everything but folders.
    kinds: Vec<String>,
    /// What becomes of folders.
    folders: Folders,
}

/// What becomes of folders.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Folders {
    /// They stay if something below them does.
    #[default]
    Used,
    /// All stay.
    All,
    /// The expression is asked; those that it drops stay if something below them does.
    Asked,
}

/// The filter.
#[derive(Debug)]
pub struct KeepOnly {
    expression: Expression,
    /// The answer of the expression that keeps.
    keeps: bool,
    kinds: Vec<String>,
    folders: Folders,
}

impl Filter for KeepOnly {
    const MANIFEST: Manifest<'static> = Manifest {
        name: "keep-only",
        version: env!("CARGO_PKG_VERSION"),
        author: "tar365",
        description: "Keeps what an expression over the metadata (CEL) says is to be kept.",
        phases: &[Phase::Metadata],
        services: &[],
    };

    fn configure(settings: &str) -> Result<Self, String> {
        let settings: Settings = read::json(settings)?;
        let (name, text, keeps) = match (settings.keep, settings.drop) {
            (Some(text), None) => ("keep", text, true),
            (None, Some(text)) => ("drop", text, false),
            _ => return Err("settings: give one of `keep` and `drop`, an expression".into()),
        };
        let expression =
            Expression::new(text).map_err(|error| format!("settings: {name}: {error}"))?;
        Ok(KeepOnly { expression, keeps, kinds: settings.kinds, folders: settings.folders })
    }

    fn on_metadata(&self, item: &Item) -> Result<MetadataDecision, String> {
        if item.kind == "folder" {
            match self.folders {
                Folders::Used => {
                    return Ok(MetadataDecision::Drop("a folder with nothing below".into()));
                }
                Folders::All => return Ok(MetadataDecision::Keep),
                Folders::Asked => {}
            }
        } else if !self.kinds.is_empty() && !self.kinds.contains(&item.kind) {
            return Ok(MetadataDecision::Keep);
        }
        let answer = self.expression.evaluate(item)?;
        Ok(if answer == self.keeps {
            MetadataDecision::Keep
        } else {
            MetadataDecision::Drop(format!("the expression says {answer}"))
        })
    }
}

tar365_plugin::export!(KeepOnly);
