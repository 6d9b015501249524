//! `Outage`: when a source's trouble is worth a line in the log: where it begins, where it turns
//! into another kind, and where it is over. Pure.
//!
//! Neither a vendor that answers now and then nor one that finds ever new words fills the log:
//! trouble that comes back soon after it was over is over only after a while without any, and each
//! kind is told once an hour.

use std::time::Duration;

use dbtask_clouds::reason::Reason;
use tokio::time::Instant;

/// How long polls must go well before trouble that has come back is over.
const CALM: Duration = Duration::from_mins(15);
/// How often one kind of trouble is told while trouble goes on.
const REPEAT: Duration = Duration::from_hours(1);

/// The trouble of one source.
#[derive(Debug, Default)]
pub struct Outage {
    /// `None` while all is well.
    now: Option<Spell>,
    /// When the last one was over.
    over: Option<Instant>,
}

/// Outage that goes on.
#[derive(Debug)]
struct Spell {
    began: Instant,
    /// It had been over shortly before it began.
    relapse: bool,
    failures: u64,
    last_failure: Instant,
    /// What was told last.
    kind: Reason,
    /// What has been told, and when.
    told: Vec<(Reason, Instant)>,
}

/// What to tell of a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It is the first that failed, or the first that failed in this way.
    Fails,
    /// Outage is over.
    Over {
        /// How long it went on.
        lasted: Duration,
        /// How many polls failed.
        failures: u64,
    },
}

impl Outage {
    /// Takes in how a poll went, and says whether that is worth a line.
    pub fn poll(&mut self, failure: Option<Reason>, now: Instant) -> Option<Notice> {
        match (failure, &mut self.now) {
            (None, None) => None,
            (None, Some(spell)) => {
                if spell.relapse && now - spell.last_failure < CALM {
                    return None;
                }
                let notice = Notice::Over { lasted: now - spell.began, failures: spell.failures };
                (self.now, self.over) = (None, Some(now));
                Some(notice)
            }
            (Some(kind), None) => {
                self.now = Some(Spell {
                    began: now,
                    relapse: self.over.is_some_and(|over| now - over < CALM),
                    failures: 1,
                    last_failure: now,
                    kind,
                    told: vec![(kind, now)],
                });
                Some(Notice::Fails)
            }
            (Some(kind), Some(spell)) => spell.fail(kind, now).then_some(Notice::Fails),
        }
    }

    /// Whether there is none, and what there was is so long ago that nothing of it matters.
    pub fn is_quiet(&self, now: Instant) -> bool {
        self.now.is_none() && self.over.is_none_or(|over| now - over >= CALM)
    }
}

impl Spell {
    /// Whether one more failure is another than what was told.
    fn fail(&mut self, kind: Reason, now: Instant) -> bool {
        self.failures += 1;
        self.last_failure = now;
        let recent = |(_, told): &(Reason, Instant)| now - *told < REPEAT;
        self.told.retain(recent);
        if kind == self.kind || self.told.iter().any(|(known, _)| *known == kind) {
            return false;
        }
        self.kind = kind;
        self.told.push((kind, now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told of polls half a minute apart: `.` nothing, `f` it fails, `o` it is over. A poll
    /// is `-` if it goes well; `n`, `t` and `s` are kinds of trouble.
    fn told(polls: &str) -> String {
        let (start, mut trouble) = (Instant::now(), Outage::default());
        let notice = |(poll, minute): (char, u32)| {
            let failure = match poll {
                'n' => Some(Reason::Network),
                't' => Some(Reason::Throttled),
                's' => Some(Reason::Server),
                _ => None,
            };
            match trouble.poll(failure, start + Duration::from_secs(30) * minute) {
                None => '.',
                Some(Notice::Fails) => 'f',
                Some(Notice::Over { .. }) => 'o',
            }
        };
        polls.chars().zip(0..).map(notice).collect()
    }

    #[test]
    fn trouble_is_told_when_it_begins_when_it_turns_and_when_it_is_over() {
        assert_eq!(told("---nnnn---"), "...f...o..");
        assert_eq!(told("nnnttss-"), "f..f.f.o");
    }

    #[test]
    fn a_vendor_that_answers_now_and_then_does_not_fill_the_log() {
        let flapping = "n-".repeat(100);
        assert_eq!(told(&flapping).replace('.', ""), "fof");
        let well = "-".repeat(40);
        assert_eq!(told(&format!("{flapping}{well}")).replace('.', ""), "fofo");
        assert_eq!(told(&format!("n-{well}n-{well}")).replace('.', ""), "fofo");
    }

    #[test]
    fn a_gateway_with_ever_new_words_is_told_once_an_hour_for_each_kind() {
        let four_hours = "nts".repeat(4 * 40);
        let lines = told(&four_hours).matches('f').count();
        assert!((9..=12).contains(&lines), "{lines}");
    }

    #[test]
    fn the_end_says_how_long_it_was_and_how_many_polls_failed() {
        let (start, mut trouble) = (Instant::now(), Outage::default());
        let minute = |minutes| start + Duration::from_mins(minutes);
        for at in 0..5 {
            trouble.poll(Some(Reason::Server), minute(at));
        }
        let over = Notice::Over { lasted: Duration::from_mins(7), failures: 5 };
        assert_eq!(trouble.poll(None, minute(7)), Some(over));
    }
}
