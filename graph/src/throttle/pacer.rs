//! The scopes, and the tasks that wait to be admitted to them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::HeaderMap;
use tokio::sync::OwnedSemaphorePermit;
use tracing::warn;

use crate::Error;
use crate::config::{Config, Pace};
use crate::counters::Tally;
use crate::scope::Scope;
use crate::throttle::budgets::Rules;
use crate::throttle::lane::{Charge, Keeping, Lane};
use crate::throttle::memory::{Cost, Entry};
use crate::throttle::shared::{Shared, file_name};
use crate::throttle::signals::Signals;

/// Mailboxes known before the first search for idle ones.
const SWEEP_FROM: usize = 1024;

/// Who may send when. Everything is kept apart for each scope.
#[derive(Debug)]
pub(crate) struct Pacer {
    mailbox_rules: Arc<Rules>,
    connections: usize,
    backoff: Duration,
    patience: Duration,
    origin: Instant,
    mailboxes: Mutex<Mailboxes>,
    sharepoint: Arc<Lane>,
    directory: Arc<Lane>,
    other: Arc<Lane>,
}

#[derive(Debug, Default)]
struct Mailboxes {
    lanes: HashMap<String, Arc<Lane>>,
    sweep_at: usize,
}

/// The scope was told to pause for longer than our patience: how long it still is. It may have been
/// told to another process of this host, hours ago.
#[derive(Debug)]
pub(crate) struct PausedTooLong(Duration);

impl PausedTooLong {
    /// `error` with that.
    pub(crate) fn told(&self, error: Error) -> Error {
        error.with_message(format!("told to wait for {} s more", self.0.as_secs()))
    }
}

/// The right to send one request; a mailbox's connection with it until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    pub(crate) lane: Arc<Lane>,
    charge: Charge,
    /// How long it waited for a budget.
    pub(crate) paced: Duration,
    _connection: Option<OwnedSemaphorePermit>,
}

impl Pacer {
    /// `host` is the service's, `app` the application's id: with the tenant they name the file
    /// that processes share.
    pub(crate) fn new(config: &Config, host: &str, app: &str) -> Pacer {
        let origin = Instant::now();
        let shared = config.pace_dir.as_deref().filter(|_| config.pace != Pace::None);
        let shared = shared.and_then(|dir| share(dir, file_name(host, &config.tenant, app)));
        let tenant_wide = |name, number| {
            let keeping = match &shared {
                Some(shared) => Keeping::Shared(Arc::clone(shared), number),
                None => Keeping::Own(origin),
            };
            Arc::new(Lane::new(name, Arc::new(Rules::new(name, config)), None, keeping))
        };
        let (sharepoint, directory) = (tenant_wide("sharepoint", 0), tenant_wide("directory", 1));
        let rules = Arc::new(Rules::new("other", config));
        Pacer {
            mailbox_rules: Arc::new(Rules::new("mailbox", config)),
            connections: config.mailbox_connections.max(1),
            backoff: config.backoff,
            patience: config.patience,
            origin,
            mailboxes: Mutex::new(Mailboxes { lanes: HashMap::new(), sweep_at: SWEEP_FROM }),
            sharepoint,
            directory,
            other: Arc::new(Lane::new("other", rules, None, Keeping::Own(origin))),
        }
    }

