//! What can go wrong with a simulated cloud, and when it does.

use std::fmt;
use std::time::Duration;

use anyhow::ensure;
use dbtask_clouds::cloud::Cloud;
use serde::Deserialize;

use super::hash::hash;
use super::span::{Offset, Span};

/// Without a network: how long a client waits for an answer. The default of `poll.timeout`.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Something that goes wrong for a while.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// When it begins, from the start of the simulation. Default at once.
    #[serde(default)]
    pub from: Span,
    /// How long it lasts; left out: for ever.
    pub r#for: Option<Span>,
    /// It comes back after this long, counted from its beginning; left out: it does not.
    pub every: Option<Span>,
    /// Which share of the requests it hits, 0 to 1. Default all.
    #[serde(default = "all")]
    pub share: f64,
    /// Only requests for this operation; left out: for any.
    pub operation: Option<String>,
    /// Only requests that name this cluster, instance or task; left out: any.
    pub only: Option<String>,
    /// `slow`: how much later the answer comes; `lagging`: how old it is. Default 5 s.
    #[serde(default = "five_seconds")]
    pub delay: Span,
    /// `skewed_clock` only: how much the cloud's clock is ahead. Default 20 minutes.
    #[serde(default = "twenty_minutes")]
    pub offset: Offset,
    /// `server_error` and `html` only: the HTTP status. Default 503.
    #[serde(default = "unavailable")]
    pub status: u16,
}

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Too many requests, in the vendor's words.
    Throttle,
    /// The vendor's trouble, in the vendor's envelope.
    ServerError,
    /// A page for people, as load balancers send.
    Html,
    /// The answer comes late.
    Slow,
    /// The connection ends in the middle of the body.
    Cut,
    /// The body is broken JSON or XML.
    Malformed,
    /// The body is as it should be, and 12 MiB long.
    Huge,
    /// The body never ends.
    Endless,
    /// The answer sends the client to another host.
    Redirect,
    /// The cloud's clock is wrong, or ours.
    SkewedClock,
    /// The session token has ended.
    ExpiredToken,
    /// The key is not taken.
    Unauthorized,
    /// The key is good but may not do this.
    Forbidden,
    /// There is never an answer.
    Hang,
    /// The connection ends before the answer.
    Reset,
    /// Huawei only: the list of tasks does not exist, as in Open Telekom Cloud.
    MissingList,
    /// A refusal that speaks of the request, such as a quota, and so says nothing of what it asked.
    Odd,
    /// What was asked for is said not to exist.
    NotFound,
    /// Half of the tasks are not in the answer, as where an index lags.
    MissingRows,
    /// The answer is older than it should be, as that of a replica that lags.
    Lagging,
    /// An eighth of the rows is taken out of each page, as where a policy hides them; the total
    /// still counts them. Answers in JSON only.
    ShortPages,
    /// The total is half of what there is. Answers in JSON only.
    WrongTotal,
    /// Sessions from before the fault began are not known any more.
    LostSession,
}

impl FaultKind {
    /// Every fault.
    pub const ALL: [Self; 23] = [
        Self::Throttle,
        Self::ServerError,
        Self::Html,
        Self::Slow,
        Self::Cut,
        Self::Malformed,
        Self::Huge,
        Self::Endless,
        Self::Redirect,
        Self::SkewedClock,
        Self::ExpiredToken,
        Self::Unauthorized,
        Self::Forbidden,
        Self::Hang,
        Self::Reset,
        Self::MissingList,
        Self::Odd,
        Self::NotFound,
        Self::MissingRows,
        Self::Lagging,
        Self::ShortPages,
        Self::WrongTotal,
        Self::LostSession,
    ];

