//! The proxies that the environment names, and the hosts that are asked without one.
//!
//! Programs differ in the spellings of `NO_PROXY` that they take. This reading is that of Go's `httpproxy`, plus blanks between
//! entries: <https://pkg.go.dev/golang.org/x/net/http/httpproxy>. As with curl, a leading dot, or
//! `*.`, makes no difference: the domain itself is meant too.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::platform::environment::Environment;

/// The proxies that the environment names. `Debug` shows none: their addresses may hold passwords.
#[derive(Clone, Default)]
pub struct EnvironmentProxies {
    https: Option<String>,
    http: Option<String>,
    bypass: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    host: Host,
    /// `None`: any.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Any,
    /// In lower case, without a leading dot: the domain and all below it.
    Domain(String),
    Network(IpNet),
}

impl fmt::Debug for EnvironmentProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvironmentProxies").finish_non_exhaustive()
    }
}

impl EnvironmentProxies {
    /// What the variables say, in capitals or not. Fails if one is no address of a proxy: without
    /// it, requests would go out by another way than was meant.
    pub fn of(environment: &Environment) -> anyhow::Result<Self> {
        let first = |names: [&'static str; 2]| {
            names.into_iter().find_map(|name| Some((name, environment.get(name)?)))
        };
        let address = |names| first(names).map(|(name, value)| address(name, value)).transpose();
        let all = address(["ALL_PROXY", "all_proxy"])?;
        let list = first(["NO_PROXY", "no_proxy"]).map(|(_, list)| list).unwrap_or_default();
        let entries = list.split(|c: char| c == ',' || c.is_whitespace());
        Ok(Self {
            https: address(["HTTPS_PROXY", "https_proxy"])?.or_else(|| all.clone()),
            http: address(["HTTP_PROXY", "http_proxy"])?.or(all),
            bypass: entries.filter(|entry| !entry.is_empty()).map(Entry::parse).collect(),
        })
    }

    /// The address of the proxy for a host; `None` if it is asked without one. An IPv6 address may
    /// stand in brackets.
    pub fn of_host(&self, scheme: &str, host: &str, port: u16) -> Option<String> {
        let host = host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
        if self.bypass.iter().any(|entry| entry.covers(&host, port)) {
            return None;
        }
        if scheme == "http" { self.http.clone() } else { self.https.clone() }
    }
}

/// The address of a proxy, which `http://` may be left out of. The error does not show it: it may hold
/// a password.
fn address(name: &str, value: &str) -> anyhow::Result<String> {
    let value = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
    let scheme = reqwest::Url::parse(&value).ok().filter(reqwest::Url::has_host);
    let scheme = scheme.as_ref().map(reqwest::Url::scheme);
    anyhow::ensure!(
        matches!(scheme, Some("http" | "https" | "socks5" | "socks5h")),
        "{name} is not the address of a proxy; http://, https://, socks5:// and socks5h:// are known"
    );
    Ok(value)
}

