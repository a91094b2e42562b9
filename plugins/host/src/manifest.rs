//! What a plugin says of itself.

use crate::text::shown;

/// What a plugin wants to be asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// By metadata, before all others, whether it is to be held.
    Hold,
    /// By metadata.
    Metadata,
    /// By content.
    Content,
}

/// What a plugin says of itself, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Short name: `[a-z0-9-]`, at most 64.
    pub name: String,
    /// Its own version, at most 64 characters.
    pub version: String,
    /// Who answers for it; empty in contract 0.1.
    pub author: String,
    /// One sentence; empty in contract 0.1.
    pub description: String,
    /// At least one, each once.
    pub phases: Vec<Phase>,
    /// Services it wants to be asked about; none means all.
    pub services: Vec<String>,
    /// The version of the contract that it runs by: `1.0.0` or `0.1.0`.
    pub contract: &'static str,
}

impl Manifest {
    /// Checks what the guest says, and makes it fit for a terminal where its form is free. The
    /// error says what is wrong.
    pub(crate) fn check(mut self) -> Result<Self, String> {
        if !is_word(&self.name, 64) {
            return Err(format!(
                "the name {:?} is not 1 to 64 lower-case letters, digits and hyphens",
                shown(&self.name, 64)
            ));
        }
        let version = self.version.trim();
        if version.is_empty() || version.len() > 64 || version.chars().any(char::is_control) {
            return Err(format!(
                "the version {:?} is not 1 to 64 printable characters",
                shown(version, 64)
            ));
        }
        self.version = version.to_owned();
        if self.phases.is_empty() {
            return Err("it names no phase".into());
        }
        if has_duplicates(&self.phases) {
            return Err("it names a phase twice".into());
        }
        if let Some(service) = self.services.iter().find(|service| !is_word(service, 64)) {
            return Err(format!(
                "the service {:?} is not 1 to 64 lower-case letters, digits and hyphens",
                shown(service, 64)
            ));
        }
        if self.services.len() > 64 || has_duplicates(&self.services) {
            return Err("it names a service twice, or over 64 of them".into());
        }
        self.author = shown(self.author.trim(), 256);
        self.description = shown(self.description.trim(), 1024);
        Ok(self)
    }
}

/// The form of the names of plugins and services.
fn is_word(text: &str, longest: usize) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=longest).contains(&text.len()) && text.bytes().all(is_letter)
}

fn has_duplicates<T: Ord + Clone>(list: &[T]) -> bool {
    let mut sorted = list.to_vec();
    sorted.sort();
    sorted.windows(2).any(|pair| pair[0] == pair[1])
}
