//! Query strings in the one form that all three vendors sign: RFC 3986, sorted.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use http::Request;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

/// All but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `text` with everything but `A-Za-z0-9-._~` as `%XX`, upper case.
pub fn encode(text: &[u8]) -> String {
    percent_encode(text, RESERVED).to_string()
}

/// The pairs as a canonical query: sorted by name, then by value, both before encoding; an empty
/// value keeps its `=`.
pub fn canonical<N: AsRef<[u8]>, V: AsRef<[u8]>>(pairs: &[(N, V)]) -> String {
    let mut sorted: Vec<(&[u8], &[u8])> =
        pairs.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
    sorted.sort_unstable();
    let encoded: Vec<String> =
        sorted.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    encoded.join("&")
}

/// The canonical form of a query that was sent in any other: with `+` for a blank, in another
/// order. A query in canonical form stays as it is.
pub fn recanonical(query: &str) -> String {
    canonical(&split(query).collect::<Vec<_>>())
}

/// The pairs of a query string, decoded to bytes, in the order sent. A `+` is a blank, as forms
/// write it; our own requests never hold one.
fn split(query: &str) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let decode = |text: &str| percent_decode(text.replace('+', " ").as_bytes()).collect();
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(move |(name, value)| (decode(name), decode(value)))
}

/// The pairs of a query string, decoded, in the order sent.
pub fn pairs(query: &str) -> Vec<(String, String)> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    split(query).map(|(name, value)| (text(name), text(value))).collect()
}

/// The decoded query of a request by name; of a repeated name the last value.
pub fn parameters(request: &Request<Bytes>) -> BTreeMap<String, String> {
    pairs(request.uri().query().unwrap_or_default()).into_iter().collect()
}

/// A header as text, or `""`.
pub fn header<'a>(headers: &'a http::HeaderMap, name: &str) -> Cow<'a, str> {
    headers.get(name).map_or(Cow::Borrowed(""), |value| String::from_utf8_lossy(value.as_bytes()))
}

/// A request with an absolute URI; a URI that cannot be parsed leaves `/`, which no signer takes.
pub fn request(
    method: http::Method,
    uri: &str,
    headers: &[(&'static str, &str)],
    body: Bytes,
) -> Request<Bytes> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri.parse().unwrap_or_default();
    for &(name, value) in headers {
        if let Ok(value) = http::HeaderValue::from_str(value) {
            request.headers_mut().insert(name, value);
        }
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canonical_query_is_sorted_and_encoded() {
        let pairs = [("b", "1 2"), ("a", "*~/:,+é"), ("A", ""), ("a", "%")];
        assert_eq!(canonical(&pairs), "A=&a=%25&a=%2A~%2F%3A%2C%2B%C3%A9&b=1%202");
    }

    #[test]
    fn any_other_form_of_a_query_becomes_canonical() {
        assert_eq!(
            recanonical("b=1+2&&a=*~%c3%a9&A&=x&c=%zz%ff"),
            "=x&A=&a=%2A~%C3%A9&b=1%202&c=%25zz%FF"
        );
        assert_eq!(recanonical(""), "");
    }

    #[test]
    fn a_query_is_read_back() {
        let read = pairs("A=&a=%2A~%C3%A9&b=1%202&b=1+2&c");
        let expected = [("A", ""), ("a", "*~é"), ("b", "1 2"), ("b", "1 2"), ("c", "")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(read, expected);
    }
}
