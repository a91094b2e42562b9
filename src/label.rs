//! What a stream is called: `{name}` and `{id}` in commands and file names, TAR365_NAME and
//! TAR365_ID for the commands we run.

use std::path::{Path, PathBuf};
use std::process::Command;

use exporter::{Owner, OwnerKind};

use crate::exit::{Code, Failure};

const NAME: &str = "{name}";
const ID: &str = "{id}";

/// The name of an owner's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    /// Of `A-Z a-z 0-9 . _ @ -`, no dash or dot first. Unique and stable, whoever else comes or
    /// goes: the UPN in lower case, with a tag of the id where that can't be written; of a group its
    /// address with `-group` behind it.
    pub(crate) name: String,
    /// The object id, which no renaming changes.
    pub(crate) id: String,
}

impl Label {
    pub(crate) fn of(owner: &Owner) -> Self {
        let upn = owner.upn.to_lowercase();
        let plain = |c: char| c.is_ascii_alphanumeric() || "._@-".contains(c);
        let mut name: String = upn.chars().map(|c| if plain(c) { c } else { '_' }).collect();
        // A name must not look like an option, a hidden file or the last stream.
        if name != upn || name.starts_with(['-', '.', '_']) {
            name = format!("x{name}-{}", archive::path::tag(&owner.id));
        }
        // A user may be called as a group's address is; no domain ends like this.
        if owner.kind == OwnerKind::Group {
            name.push_str("-group");
        }
        Self { name, id: owner.id.clone() }
    }

    /// The last stream, which tells of the others. No user's is called so.
    pub(crate) fn tenant() -> Self {
        Self { name: "_tenant".to_owned(), id: "_tenant".to_owned() }
    }

    fn fill(&self, text: &str) -> String {
        text.replace(NAME, &self.name).replace(ID, &self.id)
    }

    pub(crate) fn path(&self, path: &Path) -> PathBuf {
        match path.to_str() {
            Some(text) => PathBuf::from(self.fill(text)),
            None => path.to_owned(),
        }
    }
}

/// Whether it is to be filled with a stream's name.
pub(crate) fn is_template(text: &str) -> bool {
    text.contains(NAME) || text.contains(ID)
}

/// A command line given to us, split into its words: no shell reads them. Names are filled in
/// after that, so that nothing in a name can become a word of its own.
pub(crate) fn command(line: &str, flag: &str, label: Option<&Label>) -> Result<Command, Failure> {
    let words =
        shell_words::split(line).map_err(|error| Failure::because(Code::Usage, flag, &error))?;
    let words: Vec<_> =
        words.iter().map(|word| label.map_or_else(|| word.clone(), |l| l.fill(word))).collect();
    let Some((program, arguments)) = words.split_first() else {
        return Err(Failure::usage(format!("{flag}: the command is empty")));
    };
    let mut command = Command::new(program);
    // It has no business with our credential.
    command.args(arguments).env_remove("TAR365_CLIENT_SECRET");
    if let Some(label) = label {
        command.env("TAR365_NAME", &label.name).env("TAR365_ID", &label.id);
    }
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(upn: &str) -> String {
        let user = serde_json::json!({"id": "7", "userPrincipalName": upn});
        Label::of(&Owner::of_user(&user).unwrap()).name
    }

    #[test]
    fn names_can_be_written_and_do_not_meet() {
        assert_eq!(named("Alice.O-Neil@contoso.com"), "alice.o-neil@contoso.com");
        let tag = archive::path::tag("7");
        assert_eq!(named("o'brien@a.b"), format!("xo_brien@a.b-{tag}"));
        assert_eq!(named("müller@a.b"), format!("xm_ller@a.b-{tag}"));
        assert_eq!(named("_tenant"), format!("x_tenant-{tag}"));
        assert_eq!(named("-rf@a.b"), format!("x-rf@a.b-{tag}"));
        assert_eq!(named("../../etc"), format!("x.._.._etc-{tag}"));
        let group = serde_json::json!({"id": "7", "mail": "Sales@a.b", "groupTypes": ["Unified"]});
        assert_eq!(Label::of(&Owner::of_user(&group).unwrap()).name, "sales@a.b-group");
    }

    #[test]
    fn a_name_is_no_word_of_its_own() {
        let label = Label { name: "a b; c".to_owned(), id: "{name}".to_owned() };
        let command = command("restic --tag {name} 'x {id}'", "--each", Some(&label)).unwrap();
        let words: Vec<_> = command.get_args().collect();
        assert_eq!(words, ["--tag", "a b; c", "x {name}"]);
        assert!(super::command("'", "--each", None).is_err());
        assert!(super::command(" ", "--each", None).is_err());
    }
}
