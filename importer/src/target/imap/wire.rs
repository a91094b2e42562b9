//! Commands and what the server answers, on one connection.
//!
//! async-imap cuts the answers out of the stream and parses them. The commands are written here:
//! its own APPEND and its errors lose the response codes, which decide what is done next.

use std::fmt::Debug;
use std::io;
use std::time::Duration;

use async_imap::Client;
use async_imap::imap_proto::{
    AttributeValue, Capability, MailboxDatum, Response, ResponseCode, Status,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::mail::Mail;
use super::mailbox::Selected;
use super::name::quoted;
use crate::error::Error;

/// How long the server may be silent while an answer is due, and slow to take some bytes.
const SILENCE: Duration = Duration::from_secs(300);
/// A mail above this is announced first, so that a server that does not want it need not get it.
const ANNOUNCED: u32 = 1 << 20;
/// Bytes of a mail asked for at a time when it is read back.
const WINDOW: u32 = 1 << 20;

/// What a connection runs over.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send + Sync + Debug {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync + Debug> Socket for T {}

/// Why something did not happen.
#[derive(Debug)]
pub(super) enum Failure {
    /// The connection is gone, or of no use now, as the text says: what was asked for may or may
    /// not have been done, and can be tried again on another.
    Lost(String),
    /// It is settled.
    Final(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

/// The end of a command.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) ok: bool,
    /// The response code's name in capitals, as `TRYCREATE`; empty if there is none.
    pub(super) code: String,
    pub(super) text: String,
    /// UIDVALIDITY and UID of what was appended (RFC 4315).
    pub(super) appended: Option<(u32, u32)>,
}

/// What the server says of a message.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) uid: u32,
    pub(super) size: u32,
    /// Seconds since 1970, if it is a date.
    pub(super) date: Option<i64>,
    pub(super) flags: Vec<String>,
}

/// A connection that is logged in.
#[derive(Debug)]
pub(super) struct Session {
    client: Client<Box<dyn Socket>>,
    tag: u32,
    /// In capitals.
    pub(super) capabilities: Vec<String>,
    /// What is selected.
    pub(super) selected: Option<(String, Selected)>,
    /// The last farewell of the server.
    bye: Option<String>,
    /// It is in the middle of something and can't be used any more.
    pub(super) broken: bool,
}

impl Session {
    pub(super) fn new(socket: Box<dyn Socket>) -> Self {
        Self {
            client: Client::new(socket),
            tag: 0,
            capabilities: Vec::new(),
            selected: None,
            bye: None,
            broken: false,
        }
    }

    /// What it runs over. What the server sent but nobody has read is gone: nothing that came
    /// before TLS is believed after it.
    pub(super) fn into_socket(self) -> Box<dyn Socket> {
        self.client.into_inner()
    }

    /// What it runs over, for what the parser does not know. Only while nothing is under way.
    pub(super) fn bare(&mut self) -> &mut Box<dyn Socket> {
        self.client.get_mut()
    }

    pub(super) fn can(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|has| has == capability)
    }

    /// Bytes that the server takes in one message, if it says so (RFC 7889).
    pub(super) fn append_limit(&self) -> Option<u64> {
        let limit = |capability: &String| capability.strip_prefix("APPENDLIMIT=")?.parse().ok();
        self.capabilities.iter().find_map(limit)
    }

    /// The server's first words.
    pub(super) async fn greeting(&mut self) -> Result<(), Failure> {
        let mut welcome = false;
        self.read(|response| {
            let Response::Data { status: Status::Ok | Status::PreAuth, outcome } = response else {
                return None;
            };
            welcome = true;
            let Some(ResponseCode::Capabilities(found)) = &outcome.code else {
                return Some(Vec::new());
            };
            Some(names(found))
        })
        .await
        .map(|capabilities| self.capabilities = capabilities.unwrap_or_default())?;
        if welcome { Ok(()) } else { Err(self.lost("it does not greet as an IMAP server")) }
    }

    /// Asks what the server can, unless it said so by itself.
    pub(super) async fn learn_capabilities(&mut self) -> Result<(), Failure> {
        if self.capabilities.is_empty() {
            self.command("CAPABILITY", |_| ()).await?;
        }
        Ok(())
    }

    /// Runs a command to its end, and shows what comes before it.
    pub(super) async fn command(
        &mut self,
        command: &str,
        see: impl FnMut(&Response<'_>) + Send,
    ) -> Result<Reply, Failure> {
        let tag = self.send(command).await?;
        self.end_of(&tag, see).await
    }

    /// Runs a command that must succeed.
    pub(super) async fn must(
        &mut self,
        doing: &str,
        command: &str,
        see: impl FnMut(&Response<'_>) + Send,
    ) -> Result<(), Failure> {
        let reply = self.command(command, see).await?;
        if reply.ok { Ok(()) } else { Err(reply.failure(doing)) }
    }

    /// Writes a command; gives its tag.
    pub(super) async fn send(&mut self, command: &str) -> Result<String, Failure> {
        self.tag += 1;
        let tag = format!("T{}", self.tag);
        self.write(format!("{tag} {command}\r\n").as_bytes()).await?;
        self.flush().await?;
        Ok(tag)
    }

    /// Writes a line that is no command of its own.
    pub(super) async fn send_line(&mut self, line: &str) -> Result<(), Failure> {
        self.write(format!("{line}\r\n").as_bytes()).await?;
        self.flush().await
    }

    /// Waits until the server wants more, or has ended the command.
    pub(super) async fn go_ahead(&mut self, tag: &str) -> Result<Option<Reply>, Failure> {
        loop {
            let step = self
                .read(|response| match response {
                    Response::Continue(_) => Some(None),
                    response => Reply::of(response, tag).map(Some),
                })
                .await?;
            if let Some(step) = step {
                return Ok(step);
            }
        }
    }

    /// Waits for the end of a command.
    pub(super) async fn end_of(
        &mut self,
        tag: &str,
        mut see: impl FnMut(&Response<'_>) + Send,
    ) -> Result<Reply, Failure> {
        let mut capabilities = None;
        loop {
            let end = self
                .read(|response| {
                    if let Response::Capabilities(found)
                    | Response::Done {
                        outcome:
                            async_imap::imap_proto::Outcome {
                                code: Some(ResponseCode::Capabilities(found)),
                                ..
                            },
                        ..
                    } = response
                    {
                        capabilities = Some(names(found));
                    }
                    see(response);
                    Reply::of(response, tag)
                })
                .await?;
            if let Some(reply) = end {
                if let Some(capabilities) = capabilities {
                    self.capabilities = capabilities;
                }
                return Ok(reply);
            }
        }
    }

    /// Puts a mail into a mailbox. `flags` is a list in brackets, `date` a `date-time`.
    pub(super) async fn append(
        &mut self,
        wire: &str,
        flags: &str,
        date: &str,
        mail: &Mail<'_>,
    ) -> Result<Reply, Failure> {
        let small = mail.size <= ANNOUNCED;
        let plus = small && (self.can("LITERAL+") || (mail.size <= 4096 && self.can("LITERAL-")));
        let (tilde, plus_sign) = (if mail.has_nul { "~" } else { "" }, if plus { "+" } else { "" });
        let unreadable = |source: io::Error| {
            Failure::Final(Error::Content { path: mail.path.to_owned(), source })
        };
        let mut pieces = mail.pieces().map_err(unreadable)?;
        self.tag += 1;
        let tag = format!("T{}", self.tag);
        let size = mail.size;
        let wire = quoted(wire);
        let line = format!("{tag} APPEND {wire} {flags} {date} {tilde}{{{size}{plus_sign}}}\r\n");
        self.write(line.as_bytes()).await?;
        if !plus {
            self.flush().await?;
            if let Some(refused) = self.go_ahead(&tag).await? {
                return Ok(refused);
            }
        }
        // From here on a command that is not whole can only be taken back by hanging up.
        self.broken = true;
        let mut left = u64::from(size);
        while let Some(piece) = pieces.next().map_err(unreadable)? {
            left = left
                .checked_sub(piece.len() as u64)
                .ok_or_else(|| unreadable(io::ErrorKind::InvalidData.into()))?;
            self.write(piece).await?;
        }
        if left > 0 {
            return Err(unreadable(io::ErrorKind::UnexpectedEof.into()));
        }
        self.write(b"\r\n").await?;
        self.flush().await?;
        let reply = self.end_of(&tag, |_| ()).await?;
        self.broken = false;
        Ok(reply)
    }

    /// What a FETCH of size, date and flags tells of messages; `set` is a set of UIDs.
    pub(super) async fn fetch(
        &mut self,
        set: &str,
        mut each: impl FnMut(Found) + Send,
    ) -> Result<(), Failure> {
        let command = format!("UID FETCH {set} (UID FLAGS INTERNALDATE RFC822.SIZE)");
        self.must("list messages", &command, |response| {
            if let Response::Fetch(_, values) = response
                && let Some(found) = found(values)
            {
                each(found);
            }
        })
        .await
    }

    /// SHA-256 of a message as it is stored; none if it is not there any more.
    pub(super) async fn sha256(&mut self, uid: u32) -> Result<Option<[u8; 32]>, Failure> {
        use sha2::{Digest, Sha256};
        let (mut digest, mut offset, mut there) = (Sha256::new(), 0_u32, false);
        loop {
            let command = format!("UID FETCH {uid} (UID BODY.PEEK[]<{offset}.{WINDOW}>)");
            let mut read = 0;
            self.must("read a message back", &command, |response| {
                let Response::Fetch(_, values) = response else { return };
                let ours = values.iter().any(|v| matches!(v, AttributeValue::Uid(u) if *u == uid));
                for value in values.iter().filter(|_| ours) {
                    if let AttributeValue::BodySection { data: Some(data), .. } = value {
                        digest.update(data);
                        read = u32::try_from(data.len()).unwrap_or(u32::MAX);
                        there = true;
                    }
                }
            })
            .await?;
            match offset.checked_add(read) {
                Some(next) if read >= WINDOW => offset = next,
                _ => return Ok(there.then(|| digest.finalize().into())),
            }
        }
    }

    /// Says good-bye, as far as anybody listens.
    pub(super) async fn logout(mut self) {
        if !self.broken
            && let Err(failure) = self.command("LOGOUT", |_| ()).await
        {
            tracing::debug!(?failure, "after LOGOUT");
        }
    }

    async fn read<T>(
        &mut self,
        mut see: impl FnMut(&Response<'_>) -> Option<T> + Send,
    ) -> Result<Option<T>, Failure> {
        let response = match timeout(SILENCE, self.client.read_response()).await {
            Ok(Ok(Some(response))) => response,
            Ok(Ok(None)) => {
                let what = self.bye.take().unwrap_or_else(|| "the server hung up".to_owned());
                return Err(self.lost(&what));
            }
            Ok(Err(error)) => {
                // The parser's errors quote what they could not parse, which may be long.
                let text: String = error.to_string().chars().take(200).collect();
                let what = self.bye.take().unwrap_or(text);
                return Err(self.lost(&what));
            }
            Err(_) => return Err(self.lost("the server does not answer")),
        };
        if let Response::Data { status: Status::Bye, outcome } = response.parsed() {
            self.bye = outcome.information.as_deref().map(str::to_owned);
        }
        Ok(see(response.parsed()))
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match timeout(SILENCE, self.client.get_mut().write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.lost(&error.to_string())),
            Err(_) => Err(self.lost("the server does not read")),
        }
    }

    async fn flush(&mut self) -> Result<(), Failure> {
        match timeout(SILENCE, self.client.get_mut().flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.lost(&error.to_string())),
            Err(_) => Err(self.lost("the server does not read")),
        }
    }

    fn lost(&mut self, what: &str) -> Failure {
        self.broken = true;
        Failure::Lost(what.to_owned())
    }
}

impl Reply {
    fn of(response: &Response<'_>, of: &str) -> Option<Self> {
        let Response::Done { tag, status, outcome } = response else { return None };
        if tag.0 != of {
            return None;
        }
        let text = outcome.information.as_deref().unwrap_or_default();
        let mut reply = Self {
            ok: *status == Status::Ok,
            code: String::new(),
            text: text.to_owned(),
            appended: None,
        };
        match &outcome.code {
            Some(ResponseCode::TryCreate) => reply.code = "TRYCREATE".to_owned(),
            Some(ResponseCode::AppendUid(validity, uids)) => {
                use async_imap::imap_proto::rfc4315::UidSetMember;
                reply.appended = match uids.as_slice() {
                    [UidSetMember::Uid(uid)] => Some((*validity, *uid)),
                    _ => None,
                };
            }
            Some(_) => {}
            // The parser leaves codes it does not know in the text.
            None => {
                if let Some((code, rest)) =
                    text.strip_prefix('[').and_then(|text| text.split_once(']'))
                {
                    let name = code.split(' ').next().unwrap_or_default();
                    reply.code = name.to_ascii_uppercase();
                    reply.text = rest.trim_start().to_owned();
                }
            }
        }
        Some(reply)
    }

    /// What a refusal means.
    pub(super) fn failure(self, doing: &str) -> Failure {
        match self.code.as_str() {
            "UNAVAILABLE" | "INUSE" | "THROTTLED" | "SERVERBUG" => Failure::Lost(self.text),
            "OVERQUOTA" => item("quota", doing, &self.text),
            "TOOBIG" | "LIMIT" => item("too-large", doing, &self.text),
            _ => Failure::Final(Error::Imap {
                doing: doing.to_owned(),
                message: self.text,
                fatal: false,
                refused: false,
            }),
        }
    }
}

fn item(cause: &'static str, doing: &str, text: &str) -> Failure {
    Failure::Final(Error::Item { cause, what: format!("{doing}: {text}") })
}

fn names(capabilities: &[Capability<'_>]) -> Vec<String> {
    let name = |capability: &Capability<'_>| match capability {
        Capability::Imap4rev1 => "IMAP4REV1".to_owned(),
        Capability::Auth(name) => format!("AUTH={}", name.to_ascii_uppercase()),
        Capability::Atom(name) => name.to_ascii_uppercase(),
    };
    capabilities.iter().map(name).collect()
}

fn found(values: &[AttributeValue<'_>]) -> Option<Found> {
    let mut found = Found::default();
    for value in values {
        match value {
            AttributeValue::Uid(uid) => found.uid = *uid,
            AttributeValue::Rfc822Size(size) => found.size = *size,
            AttributeValue::InternalDate(date) => found.date = parse_date(date),
            AttributeValue::Flags(flags) => {
                found.flags = flags.iter().map(|flag| flag.clone().into_owned()).collect();
            }
            _ => {}
        }
    }
    // A FETCH that nobody asked for tells of new flags, without the rest.
    (found.uid != 0 && found.date.is_some()).then_some(found)
}

/// RFC 3501 `date-time`: the day may begin with a blank.
fn parse_date(text: &str) -> Option<i64> {
    let date = chrono::DateTime::parse_from_str(text.trim(), "%d-%b-%Y %H:%M:%S %z").ok()?;
    Some(date.timestamp())
}

/// The `date-time` of an instant, in UTC and in quotes.
pub(super) fn date_time(seconds: i64) -> String {
    let date = chrono::DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    date.format("\"%d-%b-%Y %H:%M:%S +0000\"").to_string()
}

/// What a LIST tells: attributes as `\Sent`, delimiter, name.
pub(super) fn listed(response: &Response<'_>) -> Option<(Vec<String>, String, String)> {
    use async_imap::imap_proto::NameAttribute as Attribute;
    let Response::MailboxData(MailboxDatum::List(list)) = response else { return None };
    let attribute = |attribute: &Attribute<'_>| match attribute {
        Attribute::Extension(name) => name.to_ascii_lowercase(),
        known => format!("\\{known:?}").to_ascii_lowercase(),
    };
    let delimiter = list.delimiter.as_deref().map(super::name::unquoted).unwrap_or_default();
    let attributes = list.name_attributes.iter().map(attribute).collect();
    Some((attributes, delimiter, list.name.clone().into_owned()))
}

#[cfg(test)]
mod tests {
    use super::{date_time, parse_date};

    #[test]
    fn dates() {
        assert_eq!(date_time(0), "\"01-Jan-1970 00:00:00 +0000\"");
        assert_eq!(parse_date("17-Jul-1996 02:44:25 -0700"), Some(837_596_665));
        assert_eq!(parse_date(" 7-Jul-1996 02:44:25 +0000"), Some(836_707_465));
        for seconds in [0, 1, 951_782_400, 4_102_444_799] {
            assert_eq!(parse_date(date_time(seconds).trim_matches('"')), Some(seconds));
        }
        assert_eq!(parse_date("yesterday"), None);
    }
}
