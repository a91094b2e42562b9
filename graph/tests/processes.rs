//! Several processes of one host, one budget: counted at the service.

mod mock;

use std::process::{Child, Command};
use std::time::Duration;

use futures::future::join_all;
use graph::{Config, Graph, Prefer, Scope};
use mock::{Mock, Seen, json};

const URL: &str = "TAR365_TEST_URL";
const DIRECTORY: &str = "TAR365_TEST_DIRECTORY";
const REQUESTS: &str = "TAR365_TEST_REQUESTS";
const LIMIT: usize = 50;
const WINDOW: Duration = Duration::from_secs(2);

/// What each of the processes does: not a test by itself.
#[tokio::test]
async fn process() {
    let (Ok(url), Ok(directory), Ok(requests)) =
        (std::env::var(URL), std::env::var(DIRECTORY), std::env::var(REQUESTS))
    else {
        return;
    };
    let mut config = Config::new("contoso.example");
    config.graph_url = Some(url.parse().unwrap());
    config.login_url = Some(url.parse().unwrap());
    config.budgets = vec![format!("sharepoint={LIMIT}/{}", WINDOW.as_secs()).parse().unwrap()];
    config.pace_dir = Some(directory.into());
    let graph = Graph::new(config, mock::secret()).unwrap();
    let requests: usize = requests.parse().unwrap();
    let get = |_| graph.get(&Scope::SharePoint, "/sites/s", Prefer::none());
    let answers = join_all((0..requests).map(get)).await;
    assert!(answers.iter().all(Result::is_ok));
}

fn start(mock: &Mock, directory: &std::path::Path, requests: usize) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "process"]).stdout(std::process::Stdio::null());
    command.env(URL, mock.url.as_str()).env(DIRECTORY, directory);
    command.env(REQUESTS, requests.to_string()).spawn().unwrap()
}

fn densest(seen: &[Seen]) -> usize {
    let counts = seen
        .iter()
        .map(|first| seen.iter().filter(|s| s.at >= first.at && s.at < first.at + WINDOW).count());
    counts.max().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_share_a_budget_also_when_one_is_killed() {
    let mock = Mock::start(|seen| (!seen.path().contains("/oauth2/")).then(|| json("{}"))).await;
    let temporary = tempfile::tempdir().unwrap();
    let mut killed = start(&mock, temporary.path(), 100_000);
    while mock.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut others = [(); 2].map(|()| start(&mock, temporary.path(), 60));
    while mock.seen().len() < LIMIT {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let ended = tokio::task::spawn_blocking(move || {
        others.iter_mut().all(|other| other.wait().unwrap().success())
    });
    assert!(ended.await.unwrap());
    let seen = mock.seen();
    assert!(seen.len() >= 120, "{}", seen.len());
    assert!(densest(&seen) <= LIMIT, "{} in {WINDOW:?}", densest(&seen));
}
