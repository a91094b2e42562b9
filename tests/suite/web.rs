//! A web server that gives parts of one file, counts what it gives, and misbehaves as told.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

/// What stands behind the `?` of the address: whoever has it has the file.
pub const SECRET: &str = "sv=2026&sig=tr3asure";

/// How the server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// As RFC 9110 has it.
    Good,
    /// A `Range` is ignored: 200 and all of the file.
    NoParts,
    /// From this request on it is another version of the file, and 200 as `If-Range` wants it.
    Changes(u64),
    /// The same by a server that ignores `If-Range`: another tag, or another time if there are no
    /// tags.
    ChangesSilently { after: u64, tagged: bool },
    /// Every so many requests are answered with 503.
    Unavailable(u64),
    /// Every so many answers break off in the middle.
    Truncates(u64),
    /// Every so many answers are parts that begin elsewhere.
    Elsewhere(u64),
    /// Answers have half of what was asked for, and say so.
    Stingy,
    /// Every answer has this status.
    Status(u16),
}

/// A server of one file, at an address with a secret in it.
pub struct Web {
    address: String,
    counts: Arc<Mutex<Counts>>,
}

/// What was asked of a server.
#[derive(Debug, Default, Clone)]
pub struct Counts {
    pub requests: u64,
    /// Bytes of contents that went out.
    pub bytes: u64,
    /// Requests that had the secret.
    pub authorized: u64,
}

impl Web {
    pub fn serve(path: &Path, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let counts = Arc::new(Mutex::new(Counts::default()));
        let served =
            Served { file: File::open(path).unwrap(), manner, counts: Arc::clone(&counts) };
        let served = Arc::new(served);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let served = Arc::clone(&served);
                // Whoever hangs up ends the conversation.
                std::thread::spawn(move || drop(served.talk(stream.unwrap())));
            }
        });
        Self { address, counts }
    }

    pub fn url(&self) -> String {
        format!("http://eve:pa55word@{}/backup/m365.tar?{SECRET}", self.address)
    }

    pub fn counts(&self) -> Counts {
        self.counts.lock().unwrap().clone()
    }

    /// What was asked since the last time.
    pub fn take(&self) -> Counts {
        std::mem::take(&mut *self.counts.lock().unwrap())
    }
}

struct Served {
    file: File,
    manner: Manner,
    counts: Arc<Mutex<Counts>>,
}

impl Served {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap()
    }

    fn talk(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut input = BufReader::new(stream.try_clone()?);
        let mut output = stream;
        loop {
            let mut line = String::new();
            if input.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let mut headers = BTreeMap::new();
            loop {
                let mut header = String::new();
                input.read_line(&mut header)?;
                match header.trim().split_once(": ") {
                    Some((name, value)) => headers.insert(name.to_lowercase(), value.to_owned()),
                    None => break,
                };
            }
            if !self.answer(&line, &headers, &mut output)? {
                return Ok(());
            }
        }
    }

    /// False if the connection is to be closed.
    fn answer(
        &self,
        line: &str,
        headers: &BTreeMap<String, String>,
        output: &mut TcpStream,
    ) -> std::io::Result<bool> {
        let number = {
            let mut counts = self.counts();
            counts.requests += 1;
            counts.authorized += u64::from(line.contains(SECRET));
            counts.requests
        };
        let every = |n: u64| number % n == 0;
        let size = self.file.metadata()?.len();
        let range = headers.get("range").and_then(|range| range.strip_prefix("bytes="));
        let (first, last) = range.and_then(|range| range.split_once('-')).unwrap();
        let (first, last): (u64, u64) = (first.parse().unwrap(), last.parse().unwrap());
        let mut last = last.min(size - 1);
        let version = match self.manner {
            Manner::Changes(after) | Manner::ChangesSilently { after, .. } if number > after => 2,
            _ => 1,
        };
        let tag = format!("\"v{version}\"");
        let status = match self.manner {
            Manner::Status(status) => status,
            Manner::Unavailable(n) if every(n) => 503,
            Manner::NoParts => 200,
            Manner::Changes(_) if headers.get("if-range").is_some_and(|known| *known != tag) => 200,
            _ => 206,
        };
        if !matches!(status, 200 | 206) {
            write!(output, "HTTP/1.1 {status} No\r\nContent-Length: 4\r\n\r\nNo!\n")?;
            return Ok(true);
        }
        if self.manner == Manner::Stingy {
            last = first + (last - first) / 2;
        }
        let (first, last) = if status == 200 { (0, size - 1) } else { (first, last) };
        let mut length = usize::try_from(last - first + 1).unwrap();
        let elsewhere = matches!(self.manner, Manner::Elsewhere(n) if every(n) && first > 0);
        let said = first - u64::from(elsewhere);
        let version = match self.manner {
            Manner::ChangesSilently { tagged: false, .. } => {
                format!("Last-Modified: Sun, 0{version} Nov 2026 10:00:00 GMT")
            }
            _ => format!("ETag: {tag}"),
        };
        let part = if status == 206 {
            format!("Content-Range: bytes {said}-{last}/{size}\r\n")
        } else {
            String::new()
        };
        let head = format!("HTTP/1.1 {status} Here\r\n{version}\r\n{part}Content-Length: {length}");
        write!(output, "{head}\r\n\r\n")?;
        let breaks = matches!(self.manner, Manner::Truncates(n) if every(n));
        if breaks {
            length /= 2;
        }
        self.send(first, length, output)?;
        Ok(!breaks)
    }

    fn send(&self, mut at: u64, mut length: usize, output: &mut TcpStream) -> std::io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        while length > 0 {
            let most = buffer.len().min(length);
            let read = self.file.read_at(&mut buffer[..most], at)?;
            output.write_all(&buffer[..read])?;
            self.counts().bytes += read as u64;
            at += read as u64;
            length -= read;
        }
        Ok(())
    }
}
