//! `tls_server_config`: certificates, and what is spoken.
//!
//! rustls has TLS 1.2 and 1.3, suites with forward secrecy and authenticated encryption, and with
//! `ring` three curves. The rest of Go's is refused.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, ParsedCertificate};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};

use super::super::report::Section;
use super::Files;
use super::clients::{self, Clients};
use super::pem::{certificates, optional, reason, required};

const KEYS: &[&str] = &[
    "cert",
    "cert_file",
    "key",
    "key_file",
    "client_ca",
    "client_ca_file",
    "client_auth_type",
    "client_allowed_sans",
    "min_version",
    "max_version",
    "cipher_suites",
    "prefer_server_cipher_suites",
    "curve_preferences",
];

/// In Go's words.
const GROUPS: [(&str, &dyn SupportedKxGroup); 3] = [
    ("X25519", ring::kx_group::X25519),
    ("CurveP256", ring::kx_group::SECP256R1),
    ("CurveP384", ring::kx_group::SECP384R1),
];

/// Those that the format has besides.
const FOREIGN_GROUPS: [&str; 2] = ["CurveP521", "X25519MLKEM768"];

/// One of them must be there for HTTP/2 over TLS 1.2 (RFC 9113, 9.2.2, and what Go asks for).
const HTTP2_SUITES: [&str; 2] =
    ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"];

/// `None` if something is wrong, which has been reported.
pub(super) fn read(section: &Section<'_>, http2: bool, files: &Files) -> Option<Arc<ServerConfig>> {
    section.allow(KEYS);
    let versions = versions(section);
    let suites = suites(section, http2, versions.as_deref().unwrap_or_default());
    let groups = groups(section);
    let server_first = section.get("prefer_server_cipher_suites").map_or(Some(true), |f| f.flag());
    let chain = required(section, "cert", files).and_then(|(field, pem)| {
        let chain = certificates(&pem).map_err(|message| field.wrong(message)).ok()?;
        ParsedCertificate::try_from(chain.first()?)
            .map_err(|error| field.wrong(format!("cannot be used: {}", reason(&error))))
            .ok()?;
        Some(chain)
    });
    let key = required(section, "key", files).and_then(|(field, pem)| {
        let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
            field.wrong(
                "holds no private key: PEM, PKCS #8, PKCS #1 or SEC 1, without a passphrase",
            );
        });
        Some((field, key.ok()?))
    });
    let authorities = optional(section, "client_ca", files);
    let clients = clients::read(section, authorities);

    let provider = Arc::new(CryptoProvider {
        cipher_suites: suites?,
        kx_groups: groups?,
        ..ring::default_provider()
    });
    let (clients, chain, (key_field, key)) = (clients?, chain?, key?);
    let verifier: Arc<dyn ClientCertVerifier> = match clients {
        None => Arc::new(NoClientAuth),
        Some(wanted) => {
            Clients::new(wanted, &provider).map_err(|message| section.wrong(message)).ok()?
        }
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions?)
        .map_err(|error| section.wrong(error.to_string()))
        .ok()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| {
            key_field.wrong(format!("does not go with the certificate: {}", reason(&error)));
        })
        .ok()?;
    config.ignore_client_order = server_first?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if http2 {
        config.alpn_protocols.insert(0, b"h2".to_vec());
    }
    Some(Arc::new(config))
}

fn versions(section: &Section<'_>) -> Option<Vec<&'static SupportedProtocolVersion>> {
    let all = [("TLS12", &TLS12), ("TLS13", &TLS13)];
    let place = |name, default| match section.get(name) {
        None => Some(default),
        Some(field) => field.parse(|word| {
            all.iter().position(|(known, _)| *known == word).ok_or_else(|| match word {
                "TLS10" | "TLS11" => {
                    format!("{word} cannot be had: rustls begins with TLS12")
                }
                _ => format!("no TLS version is called {word:?}; there are TLS12 and TLS13"),
            })
        }),
    };
    let (least, most) = (place("min_version", 0), place("max_version", 1));
    let versions = all.get(least?..=most?).unwrap_or_default();
    if versions.is_empty() {
        section.get("max_version")?.wrong("is below `min_version`");
        return None;
    }
    Some(versions.iter().map(|(_, version)| *version).collect())
}

/// The suites in the order of the file, and those of TLS 1.3, which are no matter of the format.
fn suites(
    section: &Section<'_>,
    http2: bool,
    versions: &[&SupportedProtocolVersion],
) -> Option<Vec<SupportedCipherSuite>> {
    let all = ring::ALL_CIPHER_SUITES;
    let Some(list) = section.get("cipher_suites").filter(|list| !list.is_empty()) else {
        return Some(all.to_vec());
    };
    let listed = list.items().iter().map(|field| field.parse(suite)).collect::<Vec<_>>();
    let listed: Vec<_> = listed.into_iter().collect::<Option<_>>()?;
    let has_http2 = listed.iter().any(|suite| HTTP2_SUITES.contains(&name(*suite).as_str()));
    if http2 && versions.contains(&&TLS12) && !has_http2 {
        list.wrong(format!(
            "HTTP/2 needs {} or {} here; add one, or set `http_server_config.http2: false`",
            HTTP2_SUITES[0], HTTP2_SUITES[1]
        ));
        return None;
    }
    let new = all.iter().copied().filter(|suite| suite.tls13().is_some());
    Some(new.chain(listed.into_iter().filter(|suite| suite.tls13().is_none())).collect())
}

fn suite(word: &str) -> Result<SupportedCipherSuite, String> {
    let all = ring::ALL_CIPHER_SUITES;
    all.iter().copied().find(|suite| name(*suite) == word).ok_or_else(|| {
        let foreign = ["_CBC_", "_RC4_", "TLS_RSA_WITH_"].iter().any(|part| word.contains(part));
        let names = all.iter().map(|suite| name(*suite)).collect::<Vec<_>>().join(", ");
        if word.starts_with("TLS_") && foreign {
            format!("{word} cannot be had: rustls has {names}")
        } else {
            format!("no cipher suite is called {word:?}; there are {names}")
        }
    })
}

/// Go's name of a suite.
fn name(suite: SupportedCipherSuite) -> String {
    suite.suite().as_str().unwrap_or_default().replace("TLS13_", "TLS_")
}

fn groups(section: &Section<'_>) -> Option<Vec<&'static dyn SupportedKxGroup>> {
    let Some(list) = section.get("curve_preferences").filter(|list| !list.is_empty()) else {
        return Some(ring::ALL_KX_GROUPS.to_vec());
    };
    let groups = list.items().iter().map(|field| field.parse(group)).collect::<Vec<_>>();
    groups.into_iter().collect()
}

fn group(word: &str) -> Result<&'static dyn SupportedKxGroup, String> {
    let found = GROUPS.iter().find(|(name, _)| *name == word).map(|(_, group)| *group);
    found.ok_or_else(|| {
        let names = GROUPS.map(|(name, _)| name).join(", ");
        if FOREIGN_GROUPS.contains(&word) {
            format!("{word} cannot be had: rustls with ring has {names}")
        } else {
            format!("no curve is called {word:?}; there are {names}")
        }
    })
}
