//! What names, regions, durations and addresses look like. Pure.

use std::net::IpAddr;
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use jiff::tz::Offset;

/// Whether a word of `text` looks like the keys and tokens that vendors hand out, and unlike their
/// names, regions and ids: long, with digits, and with capitals unless it is very long; but not like
/// `TLS_AES_128_GCM_SHA256`.
pub(super) fn may_be_secret(text: &str) -> bool {
    let is_constant = |word: &str| {
        let fits = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        word.contains('_') && word.bytes().all(fits)
    };
    text.split_whitespace().filter(|word| !is_constant(word)).any(|word| {
        let has = |sort: fn(&u8) -> bool| word.bytes().any(|byte| sort(&byte));
        let has_capitals_or_is_long = has(u8::is_ascii_uppercase) || word.len() >= 40;
        word.len() >= 16 && has(u8::is_ascii_digit) && has_capitals_or_is_long
    })
}

/// The path of a file. One that looks like a key rather than a path is refused and never printed.
pub(super) fn path(text: &str) -> Result<&str, String> {
    if may_be_secret(text) && !text.contains(['/', '.']) {
        return Err("must be the path of a file; write \"./\" before its name".to_owned());
    }
    Ok(text)
}

/// `text`, if it can be the name of a source or of credentials: `[a-zA-Z0-9_.-]{1,64}`.
pub(super) fn name(text: &str) -> Result<&str, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if text.len() <= 64 && text.chars().all(fits) {
        return Ok(text);
    }
    Err(format!("{text:?} is not a name: 1 to 64 letters, digits, \"_\", \".\" or \"-\""))
}

/// `text`, if it looks like a region, `^[a-z]+(-[a-z0-9]+)+$`: it becomes part of a host name.
pub(super) fn region(text: &str) -> Result<&str, String> {
    let mut parts = text.split('-');
    let first = parts.next().unwrap_or_default();
    let starts_well = !first.is_empty() && first.bytes().all(|b| b.is_ascii_lowercase());
    let rest: Vec<_> = parts.collect();
    let goes_on_well = !rest.is_empty()
        && rest.iter().all(|part| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        });
    if starts_well && goes_on_well && text.len() <= 63 {
        return Ok(text);
    }
    Err(format!("{text:?} is not a region; one looks like \"cn-hangzhou\" or \"ap-southeast-1\""))
}

/// `text`, if it can be a Huawei project.
pub(super) fn project(text: &str) -> Result<&str, String> {
    if text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return Ok(text);
    }
    Err(format!("{text:?} is not a project's id: 32 digits and letters from a to f"))
}

/// `text`, if it can be the name of an environment variable. Capitals only, so that a secret
/// written here by mistake is refused and never printed.
pub(super) fn variable(text: &str) -> Result<&str, String> {
    let fits = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    let starts_well = !text.starts_with(|c: char| c.is_ascii_digit());
    if starts_well && text.len() <= 128 && text.bytes().all(fits) {
        return Ok(text);
    }
    Err("must be the name of an environment variable: capitals, digits and \"_\"".to_owned())
}

/// A duration with a unit: `30s`, `5m`, `24h`, `7d`, `1h 30m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    if text.parse::<f64>().is_ok() {
        return Err(format!("{text:?} has no unit; write \"{text}s\" for seconds, or m, h, d"));
    }
    let mut units = text.split(|c: char| c.is_ascii_digit() || c == ' ').filter(|u| !u.is_empty());
    // humantime knows more, but its `M` is a month and its `y` not quite a year.
    if units.all(|unit| matches!(unit, "ms" | "s" | "m" | "h" | "d" | "w"))
        && let Ok(duration) = humantime::parse_duration(text)
    {
        return Ok(duration);
    }
    Err(format!("{text:?} is not a duration; one looks like \"30s\", \"5m\", \"24h\" or \"7d\""))
}

/// A duration as an operator writes it, in the largest unit that fits: `15m`, `365d`.
pub(super) fn spell(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (unit, letter) = [(86_400, 'd'), (3_600, 'h'), (60, 'm')]
        .into_iter()
        .find(|(unit, _)| seconds.is_multiple_of(*unit))
        .unwrap_or((1, 's'));
    format!("{}{letter}", seconds / unit)
}

/// An offset from UTC as `+08:00`, at most 14 hours.
pub(super) fn utc_offset(text: &str) -> Result<Offset, String> {
    let read = || {
        let (sign, clock) = match text.as_bytes().first()? {
            b'+' => (1, text.get(1..)?),
            b'-' => (-1, text.get(1..)?),
            _ => return None,
        };
        let (hours, minutes) = clock.split_once(':')?;
        let two_digits = |text: &str| {
            let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| text.parse::<i32>().ok())?
        };
        let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
        let seconds = hours * 3600 + minutes * 60;
        (minutes < 60 && seconds <= 14 * 3600).then_some(())?;
        Offset::from_seconds(sign * seconds).ok()
    };
    read().ok_or_else(|| format!("{text:?} is not an offset from UTC; one looks like \"+08:00\""))
}

