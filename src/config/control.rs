//! `Control`: gives a running exporter another configuration.

use tokio::sync::{mpsc, oneshot};

use crate::config::{Config, ConfigError};

/// Orders that may wait. More wait for room.
const ROOM: usize = 16;

/// Gives a running exporter another configuration. A clone is another handle to the same one.
#[derive(Clone, Debug)]
pub struct Control(mpsc::Sender<Order>);

/// A configuration, or why there is none.
#[derive(Debug)]
pub struct Order {
    /// The configuration, or why there is none.
    pub config: Result<Config, ConfigError>,
    /// Told what has been done, in words, or why nothing has.
    pub answer: oneshot::Sender<anyhow::Result<String>>,
}

/// Why a configuration is not in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// What is wrong with it; the one before it stays in force, whole.
    #[error("{0}")]
    Refused(String),
    /// The exporter has been told to stop.
    #[error("the exporter is stopping")]
    Stopping,
}

impl Control {
    /// A handle, and the orders that come through it.
    pub fn new() -> (Self, mpsc::Receiver<Order>) {
        let (sender, receiver) = mpsc::channel(ROOM);
        (Self(sender), receiver)
    }

    /// Has the exporter take over `config`, whole or not at all, and returns what it has done, in words. One
    /// that could not be read is refused too, so that the metrics tell of it. Waits until the
    /// exporter runs.
    pub async fn take_over(&self, config: Result<Config, ConfigError>) -> Result<String, NotTaken> {
        let (answer, outcome) = oneshot::channel();
        let sent = self.0.send(Order { config, answer }).await;
        sent.map_err(|_| NotTaken::Stopping)?;
        let outcome = outcome.await.map_err(|_| NotTaken::Stopping)?;
        outcome.map_err(|refusal| NotTaken::Refused(format!("{refusal:#}")))
    }
}
