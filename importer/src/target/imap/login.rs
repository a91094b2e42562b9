//! From an address to a session: TCP, TLS, who we are, what the server can.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::name::quoted;
use super::wire::{Failure, Reply, Session, Socket};
use super::{Credentials, ImapTarget};
use crate::error::Error;

const CONNECT: Duration = Duration::from_secs(30);
/// More than any NAMESPACE answer has.
const MOST_OF_NAMESPACES: usize = 64 * 1024;

/// Connects and logs in.
pub(super) async fn session(target: &ImapTarget) -> Result<Session, Failure> {
    let host = target.host.as_str();
    let connecting = TcpStream::connect((host, target.port));
    let tcp = match timeout(CONNECT, connecting).await {
        Ok(Ok(tcp)) => tcp,
        Ok(Err(error)) => return Err(Failure::Lost(error.to_string())),
        Err(_) => return Err(Failure::Lost("nobody answers".to_owned())),
    };
    // Commands are small and wait for their answers.
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    let is_near = tcp.peer_addr().is_ok_and(|peer| peer.ip().is_loopback());
    let mut session = if target.tls {
        let mut session = Session::new(secure(target, Box::new(tcp)).await?);
        session.greeting().await?;
        session
    } else {
        start(target, tcp, is_near).await?
    };
    session.learn_capabilities().await?;
    log_in(target, &mut session).await?;
    session.learn_capabilities().await?;
    Ok(session)
}

/// Begins without TLS, and goes over to it if the server offers that.
async fn start(target: &ImapTarget, tcp: TcpStream, is_near: bool) -> Result<Session, Failure> {
    let mut session = Session::new(Box::new(tcp));
    session.greeting().await?;
    session.learn_capabilities().await?;
    if session.can("STARTTLS") {
        session.must("start TLS", "STARTTLS", |_| ()).await?;
        return Ok(Session::new(secure(target, session.into_socket()).await?));
    }
    if is_near {
        return Ok(session);
    }
    Err(Failure::Final(Error::Usage {
        what: format!("{} offers no TLS, so nobody logs in there", target.host),
        hint: "use imaps://",
    }))
}

async fn secure(target: &ImapTarget, socket: Box<dyn Socket>) -> Result<Box<dyn Socket>, Failure> {
    let config = tls(target.ca_certificates_pem.as_deref())?;
    let name = ServerName::try_from(target.host.clone()).map_err(|_| Error::Usage {
        what: format!("{} is no name of a server", target.host),
        hint: "imaps://user@host[:port]/[folder]",
    })?;
    match timeout(CONNECT, TlsConnector::from(Arc::new(config)).connect(name, socket)).await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) => {
            let is_ours = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
            if !is_ours {
                return Err(Failure::Lost(error.to_string()));
            }
            Err(Failure::Final(Error::Imap {
                doing: format!("set up TLS with {}", target.host),
                message: error.to_string(),
                fatal: true,
                refused: false,
            }))
        }
        Err(_) => Err(Failure::Lost("nobody answers".to_owned())),
    }
}

async fn log_in(target: &ImapTarget, session: &mut Session) -> Result<(), Failure> {
    let user = &target.user;
    let before = std::mem::take(&mut session.capabilities);
    let can = |capability: &str| before.iter().any(|has| has == capability);
    let initial = can("SASL-IR");
    let (mechanism, answer) = match &target.credentials {
        Credentials::XOAuth2(token) if can("AUTH=XOAUTH2") || !can("AUTH=OAUTHBEARER") => {
            ("XOAUTH2", format!("user={user}\x01auth=Bearer {token}\x01\x01"))
        }
        Credentials::XOAuth2(token) => {
            // RFC 7628, 3.1: what separates the parts of the name is escaped.
            let name = user.replace('=', "=3D").replace(',', "=2C");
            let (host, port) = (&target.host, target.port);
            let rest = format!("host={host}\x01port={port}\x01auth=Bearer {token}\x01\x01");
            ("OAUTHBEARER", format!("n,a={name},\x01{rest}"))
        }
        Credentials::Password(password) if can("AUTH=PLAIN") => {
            ("PLAIN", format!("\0{user}\0{password}"))
        }
        Credentials::Password(password) => {
            let plain = |text: &str| text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
            if can("LOGINDISABLED") || !plain(user) || !plain(password) {
                return Err(refusal(target, "it offers no way to log in with this password"));
            }
            let command = format!("LOGIN {} {}", quoted(user), quoted(password));
            let reply = session.command(&command, |_| ()).await?;
            return settle(target, &reply);
        }
    };
    let answer = STANDARD.encode(answer);
    let (command, mut answer) = if initial {
        (format!("AUTHENTICATE {mechanism} {answer}"), None)
    } else {
        (format!("AUTHENTICATE {mechanism}"), Some(answer))
    };
    let tag = session.send(&command).await?;
    loop {
        if let Some(reply) = session.go_ahead(&tag).await? {
            return settle(target, &reply);
        }
        // After our answer the server may explain what it does not like, and wants to hear
        // something before it says no: an empty line, or for OAUTHBEARER a \x01 (RFC 7628, 3.2.3).
        let line = answer.take();
        let nothing = if mechanism == "OAUTHBEARER" { "AQ==" } else { "" };
        session.send_line(line.as_deref().unwrap_or(nothing)).await?;
    }
}

