//! `ListenAddress`: where to wait for connections.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::{fmt, io};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;

/// Connections that may wait to be accepted, as many as Linux allows unless told otherwise: one that
/// finds no room tries again only after a second.
const BACKLOG: i32 = 4096;

/// `:10118` for all interfaces, else `host:port`; port 0 takes a free one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// A name or an address, IPv6 without brackets; `None` for all interfaces.
    host: Option<String>,
    port: u16,
}

impl ListenAddress {
    /// Begins to listen: on all interfaces with IPv6 and IPv4 together, or with IPv4 alone where
    /// there is no IPv6.
    pub async fn bind(&self) -> io::Result<TcpListener> {
        match &self.host {
            Some(host) => {
                let mut outcome = Err(io::ErrorKind::AddrNotAvailable.into());
                for address in tokio::net::lookup_host((host.as_str(), self.port)).await? {
                    outcome = listen(address);
                    if outcome.is_ok() {
                        break;
                    }
                }
                outcome
            }
            None => listen((Ipv6Addr::UNSPECIFIED, self.port).into()).or_else(|error| {
                if error.kind() == io::ErrorKind::AddrInUse {
                    return Err(error);
                }
                listen((Ipv4Addr::UNSPECIFIED, self.port).into())
            }),
        }
    }

    /// Where a client on this machine finds it, as `host:port`.
    pub fn from_here(&self) -> String {
        let host = match self.host.as_deref() {
            None | Some("0.0.0.0" | "::") => "127.0.0.1",
            Some(host) => host,
        };
        Self { host: Some(host.to_owned()), port: self.port }.to_string()
    }
}

/// Lets the process have as many files open as it is allowed to. Unless told, systems begin with
/// 1024, for programs that cannot have more; Go's runtime does the same.
pub fn allow_more_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "no more files can be open than before");
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.ip() == Ipv6Addr::UNSPECIFIED {
        // Whatever the system's default is, IPv4 is wanted too.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not `:port`, `host:port` or `[IPv6 address]:port`");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        let port = digits.then(|| port.parse().ok()).flatten().ok_or_else(wrong)?;
        let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host = match bracketed {
            Some(address) => address.parse::<Ipv6Addr>().map_err(|_| wrong())?.to_string(),
            None => host.to_owned(),
        };
        let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if bracketed.is_none() && !host.chars().all(is_host) {
            return Err(wrong());
        }
        Ok(Self { host: Some(host).filter(|host| !host.is_empty()), port })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            Some(host) => write!(f, "{host}:{}", self.port),
            None => write!(f, ":{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[test]
    fn addresses_print_as_they_were_written() {
        for text in [":10118", ":0", "127.0.0.1:9", "localhost:80", "[::1]:10118"] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        for text in ["", "10118", "host", ":", ":70000", ":+1", "::1:80", "a b:1", "[x]:1", "h/:1"]
        {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_client_on_the_same_machine_finds_every_listener() {
        for (text, found) in [
            (":10118", "127.0.0.1:10118"),
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:1", "127.0.0.1:1"),
            ("[::1]:1", "[::1]:1"),
            ("exporter.example:80", "exporter.example:80"),
        ] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().from_here(), found);
        }
    }

    #[tokio::test]
    async fn all_interfaces_include_ipv4() {
        let listener = ":0".parse::<ListenAddress>().unwrap().bind().await.unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_an_error() {
        let listener = ":0".parse::<ListenAddress>().unwrap().bind().await.unwrap();
        let taken = ListenAddress { host: None, port: listener.local_addr().unwrap().port() };
        assert_eq!(taken.bind().await.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
