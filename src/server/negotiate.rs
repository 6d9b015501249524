//! What a client would rather have: `Accept` and `Accept-Encoding`.

use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_ENCODING};

use crate::metrics::{Encoding, Format};

/// OpenMetrics where it is named and nothing else is preferred; else the text format, also for a
/// client that asks for something that is not there.
pub(super) fn format(headers: &HeaderMap) -> Format {
    let (mut open_metrics, mut text) = (0.0_f32, 0.0_f32);
    for range in list(headers, &ACCEPT) {
        // Ranges without a version mean any; other parameters, such as `escaping`, are not ours.
        let version = range.parameter("version");
        match &*range.name.to_ascii_lowercase() {
            "application/openmetrics-text" if version.is_none_or(|v| v == "1.0.0") => {
                open_metrics = open_metrics.max(range.quality);
            }
            "text/plain" if version.is_none_or(|v| v == "0.0.4") => text = text.max(range.quality),
            "text/*" | "*/*" => text = text.max(range.quality),
            _ => {}
        }
    }
    if open_metrics > 0.0 && open_metrics >= text { Format::OpenMetrics } else { Format::Text }
}

/// gzip where it is wanted at least as much as no encoding at all.
pub(super) fn encoding(headers: &HeaderMap) -> Encoding {
    let (mut gzip, mut identity, mut any) = (None, None, None);
    for coding in list(headers, &ACCEPT_ENCODING) {
        match &*coding.name.to_ascii_lowercase() {
            "gzip" | "x-gzip" => gzip = Some(coding.quality),
            "identity" => identity = Some(coding.quality),
            "*" => any = Some(coding.quality),
            _ => {}
        }
    }
    let gzip = gzip.or(any).unwrap_or(0.0);
    if gzip > 0.0 && gzip >= identity.unwrap_or(0.0) { Encoding::Gzip } else { Encoding::Identity }
}

/// One item of a list of preferences.
struct Preference<'a> {
    name: &'a str,
    parameters: &'a str,
    quality: f32,
}

impl<'a> Preference<'a> {
    fn new(item: &'a str) -> Self {
        let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
        let mut preference = Self { name: name.trim(), parameters, quality: 1.0 };
        if let Some(quality) = preference.parameter("q") {
            let quality = quality.parse().unwrap_or(0.0_f32);
            preference.quality = if (0.0..=1.0).contains(&quality) { quality } else { 0.0 };
        }
        preference
    }

    fn parameter(&self, name: &str) -> Option<&'a str> {
        let parameters = self.parameters.split(';').filter_map(|one| one.split_once('='));
        let mut named = parameters.filter(|(known, _)| known.trim().eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.trim().trim_matches('"'))
    }
}

fn list<'a>(
    headers: &'a HeaderMap,
    name: &http::HeaderName,
) -> impl Iterator<Item = Preference<'a>> {
    let lines = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(Preference::new)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn format_for(accept: &'static str) -> Format {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        format(&headers)
    }

    fn encoding_for(accept: &'static str) -> Encoding {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(accept));
        encoding(&headers)
    }

    #[test]
    fn open_metrics_is_for_those_who_prefer_it() {
        for accept in [
            // Prometheus 2.42.
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;\
             version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            // Prometheus 3.
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
             application/openmetrics-text;version=0.0.1;q=0.4,\
             text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
             text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            "application/openmetrics-text",
            "Application/OpenMetrics-Text; Version=\"1.0.0\", */*",
        ] {
            assert_eq!(format_for(accept), Format::OpenMetrics, "{accept}");
        }
    }

    #[test]
    fn text_is_for_everybody_else() {
        for accept in [
            "",
            "*/*",
            "text/html,application/xhtml+xml,*/*;q=0.8",
            "text/plain;version=0.0.4",
            "text/plain;version=0.0.4, application/openmetrics-text;version=1.0.0;q=0.9",
            "application/openmetrics-text;version=0.0.1",
            "application/openmetrics-text;version=1.0.0;q=0",
            "application/openmetrics-text;q=high",
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily",
        ] {
            assert_eq!(format_for(accept), Format::Text, "{accept}");
        }
        assert_eq!(format(&HeaderMap::new()), Format::Text);
    }

    #[test]
    fn gzip_is_for_those_who_ask_for_it() {
        for accept in ["gzip", "deflate, GZIP;q=0.5", "*", "gzip, identity", "br;q=1, *;q=0.1"] {
            assert_eq!(encoding_for(accept), Encoding::Gzip, "{accept}");
        }
        for accept in ["", "identity", "gzip;q=0", "gzip; q=0.000, *", "br", "gzip;q=0.4, identity"]
        {
            assert_eq!(encoding_for(accept), Encoding::Identity, "{accept}");
        }
        assert_eq!(encoding(&HeaderMap::new()), Encoding::Identity);
    }
}
