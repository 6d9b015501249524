//! `healthcheck`: asks a running exporter how it is, for container engines and clusters, whose
//! images hold no other program that could.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser as _};
use reqwest::{Client, Identity, Url};

use crate::cli::{Cli, Command};
use crate::config::MAX_FILE_BYTES;
use crate::platform::listen::ListenAddress;
use crate::platform::printable::printable;
use crate::platform::reading::read_apart;
use crate::server::Web;

/// The least that whoever runs checks waits for: Docker and Kubernetes kill slower ones.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Of an answer that is not good; the rest is left where it is.
const MAX_REASON_BYTES: usize = 256;
const PROCESSES: &str = "/proc";
const DEFAULT_LISTEN: &str = ":10118";

/// Whom to ask, and for what.
#[derive(Args, Clone, Debug)]
pub struct Healthcheck {
    /// Base URL of the exporter; left out: the one on this machine, by its own command line.
    #[arg(value_name = "URL", value_parser = base, conflicts_with_all = ["listen", "web_config_file"])]
    pub url: Option<Url>,
    /// Where the exporter on this machine listens; left out with the web configuration: as its own
    /// command line says, or :10118 if there is not exactly one.
    #[arg(long = "web.listen-address", value_name = "ADDRESS")]
    pub listen: Option<ListenAddress>,
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
        if self.url.is_some() || self.listen.is_some() || self.web_config_file.is_some() {
            return self.ask().await;
        }
        let serving = tokio::task::spawn_blocking(|| Serving::find(Path::new(PROCESSES))).await?;
        let Some(Serving { listen, web_config_file }) = serving else {
            return self.ask().await;
        };
        let check = Self { listen: Some(listen), web_config_file, ..self.clone() };
        match check.ask().await {
            // Nobody has been told of a certificate to show, and only a server that is well asks for one.
            Err(error) if self.cert_file.is_none() && wants_certificate(&error) => {
                Ok("it answers, and lets nobody in without a certificate\n".to_owned())
            }
            said => said,
        }
    }

    async fn ask(&self) -> anyhow::Result<String> {
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
                let usual = || DEFAULT_LISTEN.parse().map_err(anyhow::Error::msg);
                let place = self.listen.clone().map_or_else(usual, Ok)?.from_here();
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

/// How an exporter serves, by its command line.
#[derive(Debug, PartialEq)]
struct Serving {
    listen: ListenAddress,
    web_config_file: Option<PathBuf>,
}

impl Serving {
    /// The exporter of this container, process 1, else the only one that runs this very program: in
    /// a container the first process may be an init. `None` where that does not tell which one is
    /// meant. `processes` is a folder as /proc is.
    fn find(processes: &Path) -> Option<Self> {
        let program = fs::read_link(processes.join("self/exe")).ok()?;
        let serving = |process: &Path| {
            let same = fs::read_link(process.join("exe")).is_ok_and(|exe| exe == program);
            same.then(|| Self::of(process)).flatten()
        };
        if let Some(first) = serving(&processes.join("1")) {
            return Some(first);
        }
        let is_process = |name: &OsStr| name.as_bytes().iter().all(u8::is_ascii_digit);
        let mut found = fs::read_dir(processes)
            .ok()?
            .flatten()
            .filter(|entry| is_process(&entry.file_name()))
            .filter_map(|entry| serving(&entry.path()));
        let only = found.next()?;
        found.next().is_none().then_some(only)
    }

    /// `None` for a process that does something else than serve.
    fn of(process: &Path) -> Option<Self> {
        let line = fs::read(process.join("cmdline")).ok()?;
        // A process that is ending has no command line any more.
        let line = if line.iter().all(|&byte| byte == 0) { return None } else { line };
        let arguments = line.strip_suffix(b"\0")?.split(|&byte| byte == 0).map(OsStr::from_bytes);
        let Cli { command, serve, .. } = Cli::try_parse_from(arguments).ok()?;
        match command {
            None if !serve.config_check => {
                // What the exporter was told is relative to its own folder.
                let within = |file| Some(fs::read_link(process.join("cwd")).ok()?.join(file));
                let web_config_file = match serve.web_config_file {
                    Some(file) if file.is_relative() => Some(within(file)?),
                    file => file,
                };
                Some(Self { listen: serve.listen.into_iter().next()?, web_config_file })
            }
            #[cfg(feature = "demo")]
            Some(Command::Demo { listen, .. }) => Some(Self { listen, web_config_file: None }),
            #[cfg(feature = "demo")]
            Some(Command::Simulate { .. }) => None,
            None
            | Some(Command::Check { .. } | Command::Tasks { .. } | Command::Healthcheck(_)) => None,
        }
    }
}

/// Whether the other side has refused the connection for want of a certificate.
fn wants_certificate(error: &anyhow::Error) -> bool {
    use rustls::AlertDescription::CertificateRequired;
    error.chain().any(|cause| {
        // An I/O error hides the one that it was made of.
        let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let inner = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        inner.or_else(|| cause.downcast_ref())
            == Some(&rustls::Error::AlertReceived(CertificateRequired))
    })
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder as /proc is: number, program, folder and command line of each process.
    fn processes(of: &[(&str, &str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, program, line) in [("self", "/bin/exporter", "x healthcheck")].iter().chain(of) {
            let process = folder.path().join(name);
            fs::create_dir(&process).unwrap();
            symlink(program, process.join("exe")).unwrap();
            symlink("/srv", process.join("cwd")).unwrap();
            fs::write(process.join("cmdline"), format!("{}\0", line.replace(' ', "\0"))).unwrap();
        }
        folder
    }

    fn found(of: &[(&str, &str, &str)]) -> Option<(String, Option<PathBuf>)> {
        let serving = Serving::find(processes(of).path())?;
        Some((serving.listen.to_string(), serving.web_config_file))
    }

    #[test]
    fn the_server_of_a_container_is_found_by_its_own_flags() {
        let line = "/bin/exporter --web.listen-address=:80 --web.config.file=/etc/web.yml --web.telemetry-path=/m";
        let web = Some(PathBuf::from("/etc/web.yml"));
        assert_eq!(found(&[("1", "/bin/exporter", line)]), Some((":80".to_owned(), web)));
        // Beside its own health checks, and whatever else of it is there.
        let others = ("20", "/bin/exporter", "exporter healthcheck");
        let second = ("21", "/bin/exporter", "exporter --web.listen-address=:81");
        let first = ("1", "/bin/exporter", "exporter --web.listen-address=[::1]:80");
        assert_eq!(found(&[others, second, first]), Some(("[::1]:80".to_owned(), None)));
    }

    #[test]
    fn it_is_found_behind_an_init() {
        let init = ("1", "/sbin/init", "/sbin/init -- exporter");
        let server = ("7", "/bin/exporter", "exporter --web.config.file web.yml");
        let web = Some(PathBuf::from("/srv/web.yml"));
        assert_eq!(found(&[init, server]), Some((":10118".to_owned(), web)));
        let demo = ("8", "/bin/exporter", "exporter demo --web.listen-address=:90");
        assert_eq!(found(&[init, demo]), Some((":90".to_owned(), None)));
        // Which of the two is meant cannot be told.
        assert_eq!(found(&[init, server, demo]), None);
    }

    #[test]
    fn what_does_not_serve_is_no_server() {
        for line in [
            "exporter --config.check",
            "exporter simulate",
            "exporter tasks",
            "exporter --unknown",
            "",
        ] {
            assert_eq!(found(&[("7", "/bin/exporter", line)]), None, "{line}");
        }
        assert_eq!(found(&[("7", "/bin/other", "other --web.listen-address=:80")]), None);
        assert_eq!(found(&[("x7", "/bin/exporter", "exporter")]), None);
    }
}
