//! What `docs/web-configuration.md` says of every key is what the program takes.

use std::fs;

use dbtask_exporter::config::{ConfigError, WebConfig};
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;
use tempfile::TempDir;

use crate::documented::{Outcome, Page, Place, keys, outcome, spans, value};

/// A folder with `server.crt` and `server.key`.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["localhost".into()]).unwrap().self_signed(&key);
        fs::write(folder.path().join("server.crt"), certificate.unwrap().pem()).unwrap();
        fs::write(folder.path().join("server.key"), key.serialize_pem()).unwrap();
        Self(folder)
    }

    fn load(&self, text: &str) -> Result<WebConfig, ConfigError> {
        let path = self.0.path().join("web.yml");
        fs::write(&path, text).unwrap();
        WebConfig::load(&path).config
    }

    fn read(&self, text: &str) -> Outcome {
        outcome(self.load(text))
    }
}

#[test]
fn every_table_of_keys_is_compared() {
    assert_eq!(
        Page::read("web-configuration.md").headings(),
        ["Keys", "`http_server_config`", "`headers`", "`rate_limit`", "`tls_server_config`"]
    );
}

#[test]
fn the_keys_of_the_web_configuration_are_documented_as_they_are() {
    let folder = Folder::new();
    let read = |text: &str| folder.read(text);
    let page = Page::read("web-configuration.md");
    let place = |base, pointer| Place { read: &read, base, pointer };
    let check = |heading, base, pointer, words: &[_]| {
        let rows = page.rows(heading);
        let place = place(base, pointer);
        place.has(keys(&rows));
        place.check_all(&rows, words);
    };

    let empty = folder.load("{}").unwrap();
    let has_headers = !empty.headers.is_empty();
    check(
        "Keys",
        json!({}),
        "",
        &[
            ("tls_server_config", "none", empty.tls.is_none()),
            ("http_server_config", "none", !has_headers),
            ("basic_auth_users", "none", empty.users.is_empty()),
            ("rate_limit", "none", empty.rate_limit.is_none()),
        ],
    );
    let tls = json!({"cert_file": "server.crt", "key_file": "server.key"});
    let http = json!({"tls_server_config": tls, "http_server_config": {}});
    check(
        "`http_server_config`",
        http,
        "/http_server_config",
        &[("headers", "none", !has_headers)],
    );
    let headers = json!({"http_server_config": {"headers": {}}});
    let names = keys(&page.rows("`headers`")).collect::<Vec<_>>();
    let words = names.iter().map(|name| (name.as_str(), "none", !has_headers)).collect::<Vec<_>>();
    check("`headers`", headers, "/http_server_config/headers", &words);
    let limit = json!({"rate_limit": {"interval": "1s", "burst": "1"}});
    check("`rate_limit`", limit, "/rate_limit", &[]);

    let base = json!({"tls_server_config": tls});
    let place = place(base.clone(), "/tls_server_config");
    let needs = |key: &str| place.without(key).is_err();
    let suites = place.with("cipher_suites", json!(["x"])).unwrap_err();
    let suites = suites.iter().find_map(|text| text.split_once("there are ")).unwrap().1;
    let all = place.with("cipher_suites", value(&format!("[{suites}]"))) == read(&base.to_string());
    let (cert, key) = (needs("cert_file"), needs("key_file"));
    let authorities = "those of the system's authorities";
    check(
        "`tls_server_config`",
        base,
        "/tls_server_config",
        &[
            ("cert_file", "one of them", cert),
            ("cert", "one of them", cert),
            ("key_file", "one of them", key),
            ("key", "one of them", key),
            // What clients are asked for is tried over sockets, in `web`.
            ("client_ca_file", authorities, true),
            ("client_ca", authorities, true),
            ("client_allowed_sans", "any name", true),
            ("cipher_suites", "all that there are", all),
        ],
    );
}

#[test]
fn headers_have_the_values_that_are_documented() {
    let (folder, page) = (Folder::new(), Page::read("web-configuration.md"));
    for row in page.rows("`headers`") {
        let header = |value: &str| {
            folder.read(&json!({"http_server_config": {"headers": {&row.key: value}}}).to_string())
        };
        let values = spans(row.cell("values"));
        assert_eq!(header("x").is_ok(), row.cell("values") == "any", "{}", row.key);
        assert!(values.iter().all(|value| header(value).is_ok()), "{values:?}");
    }
}

#[test]
fn passwords_have_the_costs_that_are_documented() {
    let (folder, page) = (Folder::new(), Page::read("web-configuration.md"));
    let hash = bcrypt::hash("wonderland", 4).unwrap().replace("$04$", "$21$");
    let problems = folder.read(&json!({"basic_auth_users": {"a": hash}}).to_string()).unwrap_err();
    assert!(problems.iter().any(|text| text.ends_with("must be from 4 to 20")), "{problems:?}");
    let users = page.rows("Keys").into_iter().find(|row| row.key == "basic_auth_users").unwrap();
    assert!(users.cell("meaning").contains("costs 4 to 20"));
}