    /// Waits for a connection, the end of a pause and `cost` of the budgets.
    pub(crate) async fn admit(
        &self,
        scope: &Scope,
        cost: Cost,
        tally: &Tally,
    ) -> Result<Permit, PausedTooLong> {
        let lane = self.lane(scope);
        let connection = match &lane.connections {
            // Nobody closes the semaphore.
            Some(connections) => Arc::clone(connections).acquire_owned().await.ok(),
            None => None,
        };
        let (start, paused) = (Instant::now(), lane.paused());
        // What is paid for does not wait for a budget. What is written waits for one of its own,
        // which must not keep others from reading.
        let turn = match cost {
            Cost { units: 1.., written: 0 } => Some(lane.turn.lock().await),
            _ => None,
        };
        // Who has the turn may be told to pause, which is the service's doing, not our budget's.
        let mut paced = start.elapsed().saturating_sub(lane.paused() - paused);
        let charge = loop {
            match lane.enter(cost).await {
                Ok(charge) => break Ok(charge),
                // Our own back-off never is, but a service may say so.
                Err(Entry::Paused(wait)) if wait > self.patience(&lane) => {
                    break Err(PausedTooLong(wait));
                }
                Err(Entry::Paused(wait)) => {
                    tokio::time::sleep(wait).await;
                    lane.add_pause(wait);
                }
                Err(Entry::Budget(wait)) => {
                    tokio::time::sleep(wait).await;
                    paced += wait;
                }
                Err(Entry::Now) => {}
            }
        };
        drop(turn);
        tally.waited(lane.name, start.elapsed());
        let charge = charge?;
        tally.admitted(lane.name, cost.units);
        Ok(Permit { lane, charge, paced, _connection: connection })
    }

    /// Who waited for something else meanwhile, such as a token, may have missed that a pause has
    /// begun.
    pub(crate) async fn outlast_pause(
        &self,
        permit: &Permit,
        tally: &Tally,
    ) -> Result<(), PausedTooLong> {
        loop {
            match permit.lane.pause() {
                Duration::ZERO => return Ok(()),
                wait if wait > self.patience(&permit.lane) => return Err(PausedTooLong(wait)),
                wait => {
                    tokio::time::sleep(wait).await;
                    tally.waited(permit.lane.name, wait);
                }
            }
        }
    }

    /// How long a pause may be. What has outlasted us once is not waited for again.
    fn patience(&self, lane: &Lane) -> Duration {
        if lane.is_out() { Duration::ZERO } else { self.patience }
    }

    /// The service told a request of `lane` to slow down: nobody of that lane sends until then.
    pub(crate) async fn throttled(&self, lane: &Lane, told: Option<Duration>, jitter: f64) {
        lane.refused(told, self.backoff.min(self.patience), jitter).await;
    }

    pub(crate) fn lane(&self, scope: &Scope) -> Arc<Lane> {
        match scope {
            Scope::Mailbox(user) => self.mailbox(user),
            Scope::SharePoint => Arc::clone(&self.sharepoint),
            Scope::Directory => Arc::clone(&self.directory),
            Scope::Other => Arc::clone(&self.other),
        }
    }

    /// Drops idle mailboxes whenever their number has doubled: a tenant may have 200,000.
    fn mailbox(&self, user: &str) -> Arc<Lane> {
        let mut known = self.mailboxes.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(lane) = known.lanes.get(user) {
            return Arc::clone(lane);
        }
        if known.lanes.len() >= known.sweep_at {
            known.lanes.retain(|_, lane| Arc::strong_count(lane) > 1 || !lane.is_idle());
            known.sweep_at = SWEEP_FROM.max(known.lanes.len() * 2);
        }
        let rules = Arc::clone(&self.mailbox_rules);
        let keeping = Keeping::Own(self.origin);
        let lane = Arc::new(Lane::new("mailbox", rules, Some(self.connections), keeping));
        known.lanes.insert(user.to_owned(), Arc::clone(&lane));
        lane
    }
}

impl Permit {
    /// The head of an answer is there; `good` if it is what was asked for.
    pub(crate) async fn answered(&self, headers: &HeaderMap, good: bool, tally: &Tally) {
        let signals = Signals::read(headers);
        if let Some(units) = signals.units {
            tally.corrected(self.lane.name, self.charge.cost.units, units);
        }
        if good {
            self.lane.set_out(false);
        }
        self.lane.answered(self.charge, signals, good).await;
    }
}

