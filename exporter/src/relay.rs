//! Contents section after section, where no budgets are kept.
//!
//! A mailbox that has a budget of its own must not idle while another one is written, so sections
//! fetch ahead of their turn, and most of it waits on disk. Without budgets nothing is won by
//! that: whoever is first may have all of `--concurrency`, and what comes is written at once.
//! Sections are still listed ahead.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// Which sections have asked for all of theirs.
#[derive(Debug, Default)]
pub(crate) struct Relay {
    passed: Mutex<Passed>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Passed {
    /// All before this one have.
    next: u64,
    /// Of those behind it, these.
    later: BTreeSet<u64>,
}

impl Relay {
    /// The place of a section. It passes when it is dropped, at the latest.
    pub(crate) fn place(self: &Arc<Self>, section: u64) -> Place {
        Place { relay: Arc::clone(self), section }
    }

    fn is_turn_of(&self, section: u64) -> bool {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner).next >= section
    }

    fn pass(&self, section: u64) {
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        passed.later.insert(section);
        while passed.later.first() == Some(&passed.next) {
            passed.later.pop_first();
            passed.next += 1;
        }
        drop(passed);
        self.changed.notify_waiters();
    }
}

/// See [`Relay::place`].
#[derive(Debug)]
pub(crate) struct Place {
    relay: Arc<Relay>,
    section: u64,
}

impl Place {
    /// Waits until all sections before this one have passed.
    pub(crate) async fn turn(&self) {
        loop {
            // Registered before the check, so that a pass in between is not missed.
            let changed = self.relay.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.relay.is_turn_of(self.section) {
                return;
            }
            changed.await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.relay.pass(self.section);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use futures::poll;

    use super::*;

    #[tokio::test]
    async fn in_their_order_whoever_is_ready_first() {
        let relay = Arc::new(Relay::default());
        let [first, second, third] = [0, 1, 2].map(|section| relay.place(section));
        let last = relay.place(3);
        let mut waiting = std::pin::pin!(last.turn());
        assert_eq!(poll!(waiting.as_mut()), Poll::Pending);
        first.turn().await;
        // One without contents is over before its turn.
        drop(second);
        assert_eq!(poll!(waiting.as_mut()), Poll::Pending);
        drop(first);
        third.turn().await;
        assert_eq!(poll!(waiting.as_mut()), Poll::Pending);
        drop(third);
        assert_eq!(poll!(waiting.as_mut()), Poll::Ready(()));
    }
}