fn settle(target: &ImapTarget, reply: &Reply) -> Result<(), Failure> {
    if reply.ok {
        return Ok(());
    }
    match reply.code.as_str() {
        "UNAVAILABLE" | "INUSE" | "SERVERBUG" | "THROTTLED" => {
            Err(Failure::Lost(reply.text.clone()))
        }
        _ => Err(refusal(target, &reply.text)),
    }
}

/// The server does not let us in. Its words are repeated unless they repeat the secret.
fn refusal(target: &ImapTarget, words: &str) -> Failure {
    let (Credentials::Password(secret) | Credentials::XOAuth2(secret)) = &target.credentials;
    let indiscreet = !secret.is_empty() && words.contains(secret.as_str());
    let message = if indiscreet { "the server says no" } else { words };
    Failure::Final(Error::Imap {
        doing: format!("log in as {}@{}", target.user, target.host),
        message: message.to_owned(),
        fatal: true,
        refused: true,
    })
}

/// What the names of the user's own mailboxes begin with (RFC 2342), if the server has a rule.
///
/// The parser does not know the answer, so it is read from the bare connection, when nothing else
/// is under way on it.
pub(super) async fn namespace(session: &mut Session) -> Result<String, Failure> {
    if !session.can("NAMESPACE") {
        return Ok(String::new());
    }
    // Half an answer must not be left for the parser.
    session.broken = true;
    let socket = session.bare();
    let lost = |error: std::io::Error| Failure::Lost(error.to_string());
    let ask = async {
        socket.write_all(b"N0 NAMESPACE\r\n").await.map_err(lost)?;
        socket.flush().await.map_err(lost)?;
        let mut answer = Vec::new();
        while answer.len() < MOST_OF_NAMESPACES && !is_ended(&answer) {
            if socket.read_buf(&mut answer).await.map_err(lost)? == 0 {
                return Err(Failure::Lost("the server hung up".to_owned()));
            }
        }
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = timeout(CONNECT, ask)
        .await
        .unwrap_or_else(|_| Err(Failure::Lost("the server does not answer".to_owned())))?;
    session.broken = false;
    Ok(personal_prefix(&answer).unwrap_or_default())
}

/// Whether the tagged line is there to its end.
fn is_ended(answer: &[u8]) -> bool {
    let last =
        answer.strip_suffix(b"\r\n").and_then(|lines| lines.split(|b| *b == b'\n').next_back());
    last.is_some_and(|line| line.starts_with(b"N0 "))
}

/// The first personal namespace's prefix in `* NAMESPACE (("INBOX." ".")) ...`.
fn personal_prefix(answer: &str) -> Option<String> {
    let mut lines = answer.split("\r\n");
    let line = lines.find_map(|line| line.strip_prefix("* NAMESPACE (("))?;
    let rest = line.trim_start().strip_prefix('"')?;
    let mut escaped = false;
    let end = rest.find(|c| {
        let is_end = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        is_end
    })?;
    Some(super::name::unquoted(&rest[..end]))
}

/// TLS with the same trust as towards Graph.
pub(super) fn tls(ca_certificates_pem: Option<&[u8]>) -> Result<rustls::ClientConfig, Error> {
    graph::client_tls(ca_certificates_pem).map_err(|error| Error::Usage {
        what: format!("the CA certificates are of no use: {}", crate::error::chain(&error)),
        hint: "give a PEM file of CA certificates",
    })
}

#[cfg(test)]
mod tests {
    use super::{is_ended, personal_prefix};

    #[test]
    fn namespaces() {
        for (answer, expected) in [
            ("* NAMESPACE ((\"\" \"/\")) NIL NIL\r\nN0 OK done\r\n", Some("")),
            ("* NAMESPACE ((\"INBOX.\" \".\")) NIL NIL\r\nN0 OK done\r\n", Some("INBOX.")),
            ("* NAMESPACE ((\"a\\\"b\" \".\")(\"x\" NIL)) NIL NIL\r\nN0 OK\r\n", Some("a\"b")),
            ("* NAMESPACE NIL NIL NIL\r\nN0 OK\r\n", None),
            ("N0 BAD what?\r\n", None),
        ] {
            assert_eq!(personal_prefix(answer).as_deref(), expected, "{answer}");
            assert!(is_ended(answer.as_bytes()), "{answer}");
            for cut in 0..answer.len() {
                assert!(!is_ended(&answer.as_bytes()[..cut]), "{answer} cut at {cut}");
            }
        }
    }
}
