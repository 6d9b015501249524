//! `healthcheck`: asks a running exporter how it is, for container engines and clusters, whose
//! images hold no other program that could.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use reqwest::{Client, Identity, Url};

use crate::config::MAX_FILE_BYTES;
use crate::listen::ListenAddress;
use crate::printable::printable;
use crate::reading::read_apart;
use crate::server::Web;

/// The least that whoever runs checks waits for: Docker and Kubernetes kill slower ones.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Of an answer that is not good; the rest is left where it is.
const MAX_REASON_BYTES: usize = 256;

/// Whom to ask, and for what.
#[derive(Args, Clone, Debug)]
pub struct Healthcheck {
    /// Base URL of the exporter; left out: this machine's, at its listen address.
    #[arg(value_name = "URL", value_parser = base, conflicts_with_all = ["listen", "web_config_file"])]
    pub url: Option<Url>,
    /// Where the exporter on this machine listens, as it has been told itself.
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = ":10118")]
    pub listen: ListenAddress,
    /// The web configuration of the exporter on this machine; with TLS in it, HTTPS is spoken.
    #[arg(long = "web.config.file", value_name = "FILE")]
    pub web_config_file: Option<PathBuf>,
    /// Ask whether every source has been tried once, not only whether the process serves.
    #[arg(long)]
    pub ready: bool,
    /// A certificate to show, PEM, where the exporter lets nobody in without one.
    #[arg(long = "tls.cert-file", value_name = "FILE", requires = "key_file")]
    pub cert_file: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long = "tls.key-file", value_name = "FILE", requires = "cert_file")]
    pub key_file: Option<PathBuf>,
}

impl Healthcheck {
    /// What the exporter says; an error if it says something else than 200, or nothing in three
    /// seconds.
    ///
    /// The exporter's certificate is not verified, as kubelets do not in their probes: it is made
    /// out for a name that nobody uses on the machine itself, and nothing is sent that it protects.
    pub async fn run(&self) -> anyhow::Result<String> {
        let url = self.address().await?;
        let client = self.client().await?;
        let failed = || format!("{url} does not answer");
        let mut answer = client
            .get(url.clone())
            .send()
            .await
            .map_err(reqwest::Error::without_url)
            .with_context(failed)?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.with_context(failed)? {
            body.extend_from_slice(&chunk);
            if body.len() >= MAX_REASON_BYTES {
                break;
            }
        }
        body.truncate(MAX_REASON_BYTES);
        let body = String::from_utf8_lossy(&body);
        let reason = printable(body.trim());
        anyhow::ensure!(status == 200, "{url} answers {status}: {reason}");
        Ok(format!("{reason}\n"))
    }

    async fn address(&self) -> anyhow::Result<Url> {
        let mut url = match (&self.url, &self.web_config_file) {
            (Some(url), _) => url.clone(),
            (None, file) => {
                let scheme = if is_tls(file.as_deref()).await? { "https" } else { "http" };
                let place = self.listen.from_here();
                Url::parse(&format!("{scheme}://{place}/")).with_context(|| place.clone())?
            }
        };
        let path = if self.ready { "/-/ready" } else { "/-/healthy" };
        url.set_path(&format!("{}{path}", url.path().trim_end_matches('/')));
        Ok(url)
    }

    async fn client(&self) -> anyhow::Result<Client> {
        // An error here means that somebody else installed a provider first, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = Client::builder()
            .user_agent(concat!("dbtask-exporter/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tls_danger_accept_invalid_certs(true)
            .timeout(TIMEOUT);
        if let (Some(cert), Some(key)) = (&self.cert_file, &self.key_file) {
            let mut pem = read(cert).await?;
            pem.push(b'\n');
            pem.extend(read(key).await?);
            let shown = Identity::from_pem(&pem).map_err(reqwest::Error::without_url);
            client = client.identity(shown.with_context(|| {
                format!("{} and {} are no certificate with its key", cert.display(), key.display())
            })?);
        }
        Ok(client.build()?)
    }
}

async fn is_tls(file: Option<&Path>) -> anyhow::Result<bool> {
    Ok(match file {
        Some(file) => Web::load(file.to_owned()).await?.is_tls(),
        None => false,
    })
}

async fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    read_apart(file, MAX_FILE_BYTES).await.with_context(|| file.display().to_string())
}

fn base(text: &str) -> Result<Url, String> {
    let wrong = "must be http:// or https://, a host, and perhaps a port and a path";
    let url = Url::parse(text).map_err(|error| format!("{wrong}: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong.to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err("needs no user, password or query: health is told to everybody".to_owned());
    }
    Ok(url)
}
