//! How long clients were told to stay away.

use std::time::Duration;

use super::Moment;

/// The waits that were told in a scope and are not over.
#[derive(Default)]
pub(crate) struct Pauses(Vec<Pause>);

struct Pause {
    /// From here on a request cannot have been under way when the client was told.
    known: Duration,
    until: Duration,
}

impl Pauses {
    /// When the scope opens again, if it is closed.
    pub(crate) fn until(&self, now: Duration) -> Option<Duration> {
        self.0.last().map(|pause| pause.until).filter(|until| *until > now)
    }

    /// Whether what arrives now was sent although the client had been told to wait.
    pub(crate) fn told(&self, now: Duration) -> bool {
        self.0.iter().any(|pause| pause.known <= now && now < pause.until)
    }

    /// Tells to wait, by an answer made now. Pauses of a fast clock may be shorter than others can
    /// be under way, so that grace is half of one at most.
    pub(crate) fn tell(&mut self, moment: Moment, until: Duration) {
        let Moment { now, answered, grace } = moment;
        let told = self.told(now);
        self.0.retain(|pause| pause.until > now);
        match self.0.last_mut() {
            Some(last) if last.until >= until => {}
            // Who is already held to a wait is held to a longer one at once.
            Some(last) if told => last.until = until,
            _ if until > now => {
                let known = answered.saturating_add(grace.min((until - now) / 2));
                self.0.push(Pause { known, until });
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const fn moment(now: u64, grace: u64) -> Moment {
        Moment { now: at(now), answered: at(now), grace: at(grace) }
    }

    #[test]
    fn what_was_under_way_is_not_held_against_the_client() {
        let mut pauses = Pauses::default();
        pauses.tell(moment(0, 5), at(100));
        assert_eq!((pauses.told(at(4)), pauses.told(at(5))), (false, true));
        assert_eq!(pauses.until(at(99)), Some(at(100)));
        assert_eq!((pauses.until(at(100)), pauses.told(at(100))), (None, false));
    }

    #[test]
    fn a_second_answer_makes_the_wait_longer_but_not_shorter() {
        let mut pauses = Pauses::default();
        pauses.tell(moment(0, 4), at(10));
        pauses.tell(moment(2, 4), at(8));
        assert_eq!(pauses.until(at(2)), Some(at(10)));
        pauses.tell(moment(3, 4), at(20));
        assert!(pauses.told(at(5)) && pauses.told(at(11)), "by the first, by the second");
        assert_eq!(pauses.until(at(11)), Some(at(20)));
    }

    #[test]
    fn sending_on_never_becomes_innocent() {
        let mut pauses = Pauses::default();
        pauses.tell(moment(0, 2), at(10));
        for second in 2..1000 {
            assert!(pauses.told(at(second)));
            pauses.tell(moment(second, 2), at(second + 10));
        }
        assert_eq!(pauses.0.len(), 1);
    }

    #[test]
    fn grace_is_at_most_half_a_wait() {
        let mut pauses = Pauses::default();
        pauses.tell(moment(0, 50), at(10));
        assert_eq!((pauses.told(at(4)), pauses.told(at(5))), (false, true));
        pauses.tell(moment(20, 50), at(20));
        assert_eq!(pauses.until(at(20)), None);
        let held_back = Moment { now: at(30), answered: at(35), grace: at(1) };
        pauses.tell(held_back, at(40));
        assert_eq!((pauses.told(at(35)), pauses.told(at(36))), (false, true));
    }
}
