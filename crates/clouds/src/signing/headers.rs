//! Headers as signatures see them: lower-case names in order, values without outer blanks.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, Uri};
use secrecy::ExposeSecret as _;

use crate::cloud::AccessKeys;
use crate::redaction::Secrets;
use crate::signing::{SigningError, Steps, hash};

/// `value` as a header that may be shown; `what` names it in the error.
pub fn plain(what: &'static str, value: &str) -> Result<HeaderValue, SigningError> {
    HeaderValue::from_str(value).map_err(|_| SigningError::Header(what))
}

/// `value` as a header that is never shown.
pub fn secret(what: &'static str, value: &str) -> Result<HeaderValue, SigningError> {
    let mut value = plain(what, value)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Has the request carry what it is signed with, and how, so that nobody shows any of it. Its
/// headers say the rest.
pub fn conceal<'a>(
    request: &'a mut Request<Bytes>,
    keys: &AccessKeys,
    steps: &Steps,
) -> &'a mut Secrets {
    let Steps { canonical_request, string_to_sign, signature, authorization: _ } = steps;
    let secrets = Secrets::carried_by(request.extensions_mut());
    secrets.value(&keys.access_key_id);
    secrets.value(keys.secret_access_key.expose_secret());
    secrets.value(signature);
    secrets.value(&hash::sha256_hex(canonical_request.as_bytes()));
    secrets.text(canonical_request);
    secrets.text(string_to_sign);
    secrets
}

/// The host to send and to sign: the authority with its port, without a user, in lower case.
pub fn host(uri: &Uri) -> Result<HeaderValue, SigningError> {
    let authority = uri.authority().ok_or(SigningError::NoHost)?.as_str();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    plain("the host", &host.to_ascii_lowercase())
}

/// The names of the headers sent that are `wanted`.
pub fn sent<B>(request: &Request<B>, wanted: impl Fn(&str) -> bool) -> Vec<&str> {
    request.headers().keys().map(HeaderName::as_str).filter(|name| wanted(name)).collect()
}

/// The names as a signature lists them: lower case, sorted, each once.
pub fn names(signed: &[&str]) -> Vec<String> {
    let mut names: Vec<String> = signed.iter().map(|name| name.to_ascii_lowercase()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The value of a header as it is signed: without outer blanks; of a header that is repeated, the
/// values sorted and joined by commas; of one that is not there, nothing.
pub fn value(headers: &HeaderMap, name: &str) -> String {
    let values = headers.get_all(name);
    let texts = values.iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let mut texts: Vec<String> = texts.map(|text| text.trim().to_owned()).collect();
    texts.sort_unstable();
    texts.join(",")
}

/// A line `name:value` for each of `names`, each with its line feed.
pub fn canonical(headers: &HeaderMap, names: &[String]) -> String {
    let lines = names.iter().map(|name| format!("{name}:{}\n", value(headers, name)));
    lines.collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_sorted_trimmed_and_joined() {
        let mut headers = HeaderMap::new();
        headers.append("b", HeaderValue::from_static("  2  2 "));
        headers.append("a", HeaderValue::from_static("y"));
        headers.append("a", HeaderValue::from_static(" x"));
        let names = names(&["B", "a", "b", "absent"]);
        assert_eq!(names, ["a", "absent", "b"]);
        assert_eq!(canonical(&headers, &names), "a:x,y\nabsent:\nb:2  2\n");
    }

    #[test]
    fn the_host_keeps_its_port_and_loses_its_user() {
        for (uri, expected) in [
            ("https://DDS.cn-north-4.example/v3?a=b", "dds.cn-north-4.example"),
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://[::1]:8080/", "[::1]:8080"),
            ("http://user:word@example:443/", "example:443"),
        ] {
            assert_eq!(host(&uri.parse().unwrap()).unwrap(), expected);
        }
        assert!(matches!(host(&Uri::from_static("/")), Err(SigningError::NoHost)));
    }
}
