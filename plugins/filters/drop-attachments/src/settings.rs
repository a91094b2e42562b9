//! What the operator can say.

use bytesize::ByteSize;
use mime_edit::Part;
use serde::{Deserialize, Deserializer};
use wildmatch::WildMatch;

/// Largest size that a condition can name: until an attachment's size is known to be on one side
/// of it, the attachment is held in memory, and an instance has 256 MiB.
pub const MAX_SIZE: ByteSize = ByteSize::mib(64);

/// All settings. Without any, every attachment is dropped.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// An attachment is dropped if one of these is true of it.
    drop: Vec<Conditions>,
    /// Unless one of these is.
    keep: Vec<Conditions>,
    /// What embedded messages are.
    pub messages: Messages,
    /// What becomes of signed mails.
    pub signed: Signed,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            drop: vec![Conditions::default()],
            keep: Vec::new(),
            messages: Messages::default(),
            signed: Signed::default(),
        }
    }
}

/// What embedded messages (`message/rfc822`) are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Messages {
    /// Mails of their own: they stay, and what is attached to them is dropped or kept like the
    /// attachments of the mail itself.
    #[default]
    Inside,
    /// Attachments like others.
    Whole,
}

/// What becomes of what stands in a `multipart/signed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signed {
    /// The same as of all else; the signature does not fit any more.
    #[default]
    Drop,
    /// It stays, so that the signature can be checked.
    Keep,
}

/// Conditions on an attachment: it fits if all that are given are true. None given fits all.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Conditions {
    /// One of these media types; `*` and `?` stand for any characters, case does not matter.
    types: Option<Globs>,
    /// One of these file names, likewise. An attachment without a name has the name "".
    names: Option<Globs>,
    /// At least so many bytes, decoded; a number or a text like `10 MiB`.
    at_least: Option<ByteSize>,
    /// At most so many bytes.
    at_most: Option<ByteSize>,
    /// Shown in the text of the mail, or not.
    inline: Option<bool>,
}

/// Globs of a list, not empty.
#[derive(Debug)]
struct Globs(Vec<WildMatch>);

impl<'de> Deserialize<'de> for Globs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let globs = Vec::<String>::deserialize(deserializer)?;
        if globs.is_empty() {
            return Err(serde::de::Error::custom("an empty list of globs fits nothing"));
        }
        let read = |glob: &String| WildMatch::new_case_insensitive(glob);
        Ok(Globs(globs.iter().map(read).collect()))
    }
}

impl Globs {
    fn fit(&self, text: &str) -> bool {
        self.0.iter().any(|glob| glob.matches(text))
    }
}

/// What is known of an attachment's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// It has so many bytes or more.
    AtLeast(u64),
    /// It has so many.
    Exactly(u64),
}

impl Size {
    /// Whether it is at least `bound`, if that is known.
    fn reaches(self, bound: ByteSize) -> Option<bool> {
        match self {
            Size::AtLeast(size) | Size::Exactly(size) if size >= bound.as_u64() => Some(true),
            Size::AtLeast(_) => None,
            Size::Exactly(_) => Some(false),
        }
    }

    /// Whether it is more than `bound`, if that is known.
    fn exceeds(self, bound: ByteSize) -> Option<bool> {
        self.reaches(ByteSize::b(bound.as_u64().saturating_add(1)))
    }
}

/// What becomes of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It stays.
    Keep,
    /// It goes.
    Drop,
    /// That depends on its size.
    Unknown,
}

impl Settings {
    /// Says what is wrong with them.
    pub fn check(&self) -> Result<(), String> {
        for (list, name) in [(&self.drop, "drop"), (&self.keep, "keep")] {
            for (index, conditions) in list.iter().enumerate() {
                conditions
                    .check()
                    .map_err(|error| format!("settings: {name}[{index}]: {error}"))?;
            }
        }
        if self.drop.is_empty() {
            return Err("settings: drop: the list is empty, so nothing would be dropped".into());
        }
        Ok(())
    }

    /// What becomes of a leaf, or of an embedded message as a whole, by what is known of it.
    pub fn verdict(&self, part: &Part, size: Size) -> Verdict {
        let in_signed = part.within.iter().any(|within| within == "multipart/signed");
        if is_of_the_mail(part) || in_signed && self.signed == Signed::Keep {
            return Verdict::Keep;
        }
        let fit = |list: &[Conditions]| any(list.iter().map(|one| one.fit(part, size)));
        match (fit(&self.drop), fit(&self.keep)) {
            (Some(false), _) | (_, Some(true)) => Verdict::Keep,
            (Some(true), Some(false)) => Verdict::Drop,
            _ => Verdict::Unknown,
        }
    }
}

/// True for parts that are the mail itself though they look like attachments: bodies, texts to
/// choose among, signatures, and what is encrypted or signed as a whole.
fn is_of_the_mail(part: &Part) -> bool {
    if !part.is_attachment() {
        return true;
    }
    let parent = part.parent().unwrap_or_default();
    match part.media_type.as_str() {
        "application/pkcs7-signature"
        | "application/x-pkcs7-signature"
        | "application/pgp-signature" => parent == "multipart/signed",
        "application/pkcs7-mime" | "application/x-pkcs7-mime" => true,
        media_type => {
            parent == "multipart/encrypted"
                || parent == "multipart/alternative" && media_type.starts_with("text/")
        }
    }
}

impl Conditions {
    fn check(&self) -> Result<(), String> {
        for (size, name) in [(self.at_least, "at_least"), (self.at_most, "at_most")] {
            if size.is_some_and(|size| size > MAX_SIZE) {
                return Err(format!("{name}: sizes are compared up to {MAX_SIZE}"));
            }
        }
        match (self.at_least, self.at_most) {
            (Some(least), Some(most)) if least > most => {
                Err("at_least is more than at_most, so nothing fits".into())
            }
            _ => Ok(()),
        }
    }

    /// Whether all conditions are true; none if that depends on more of the size than is known.
    fn fit(&self, part: &Part, size: Size) -> Option<bool> {
        let types = self.types.as_ref().is_none_or(|types| types.fit(&part.media_type));
        let name = part.name.as_deref().unwrap_or_default();
        let names = self.names.as_ref().is_none_or(|names| names.fit(name));
        let inline = self.inline.is_none_or(|inline| inline == is_inline(part));
        if !(types && names && inline) {
            return Some(false);
        }
        let least = self.at_least.map_or(Some(true), |bound| size.reaches(bound));
        let most = self.at_most.map_or(Some(true), |bound| Some(!size.exceeds(bound)?));
        match (least, most) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        }
    }
}

/// Shown where the text refers to it: it says so, or says nothing and is part of HTML.
fn is_inline(part: &Part) -> bool {
    match part.disposition.as_deref() {
        Some(disposition) => disposition == "inline",
        None => part.content_id.is_some() && part.parent() == Some("multipart/related"),
    }
}

/// True if one is; false if all are; else not known.
fn any(all: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut known = Some(false);
    for one in all {
        match one {
            Some(true) => return Some(true),
            Some(false) => {}
            None => known = None,
        }
    }
    known
}