/// A base URL, reduced to scheme and authority. No message holds it: it may hold a password.
pub(super) fn endpoint(text: &str, allow_plain_http: bool) -> Result<String, String> {
    let (scheme, uri) = url(text)?;
    let authority = uri.authority().map(|a| a.as_str().to_ascii_lowercase()).unwrap_or_default();
    if authority.contains('@') {
        return Err("must not hold a user or a password; keys belong in `credentials`".to_owned());
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() || text.contains('#') {
        return Err("must be scheme and host only, without a path or a query".to_owned());
    }
    if scheme == Scheme::HTTP && !allow_plain_http && !is_loopback(&uri) {
        return Err("must begin with https://; http:// is for loopback addresses, or with \
                    `allow_plain_http: true`"
            .to_owned());
    }
    Ok(format!("{scheme}://{authority}"))
}

/// A proxy's URL. No message holds it: it may hold a password.
pub(super) fn proxy(text: &str) -> Result<&str, String> {
    // The same rules for what follows the scheme, which only `url` knows.
    let http = match text.split_once("://") {
        Some(("socks5" | "socks5h", rest)) => format!("http://{rest}"),
        Some(_) | None => text.to_owned(),
    };
    let (_, uri) = url(&http).map_err(|problem| {
        problem.replace("https:// or http://", "https://, http://, socks5:// or socks5h://")
    })?;
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() || text.contains('#') {
        return Err("must not have a path or a query".to_owned());
    }
    Ok(text)
}

fn url(text: &str) -> Result<(Scheme, Uri), String> {
    let wrong = || "is not a URL; one looks like \"https://host.example.com:8443\"".to_owned();
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let scheme = uri.scheme().cloned().ok_or_else(wrong)?;
    if scheme != Scheme::HTTPS && scheme != Scheme::HTTP {
        return Err("must begin with https:// or http://".to_owned());
    }
    let port = uri.authority().and_then(|authority| {
        let after_host = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, h)| h);
        after_host.strip_prefix(uri.host()?)?.strip_prefix(':').map(str::to_owned)
    });
    let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    if uri.host().is_none_or(str::is_empty) || !port_fits {
        return Err(wrong());
    }
    Ok((scheme, uri))
}

fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What to say about a word that is not in `known`.
pub(super) fn unknown(word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(meant) => format!("unknown key; did you mean \"{meant}\"?"),
        None => format!("unknown key; there are {}", known.join(", ")),
    }
}

/// The word that was probably meant.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |word: &str| word.to_lowercase().replace('-', "_");
    let word = plain(word);
    known
        .iter()
        .map(|&candidate| (strsim::jaro_winkler(&word, &plain(candidate)), candidate))
        .filter(|&(similarity, _)| similarity >= 0.85)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions() {
        for good in ["cn-hangzhou", "ap-southeast-1", "eu-de", "ap-shanghai-fsi", "la-north-2"] {
            assert_eq!(region(good), Ok(good));
        }
        for bad in ["cn", "cn-", "-cn", "CN-north", "cn_north", "cn-north/..", "1cn-a", "a-b.c"] {
            assert!(region(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations() {
        for (text, seconds) in [("30s", 30), ("5m", 300), ("24h", 86400), ("7d", 604_800)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)));
        }
        assert_eq!(duration("1h 30m"), Ok(Duration::from_mins(90)));
        for bad in [
            "30",
            "1.5",
            "0",
            "5M",
            "1y",
            "-5s",
            "s",
            "5 minutes",
            "",
            "1e3s",
            "9999999999999999999d",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(spell(Duration::from_hours(365 * 24)), "365d");
        assert_eq!(spell(Duration::from_secs(90)), "90s");
    }

    #[test]
    fn endpoints_are_scheme_and_host() {
        for (text, base) in [
            ("https://cdb.tencentcloudapi.com", "https://cdb.tencentcloudapi.com"),
            ("https://CDB.example.com:8443/", "https://cdb.example.com:8443"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://localhost", "http://localhost"),
        ] {
            assert_eq!(endpoint(text, false).as_deref(), Ok(base));
        }
        for bad in [
            "cdb.tencentcloudapi.com",
            "http://cdb.tencentcloudapi.com",
            "http://127.0.0.1.example.com",
            "http://localhost@evil.example.com",
            "ftp://host",
            "https://user:hunter2@host",
            "https://host/path",
            "https://host?x=hunter2",
            "https://host/#f",
            "https://host:99999",
            "https://host:0",
            "https://",
            "https://a b",
        ] {
            let message = endpoint(bad, false).unwrap_err();
            assert!(!message.contains("hunter2"), "{message}");
        }
        assert!(endpoint("http://10.0.0.1", true).is_ok());
    }

    #[test]
    fn offsets() {
        assert_eq!(utc_offset("+08:00").map(Offset::seconds), Ok(28800));
        assert_eq!(utc_offset("-03:30").map(Offset::seconds), Ok(-12600));
        for bad in ["08:00", "+8", "+08", "+14:30", "+01:60", "UTC", "++1:00", "+", ""] {
            assert!(utc_offset(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_likely_word() {
        assert_eq!(nearest("intervall", &["interval", "timeout"]), Some("interval"));
        assert_eq!(nearest("Idle-Interval", &["idle_interval"]), Some("idle_interval"));
        assert_eq!(nearest("colour", &["interval", "timeout"]), None);
    }
}
