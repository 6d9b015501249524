//! `Reason`: why a request or a poll failed.

/// Why a request or a poll failed: the label `reason`, and the word in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Key, token, signature or permission.
    Auth,
    /// Too many requests.
    Throttled,
    /// No answer in time.
    Timeout,
    /// No connection, or a broken one.
    Network,
    /// The vendor's trouble.
    Server,
    /// A request that the vendor will never take.
    Client,
    /// An answer that makes no sense.
    Decode,
    /// Not sent, to spare the budget.
    Budget,
    /// Our clock and the vendor's differ too much.
    Clock,
}

impl Reason {
    /// Every reason, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::Auth,
        Self::Throttled,
        Self::Timeout,
        Self::Network,
        Self::Server,
        Self::Client,
        Self::Decode,
        Self::Budget,
        Self::Clock,
    ];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Throttled => "throttled",
            Self::Timeout => "timeout",
            Self::Network => "network",
            Self::Server => "server",
            Self::Client => "client",
            Self::Decode => "decode",
            Self::Budget => "budget",
            Self::Clock => "clock",
        }
    }
}
