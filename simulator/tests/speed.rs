//! A large mailbox must cost neither memory nor patience.

mod client;

use std::time::Instant;

use client::Client;
use simulator::Options;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_mails() {
    let options = Options {
        users: 1,
        mails: 1_000_000,
        limits: None,
        log_capacity: 0,
        gzip: false,
        ..Options::default()
    };
    let client = Client::new(options).await;
    let user = client.member();
    let select = "$select=id,subject,receivedDateTime,changeKey,parentFolderId,isRead,from,internetMessageId";
    let start = Instant::now();
    let mut rows = 0;
    let mut ids = Vec::new();
    let mut link = format!("/users/{user}/mailFolders/inbox/messages/delta?{select}");
    for _ in 0..20 {
        let page = client
            .get_with(&link, &[client::IMMUTABLE, ("prefer", "odata.maxpagesize=1000")])
            .await;
        rows += page.rows().len();
        ids.extend(client::ids(page.rows()).into_iter().take(150).map(str::to_owned));
        link = page.next().unwrap().to_owned();
    }
    let listed = rows as f64 / start.elapsed().as_secs_f64();
    let start = Instant::now();
    let mut bytes = 0;
    for id in &ids {
        bytes += client.get(&format!("/users/{user}/messages/{id}/$value")).await.bytes.len();
    }
    let fetched = ids.len() as f64 / start.elapsed().as_secs_f64();
    let deep = client
        .get(&format!("/users/{user}/mailFolders/inbox/messages?$skip=349000&{select}"))
        .await;
    assert_eq!(deep.rows().len(), 10);
    let memory = resident();
    // Far below what is usual, so that a busy machine does not fail the test.
    assert!(
        listed > 2_000.0 && fetched > 500.0,
        "{listed:.0} rows/s, {fetched:.0} mails/s of {} bytes",
        bytes / ids.len()
    );
    assert!(memory.is_none_or(|memory| memory < 300_000));
}

/// The process's memory in KiB, where the system tells.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