    /// The word in a scenario and in the request log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Throttle => "throttle",
            Self::ServerError => "server_error",
            Self::Html => "html",
            Self::Slow => "slow",
            Self::Cut => "cut",
            Self::Malformed => "malformed",
            Self::Huge => "huge",
            Self::Endless => "endless",
            Self::Redirect => "redirect",
            Self::SkewedClock => "skewed_clock",
            Self::ExpiredToken => "expired_token",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Hang => "hang",
            Self::Reset => "reset",
            Self::MissingList => "missing_list",
            Self::Odd => "odd",
            Self::NotFound => "not_found",
            Self::MissingRows => "missing_rows",
            Self::Lagging => "lagging",
            Self::ShortPages => "short_pages",
            Self::WrongTotal => "wrong_total",
            Self::LostSession => "lost_session",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Fault {
    /// A fault that hits every request from the start on, for ever.
    pub fn new(kind: FaultKind) -> Self {
        Self {
            kind,
            from: Span::default(),
            r#for: None,
            every: None,
            share: all(),
            operation: None,
            only: None,
            delay: five_seconds(),
            offset: twenty_minutes(),
            status: unavailable(),
        }
    }

    /// Whether it is on, `elapsed` after the start.
    pub(super) fn is_on(&self, elapsed: Duration) -> bool {
        let Some(mut since) = elapsed.checked_sub(self.from.0) else { return false };
        if let Some(Span(every)) = self.every {
            since = Duration::from_nanos_u128(since.as_nanos() % every.as_nanos().max(1));
        }
        self.r#for.is_none_or(|lasts| since < lasts.0)
    }

    /// Whether it concerns a request for `operation`; `chance` is 0 to 1.
    pub(super) fn hits(&self, operation: &str, chance: f64) -> bool {
        self.operation.as_deref().is_none_or(|only| only == operation) && chance < self.share
    }

    /// Whether nobody who is as patient as an exporter is unless it is told otherwise gets an answer.
    pub fn is_too_slow(&self) -> bool {
        self.kind == FaultKind::Slow && self.delay.0 >= PATIENCE
    }

    /// Whether it takes the task with this id out of an answer. It is the same tasks for as long as
    /// it lasts.
    pub fn hides(&self, id: &str) -> bool {
        let one_in = if self.kind == FaultKind::MissingRows { 2 } else { 8 };
        matches!(self.kind, FaultKind::MissingRows | FaultKind::ShortPages)
            && hash(format!("{id}/{}", self.from.seconds()).as_bytes()).is_multiple_of(one_in)
    }

    pub(super) fn check(&self, cloud: Cloud) -> anyhow::Result<()> {
        ensure!((0.0..=1.0).contains(&self.share), "share: from 0 to 1, not {}", self.share);
        ensure!((100..=599).contains(&self.status), "status: an HTTP status, not {}", self.status);
        if let Some(every) = self.every {
            ensure!(
                self.r#for.is_some_and(|lasts| lasts < every),
                "every: needs a shorter `for`, or the fault never pauses"
            );
        }
        ensure!(self.only.as_deref() != Some(""), "only: the id of a cluster, instance or task");
        ensure!(
            self.kind != FaultKind::MissingList || cloud == Cloud::Huawei,
            "missing_list: only Huawei's list can be missing"
        );
        Ok(())
    }
}

fn all() -> f64 {
    1.0
}

fn five_seconds() -> Span {
    Span(Duration::from_secs(5))
}

fn twenty_minutes() -> Offset {
    Offset(20 * 60)
}

fn unavailable() -> u16 {
    503
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_comes_and_goes_at_its_times() {
        let fault: Fault =
            serde_saphyr::from_str("{kind: throttle, from: 30s, for: 10s, every: 1m}").unwrap();
        let on = |second| fault.is_on(Duration::from_secs(second));
        assert_eq!(
            [0, 29, 30, 39, 40, 89, 90, 99, 100].map(on),
            [false, false, true, true, false, false, true, true, false]
        );
        assert!(Fault::new(FaultKind::Hang).is_on(Duration::from_hours(1)));
    }
}
