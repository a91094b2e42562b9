//! How the process ends: one code, one chain of causes, one hint.

use std::error::Error as StdError;
use std::fmt;
use std::io::{self, ErrorKind};
use std::process::ExitCode;

/// The documented exit codes (README, design 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    Success,
    /// Fatal: no seal. For readers of archives: the archive is bad.
    Fatal,
    Usage,
    /// A complete stream in which more is missing than tolerated.
    Missing,
    ConsumerGone,
    TryAgain,
    Refused,
    Interrupted,
    Terminated,
}

impl Code {
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Fatal => 1,
            Self::Usage => 2,
            Self::Missing => 3,
            Self::ConsumerGone => 74,
            Self::TryAgain => 75,
            Self::Refused => 77,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code.number())
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    message: String,
    hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::Usage, message)
    }

    /// With the chain of causes of `error` behind `doing`.
    pub(crate) fn because(code: Code, doing: &str, error: &dyn StdError) -> Self {
        let chain = chain(error);
        let message = if doing.is_empty() { chain } else { format!("{doing}: {chain}") };
        Self::new(code, message)
    }

    /// What can't be opened or started. That it is not there, or not for us, is for the user to
    /// mend; what the machine lacks now (room, processes, open files) it may have for the next
    /// stream.
    pub(crate) fn not_opened(doing: &str, error: &io::Error) -> Self {
        const NOT_EXECUTABLE: i32 = rustix::io::Errno::NOEXEC.raw_os_error();
        let is_wrong = matches!(
            error.kind(),
            ErrorKind::NotFound
                | ErrorKind::PermissionDenied
                | ErrorKind::NotADirectory
                | ErrorKind::IsADirectory
                | ErrorKind::InvalidInput
                | ErrorKind::InvalidFilename
                | ErrorKind::ReadOnlyFilesystem
                | ErrorKind::ArgumentListTooLong
        );
        let is_wrong = is_wrong || error.raw_os_error() == Some(NOT_EXECUTABLE);
        Self::because(if is_wrong { Code::Usage } else { Code::Fatal }, doing, error)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// An error and its causes, outermost first, each said once.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

impl From<graph::Error> for Failure {
    fn from(error: graph::Error) -> Self {
        let failure = Self::because(graph_code(&error), "", &error);
        match error.hint() {
            Some(hint) => failure.hint(hint.to_owned()),
            None => failure,
        }
    }
}

fn graph_code(error: &graph::Error) -> Code {
    use graph::ErrorKind;
    match error.kind() {
        ErrorKind::Credentials | ErrorKind::Permission => Code::Refused,
        ErrorKind::Throttled | ErrorKind::Unreachable => Code::TryAgain,
        ErrorKind::CaCertificate | ErrorKind::Configuration | ErrorKind::Local | ErrorKind::Tls => {
            Code::Usage
        }
        _ => Code::Fatal,
    }
}

impl From<exporter::Error> for Failure {
    fn from(error: exporter::Error) -> Self {
        use exporter::Error;
        let code = match &error {
            Error::NoOwner { .. } | Error::Base { .. } => Code::Usage,
            Error::Refused { .. } => Code::Refused,
            Error::Graph { source, .. } => graph_code(source),
            Error::ConsumerGone(_) => Code::ConsumerGone,
            Error::Interrupted => Code::Interrupted,
            _ => Code::Fatal,
        };
        let failure = Self::because(code, "", &error);
        let hint = match &error {
            Error::NoOwner { .. } => Some(
                "--user takes a UPN, an object id or an earlier address, --group a mail address, \
                 a name or an object id, with * and ?"
                    .to_owned(),
            ),
            Error::Refused { .. } => Some(
                "is the permission consented for the app? `tar365 doctor` lists what is missing"
                    .to_owned(),
            ),
            Error::Graph { source, .. } => source.hint().map(str::to_owned),
            Error::Spool { source, .. } if source.kind() == ErrorKind::StorageFull => Some(
                "give more room with --spool-dir, or use less of it with --spool-limit".to_owned(),
            ),
            Error::Spool { .. }
            | Error::Inventory { .. }
            | Error::Archive(archive::Error::Spool { .. }) => {
                Some("--spool-dir names another directory for temporary files".to_owned())
            }
            Error::Base { .. } | Error::BadBase(_) => Some(
                "--base-missing full is for no base at all; without --base everything is fetched"
                    .to_owned(),
            ),
            Error::ConsumerGone(_) => {
                Some("look at the messages of the program that reads the stream".to_owned())
            }
            _ => None,
        };
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<importer::Error> for Failure {
    fn from(error: importer::Error) -> Self {
        use importer::Error;
        match error {
            Error::Archive(error) => error.into(),
            Error::Usage { what, hint } => Self::usage(what).hint(hint),
            error => {
                let code = match &error {
                    Error::Graph { source, .. } => graph_code(source),
                    Error::Imap { refused: true, .. } => Code::Refused,
                    Error::Dav { cause: "refused", .. } => Code::Refused,
                    Error::Imap { .. } | Error::Dav { .. } => Code::TryAgain,
                    Error::Journal { .. } => Code::Usage,
                    _ => Code::Fatal,
                };
                let hint = match &error {
                    Error::Graph { source, .. } => source.hint().map(str::to_owned),
                    Error::Spool { .. } => {
                        Some("--spool-dir names another directory for temporary files".to_owned())
                    }
                    Error::Journal { .. } => Some("--journal names another file".to_owned()),
                    _ => None,
                };
                let failure = Self::because(code, "", &error);
                match hint {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                }
            }
        }
    }
}

impl From<archive::Error> for Failure {
    fn from(error: archive::Error) -> Self {
        use archive::Error;
        let code = match &error {
            Error::Selection { .. } => Code::Usage,
            Error::Write { source, .. } if source.kind() == ErrorKind::BrokenPipe => {
                Code::ConsumerGone
            }
            _ => Code::Fatal,
        };
        Self::because(code, "", &error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_lacks_is_no_mistake_of_the_user() {
        use rustix::io::Errno;
        let code = |errno: Errno| Failure::not_opened("starting it", &errno.into()).code;
        for wrong in [Errno::NOENT, Errno::ACCESS, Errno::NOTDIR, Errno::ISDIR, Errno::NOEXEC] {
            assert_eq!(code(wrong), Code::Usage, "{wrong}");
        }
        for lacking in [Errno::NOSPC, Errno::MFILE, Errno::AGAIN, Errno::IO, Errno::NOMEM] {
            assert_eq!(code(lacking), Code::Fatal, "{lacking}");
        }
    }
}