fn share(directory: &Path, name: String) -> Option<Arc<Shared>> {
    match Shared::open(directory, name) {
        Ok(shared) => Some(Arc::new(shared)),
        Err(error) => {
            let directory = directory.display();
            warn!(%error, %directory, "limits are not shared with other processes of this host");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const ONE: Cost = Cost { units: 1, written: 0 };
    const MINUTE: Duration = Duration::from_secs(60);

    fn config(budgets: &[&str], directory: Option<&Path>) -> Config {
        let mut config = Config::new("t");
        config.budgets = budgets.iter().map(|text| text.parse().unwrap()).collect();
        config.pace_dir = directory.map(Path::to_owned);
        config
    }

    fn pacer(budgets: &[&str], directory: Option<&Path>) -> Pacer {
        Pacer::new(&config(budgets, directory), "graph.example", "app")
    }

    async fn passes(pacer: &Pacer, scope: &Scope) -> usize {
        let lane = pacer.lane(scope);
        let mut count = 0;
        while lane.enter(ONE).await.is_ok() {
            count += 1;
        }
        count
    }

    fn files(directory: &Path) -> Vec<std::path::PathBuf> {
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    #[tokio::test]
    async fn scopes_are_apart() {
        let pacer = pacer(&["mailbox=100/60"], None);
        let (a, b) = (Scope::Mailbox("a".into()), Scope::Mailbox("b".into()));
        assert_eq!(passes(&pacer, &a).await, 99);
        pacer.throttled(&pacer.lane(&b), Some(MINUTE), 0.0).await;
        assert_eq!(passes(&pacer, &b).await, 0);
        assert_eq!(passes(&pacer, &Scope::Mailbox("c".into())).await, 99);
        assert_eq!(passes(&pacer, &Scope::SharePoint).await, 1_237);
    }

    #[tokio::test]
    async fn idle_mailboxes_are_forgotten() {
        let pacer = pacer(&["mailbox=10/0.001"], None);
        let busy = pacer.lane(&Scope::Mailbox("busy".into()));
        for n in 0..SWEEP_FROM * 4 {
            let lane = pacer.lane(&Scope::Mailbox(n.to_string()));
            lane.enter(ONE).await.unwrap();
            if n % SWEEP_FROM == 0 {
                std::thread::sleep(Duration::from_millis(3));
            }
        }
        assert!(pacer.mailboxes.lock().unwrap().lanes.len() <= SWEEP_FROM * 2);
        assert!(Arc::ptr_eq(&busy, &pacer.lane(&Scope::Mailbox("busy".into()))));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_directory_is_one_budget() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = temporary.path().join("pace");
        let budgets = ["sharepoint=300/600", "directory=200/600"];
        let pacers: Vec<_> = (0..3).map(|_| Arc::new(pacer(&budgets, Some(&directory)))).collect();
        let tasks = (0..12).map(|n| {
            let (pacer, scope) =
                (Arc::clone(&pacers[n % 3]), [Scope::SharePoint, Scope::Directory][n % 2].clone());
            tokio::spawn(async move { (n % 2, passes(&pacer, &scope).await) })
        });
        let mut sums = [0, 0];
        for task in tasks.collect::<Vec<_>>() {
            let (scope, count) = task.await.unwrap();
            sums[scope] += count;
        }
        assert_eq!(sums, [297, 198]);
        assert_eq!(files(&directory).len(), 1);
        let mode = std::fs::metadata(&directory).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let name = files(&directory)[0].file_name().unwrap().to_owned();
        assert!(!name.to_str().unwrap().contains("app"));

        // Others have budgets of their own, and who comes later finds what is used.
        let foreign = Pacer::new(&config(&budgets, Some(&directory)), "graph.example", "other");
        assert_eq!(passes(&foreign, &Scope::SharePoint).await, 297);
        drop(pacers);
        assert_eq!(passes(&pacer(&budgets, Some(&directory)), &Scope::SharePoint).await, 0);
        assert_eq!(passes(&pacer(&budgets, None), &Scope::SharePoint).await, 297);
    }

    #[tokio::test]
    async fn the_pause_of_one_stops_the_other() {
        let temporary = tempfile::tempdir().unwrap();
        let [one, other] = [(); 2].map(|()| pacer(&[], Some(temporary.path())));
        one.throttled(&one.lane(&Scope::SharePoint), Some(MINUTE), 0.0).await;
        let entry = other.lane(&Scope::SharePoint).enter(ONE).await.unwrap_err();
        assert!(matches!(entry, Entry::Paused(wait) if wait > MINUTE / 2 && wait <= MINUTE));
        other.lane(&Scope::Directory).enter(ONE).await.unwrap();
        let mailbox = Scope::Mailbox("a".into());
        one.throttled(&one.lane(&mailbox), Some(MINUTE), 0.0).await;
        other.lane(&mailbox).enter(ONE).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_not_ours_in_the_file_is_replaced() {
        let temporary = tempfile::tempdir().unwrap();
        let budgets = ["sharepoint=100/600"];
        let first = pacer(&budgets, Some(temporary.path()));
        first.lane(&Scope::SharePoint).enter(ONE).await.unwrap();
        let file = files(temporary.path()).remove(0);
        let mut torn = std::fs::read(&file).unwrap();
        *torn.last_mut().unwrap() ^= 1;
        let half = torn[..torn.len() / 2].to_vec();
        for damage in [torn, half, Vec::new(), vec![0; 99], b"{\"version\":0}".repeat(9_999)] {
            std::fs::write(&file, damage).unwrap();
            // The new one believes nothing of it; from then on they share again.
            let second = pacer(&budgets, Some(temporary.path()));
            second.lane(&Scope::SharePoint).enter(ONE).await.unwrap();
            assert_eq!(passes(&first, &Scope::SharePoint).await, 98);
            assert_eq!(passes(&second, &Scope::SharePoint).await, 0);
        }
    }

    #[tokio::test]
    async fn a_file_that_was_removed_is_made_anew() {
        let temporary = tempfile::tempdir().unwrap();
        let budgets = ["sharepoint=100/600"];
        let first = pacer(&budgets, Some(temporary.path()));
        first.lane(&Scope::SharePoint).enter(ONE).await.unwrap();
        std::fs::remove_file(files(temporary.path()).remove(0)).unwrap();
        assert_eq!(passes(&first, &Scope::SharePoint).await, 98);
        let second = pacer(&budgets, Some(temporary.path()));
        assert_eq!(passes(&second, &Scope::SharePoint).await, 0);
    }

    #[tokio::test]
    async fn a_directory_that_is_not_ours_alone_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let path = |name| temporary.path().join(name);
        let make = |name, mode| {
            std::fs::create_dir(path(name)).unwrap();
            std::fs::set_permissions(path(name), PermissionsExt::from_mode(mode)).unwrap();
        };
        make("good", 0o755);
        make("open", 0o777);
        make("links", 0o700);
        symlink(path("good"), path("link")).unwrap();
        std::fs::write(path("file"), "").unwrap();
        let name = file_name("graph.example", "t", "app");
        symlink(path("file"), path("links").join(&name)).unwrap();
        for (directory, usable) in
            [("good", true), ("open", false), ("link", false), ("file", false), ("links", false)]
        {
            assert_eq!(Shared::open(&path(directory), name.clone()).is_ok(), usable, "{directory}");
            // Alone it goes on all the same.
            let pacer = pacer(&["sharepoint=100/600"], Some(&path(directory)));
            assert_eq!(passes(&pacer, &Scope::SharePoint).await, 99);
        }
        assert_eq!(std::fs::read(path("file")).unwrap(), b"");
    }

    #[tokio::test]
    async fn no_pace_uses_no_file() {
        let temporary = tempfile::tempdir().unwrap();
        let mut config = config(&[], Some(temporary.path()));
        config.pace = Pace::None;
        let pacer = Pacer::new(&config, "graph.example", "app");
        pacer.lane(&Scope::SharePoint).enter(ONE).await.unwrap();
        assert!(files(temporary.path()).is_empty());
    }

    #[tokio::test]
    async fn who_is_stopped_with_the_lock_does_not_stop_others_for_ever() {
        use rustix::fs::{FlockOperation, flock};

        let temporary = tempfile::tempdir().unwrap();
        let pacer = pacer(&["sharepoint=100/600"], Some(temporary.path()));
        pacer.lane(&Scope::SharePoint).enter(ONE).await.unwrap();
        let other = std::fs::File::open(files(temporary.path()).remove(0)).unwrap();
        flock(&other, FlockOperation::LockExclusive).unwrap();
        assert_eq!(passes(&pacer, &Scope::SharePoint).await, 98, "it knows what it knew");
    }
}