impl Entry {
    fn parse(text: &str) -> Self {
        // An address of version 6 holds colons of its own.
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                match port.parse() {
                    Ok(port) => (host, Some(port)),
                    Err(_) => (text, None),
                }
            }
            Some(_) | None => (text, None),
        };
        let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
        let network = host.parse::<IpNet>().ok();
        let network = network.or_else(|| host.parse::<IpAddr>().ok().map(IpNet::from));
        let host = match network {
            Some(network) => Host::Network(network),
            None if host == "*" => Host::Any,
            None => {
                let domain = host.strip_prefix('*').unwrap_or(&host);
                Host::Domain(domain.trim_matches('.').to_owned())
            }
        };
        Self { host, port }
    }

    fn covers(&self, host: &str, port: u16) -> bool {
        if self.port.is_some_and(|only| only != port) {
            return false;
        }
        match &self.host {
            Host::Any => true,
            Host::Network(network) => {
                host.parse::<IpAddr>().is_ok_and(|address| network.contains(&address))
            }
            Host::Domain(domain) => host
                .strip_suffix(domain.as_str())
                .is_some_and(|rest| !domain.is_empty() && (rest.is_empty() || rest.ends_with('.'))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> EnvironmentProxies {
        EnvironmentProxies::of(&variables.iter().copied().collect()).unwrap()
    }

    fn covers(list: &str, uri: &str) -> bool {
        let uri: http::Uri = uri.parse().unwrap();
        let scheme = uri.scheme_str().unwrap();
        let port = uri.port_u16().unwrap_or(if scheme == "http" { 80 } else { 443 });
        let proxies = proxies(&[("ALL_PROXY", "http://proxy:1"), ("NO_PROXY", list)]);
        proxies.of_host(scheme, uri.host().unwrap(), port).is_none()
    }

    #[test]
    fn every_spelling_that_other_programs_take_keeps_a_host_from_the_proxy() {
        for list in [
            "cdb.example.com",
            "example.com",
            ".example.com",
            "*.example.com",
            "EXAMPLE.com",
            "cdb.example.com:443",
            "example.com:443",
            "*.example.com:443",
            "localhost .example.com",
            "localhost,\t.example.com\n",
            "localhost, example.com",
            "*",
        ] {
            assert!(covers(list, "https://cdb.example.com/x"), "{list:?}");
        }
        assert!(covers("cdb.example.com:8443", "https://cdb.example.com:8443/"));
        assert!(covers("example.com:80", "http://example.com/"));
    }

    #[test]
    fn what_is_not_listed_goes_through_the_proxy() {
        for list in [
            "",
            ",",
            "*.",
            ".",
            "other.com",
            "ample.com",
            "cdb.example.com:80",
            "cdb.example.com:8443",
            "x.cdb.example.com",
            "10.0.0.0/8",
        ] {
            assert!(!covers(list, "https://cdb.example.com/x"), "{list:?}");
        }
    }

    #[test]
    fn addresses_and_networks_of_both_versions_are_understood() {
        for (list, uri) in [
            ("10.1.2.3", "https://10.1.2.3/"),
            ("10.0.0.0/8", "https://10.1.2.3/"),
            ("10.1.2.3:8443", "https://10.1.2.3:8443/"),
            ("*", "https://10.1.2.3/"),
            ("fd00::/8", "https://[fd00::1]/"),
            ("fd00::1", "https://[fd00::1]:8443/"),
            ("[fd00::1]", "https://[fd00::1]/"),
            ("[fd00::1]:8443", "https://[fd00::1]:8443/"),
        ] {
            assert!(covers(list, uri), "{list} {uri}");
        }
        for (list, uri) in [
            ("10.0.0.0/8", "https://11.1.2.3/"),
            ("10.1.2.3:8443", "https://10.1.2.3/"),
            ("[fd00::1]:8443", "https://[fd00::1]/"),
            ("fd00::/8", "https://10.1.2.3/"),
        ] {
            assert!(!covers(list, uri), "{list} {uri}");
        }
    }

    #[test]
    fn each_scheme_has_its_proxy_and_the_one_for_all_is_the_last_to_count() {
        let of = |variables: &[(&str, &str)], scheme| proxies(variables).of_host(scheme, "a", 1);
        let all = [("all_proxy", "socks5h://c:1"), ("HTTPS_PROXY", "http://a:1")];
        assert_eq!(of(&all, "https").as_deref(), Some("http://a:1"));
        assert_eq!(of(&all, "http").as_deref(), Some("socks5h://c:1"));
        assert_eq!(of(&[("http_proxy", "http://b:1")], "http").as_deref(), Some("http://b:1"));
        assert_eq!(of(&[("http_proxy", "http://b:1")], "https"), None);
        assert_eq!(of(&[("HTTPS_PROXY", "")], "https"), None);
        assert_eq!(of(&[("HTTPS_PROXY", "a:3128")], "https").as_deref(), Some("http://a:3128"));
    }

    #[test]
    fn a_proxy_that_is_no_address_is_an_error_that_does_not_show_it() {
        for value in
            ["ftp://user:hunter2@a", "http://", "socks4://user:hunter2@a", "http://hunter2:x:y/"]
        {
            let environment = [("https_proxy", value)].into_iter().collect();
            let error = EnvironmentProxies::of(&environment).unwrap_err().to_string();
            assert!(
                error.starts_with("https_proxy is not") && !error.contains("hunter2"),
                "{error}"
            );
        }
    }
}
