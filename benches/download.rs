//! A bare parallel downloader, to hold the exporter against: fetches the addresses on its stdin,
//! so many at a time, follows redirects, and throws the bytes away.
//!
//! `download CONCURRENCY < addresses`, with the access token in `$TOKEN`. A tab and a value for the
//! header `Prefer` may stand behind an address. Prints the bytes.

use std::io::BufRead;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use reqwest::Client;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use tokio::task::JoinSet;

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let count = std::env::args().nth(1).ok_or("how many at a time?")?.parse()?;
    let token = HeaderValue::try_from(format!("Bearer {}", std::env::var("TOKEN")?))?;
    let addresses = Arc::new(std::io::stdin().lock().lines().collect::<Result<Vec<_>, _>>()?);
    let (next, bytes) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU64::new(0)));
    // Compressed where the exporter asks for it. A redirect leads to another host, which is not
    // given the token.
    let client = Client::new();
    let mut workers = JoinSet::new();
    for _ in 0..count {
        let (client, token) = (client.clone(), token.clone());
        let (addresses, next, bytes) =
            (Arc::clone(&addresses), Arc::clone(&next), Arc::clone(&bytes));
        workers.spawn(async move {
            while let Some(address) = addresses.get(next.fetch_add(1, Ordering::Relaxed)) {
                let (address, prefer) = address.split_once('\t').unwrap_or((address, ""));
                let mut request = client.get(address).header(AUTHORIZATION, token.clone());
                if !prefer.is_empty() {
                    request = request.header("Prefer", prefer);
                }
                let mut answer = request.send().await?.error_for_status()?;
                while let Some(chunk) = answer.chunk().await? {
                    bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                }
            }
            Ok::<_, Error>(())
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended??;
    }
    let mut out = std::io::stdout().lock();
    std::io::Write::write_all(&mut out, format!("{}\n", bytes.load(Ordering::Relaxed)).as_bytes())?;
    Ok(())
}
