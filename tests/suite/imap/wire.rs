//! A wire between client and server that breaks where the server can't.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::dovecot::USER;

/// Between client and server; takes away the answer to every n-th APPEND and hangs up, when the
/// message is there and the client can't know.
pub(super) struct Wire {
    port: u16,
    pub(super) cut: Arc<AtomicUsize>,
}

impl Wire {
    /// `poison` is what it hangs up at when the client sends it; nothing if that is empty.
    pub(super) fn to(server: u16, every: usize, poison: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (cut, answers) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counter = Arc::clone(&cut);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || copy(from, to, poison.as_bytes()));
                let (cut, answers) = (Arc::clone(&counter), Arc::clone(&answers));
                std::thread::spawn(move || answer(server, client, every, &answers, &cut));
            }
        });
        Self { port, cut }
    }

    /// Where the client finds the server through it.
    pub(super) fn address(&self) -> String {
        format!("imap://{}@127.0.0.1:{}/", USER.replace('@', "%40"), self.port)
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, poison: &[u8]) {
    let mut buffer = [0; 65536];
    // Either end may go at any time.
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let bytes = &buffer[..read];
        let is_poisoned =
            !poison.is_empty() && bytes.windows(poison.len()).any(|window| window == poison);
        if is_poisoned || to.write_all(bytes).is_err() {
            break;
        }
    }
    for end in [from, to] {
        drop(end.shutdown(std::net::Shutdown::Both));
    }
}

fn answer(
    mut server: TcpStream,
    mut client: TcpStream,
    every: usize,
    answers: &AtomicUsize,
    cut: &AtomicUsize,
) {
    let mut buffer = [0; 65536];
    while let Ok(read @ 1..) = server.read(&mut buffer) {
        let bytes = &buffer[..read];
        if bytes.windows(10).any(|window| window == b"[APPENDUID")
            && answers.fetch_add(1, Ordering::SeqCst) % every == every - 1
        {
            cut.fetch_add(1, Ordering::SeqCst);
            break;
        }
        if client.write_all(bytes).is_err() {
            break;
        }
    }
    for end in [server, client] {
        drop(end.shutdown(std::net::Shutdown::Both));
    }
}
