//! `client_auth_type` and what goes with it: which certificates clients must show.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::super::report::Section;
use super::pem::{Pem, certificates, reason};

/// What clients are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    NoClientCert,
    RequestClientCert,
    RequireAnyClientCert,
    VerifyClientCertIfGiven,
    RequireAndVerifyClientCert,
}

/// Go's words, and an older one.
const POLICIES: [(&str, Policy); 6] = [
    ("NoClientCert", Policy::NoClientCert),
    ("RequestClientCert", Policy::RequestClientCert),
    ("RequireAnyClientCert", Policy::RequireAnyClientCert),
    ("RequireClientCert", Policy::RequireAnyClientCert),
    ("VerifyClientCertIfGiven", Policy::VerifyClientCertIfGiven),
    ("RequireAndVerifyClientCert", Policy::RequireAndVerifyClientCert),
];

impl Policy {
    fn is_mandatory(self) -> bool {
        match self {
            Self::RequireAnyClientCert | Self::RequireAndVerifyClientCert => true,
            Self::NoClientCert | Self::RequestClientCert | Self::VerifyClientCertIfGiven => false,
        }
    }

    fn verifies(self) -> bool {
        match self {
            Self::VerifyClientCertIfGiven | Self::RequireAndVerifyClientCert => true,
            Self::NoClientCert | Self::RequestClientCert | Self::RequireAnyClientCert => false,
        }
    }
}

/// What the file says of clients.
pub(super) struct Wanted {
    policy: Policy,
    authorities: Vec<CertificateDer<'static>>,
    /// The same, to verify with.
    roots: RootCertStore,
    /// `None` for all.
    allowed: Option<BTreeSet<String>>,
}

/// The outer `None` if something is wrong, which has been reported; the inner one if clients need
/// no certificate.
#[allow(clippy::option_option, reason = "an optional value that may be wrong")]
pub(super) fn read(section: &Section<'_>, pem: Option<Option<Pem<'_>>>) -> Option<Option<Wanted>> {
    let policy = match section.get("client_auth_type") {
        None => Some(Policy::NoClientCert),
        Some(field) => field.parse(|word| {
            let known = POLICIES.iter().find(|(name, _)| *name == word);
            known.map(|(_, policy)| *policy).ok_or_else(|| {
                let words = POLICIES.map(|(name, _)| name).join(", ");
                format!("no policy is called {word:?}; there are {words}")
            })
        }),
    };
    let authorities = match pem? {
        None => Some((Vec::new(), RootCertStore::empty())),
        Some((field, _)) if policy == Some(Policy::NoClientCert) => {
            field.wrong("has no effect without a `client_auth_type` that asks for certificates");
            None
        }
        Some((field, pem)) => trusted(&pem).map_err(|message| field.wrong(message)).ok(),
    };
    let allowed = match section.get("client_allowed_sans") {
        None => Some(None),
        Some(list) if policy.is_some_and(|policy| !policy.is_mandatory()) => {
            list.wrong(
                "takes a `client_auth_type` that lets nobody in without a certificate: \
                 RequireAnyClientCert or RequireAndVerifyClientCert",
            );
            None
        }
        Some(list) if list.is_empty() => {
            list.wrong("lists nobody, so that nobody would be let in");
            None
        }
        Some(list) => {
            let names = list.items().iter().map(|field| Some(spell(field.text()?))).collect();
            let names: Vec<_> = names;
            names.into_iter().collect::<Option<_>>().map(Some)
        }
    };
    let (authorities, roots) = authorities?;
    let wanted = Wanted { policy: policy?, authorities, roots, allowed: allowed? };
    Some(Some(wanted).filter(|wanted| wanted.policy != Policy::NoClientCert))
}

/// The authorities in `pem`, twice: as they are, and to verify with.
fn trusted(pem: &[u8]) -> Result<(Vec<CertificateDer<'static>>, RootCertStore), String> {
    let authorities = certificates(pem)?;
    let mut roots = RootCertStore::empty();
    for authority in &authorities {
        roots
            .add(authority.clone())
            .map_err(|error| format!("holds what is no authority: {}", reason(&error)))?;
    }
    Ok((authorities, roots))
}

/// An address in its usual spelling, anything else as it is.
fn spell(name: &str) -> String {
    name.parse::<IpAddr>()
        .map_or_else(|_| name.to_owned(), |address| address.to_canonical().to_string())
}

/// Asks clients for certificates. Whatever they show, that they have its key is always checked.
#[derive(Debug)]
pub(super) struct Clients {
    policy: Policy,
    /// `None` if any certificate will do.
    chains: Option<Arc<dyn ClientCertVerifier>>,
    authorities: Vec<CertificateDer<'static>>,
    hints: Vec<DistinguishedName>,
    allowed: Option<BTreeSet<String>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Clients {
    /// Fails with a sentence if nobody could ever be verified.
    pub(super) fn new(wanted: Wanted, provider: &Arc<CryptoProvider>) -> Result<Arc<Self>, String> {
        let Wanted { policy, authorities, mut roots, allowed } = wanted;
        // Those of the system would make a list that is too long to be sent.
        let hints = roots.subjects();
        if policy.verifies() && roots.is_empty() {
            // As the format has it.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(
                    "needs `client_ca_file`, or `client_ca`: the system has no authorities".into(),
                );
            }
        }
        let chains = if policy.verifies() {
            let builder =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
            Some(builder.build().map_err(|error| format!("`client_ca` cannot be used: {error}"))?)
        } else {
            None
        };
        let algorithms = provider.signature_verification_algorithms;
        Ok(Arc::new(Self { policy, chains, authorities, hints, allowed, algorithms }))
    }

    /// Whether the certificate is one of those that the file names. Such a one vouches for itself,
    /// as in Go; webpki takes no authority for a client.
    fn is_named(&self, shown: &CertificateDer<'_>, now: UnixTime) -> Result<bool, Error> {
        if !self.authorities.contains(shown) {
            return Ok(false);
        }
        let certificate = parse(shown)?;
        let validity = certificate.tbs_certificate().validity();
        let now = now.as_secs();
        if now < validity.not_before.to_unix_duration().as_secs() {
            return Err(CertificateError::NotValidYet.into());
        }
        if now > validity.not_after.to_unix_duration().as_secs() {
            return Err(CertificateError::Expired.into());
        }
        Ok(true)
    }
}

fn parse(certificate: &CertificateDer<'_>) -> Result<Certificate, Error> {
    Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding.into())
}

/// The subject's alternative names: DNS, e-mail, URI and IP addresses.
fn names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, Error> {
    let certificate = parse(certificate)?;
    let names = certificate
        .tbs_certificate()
        .get_extension::<SubjectAltName>()
        .map_err(|_| CertificateError::BadEncoding)?;
    let Some((_, SubjectAltName(names))) = names else { return Ok(Vec::new()) };
    let name = |name| match name {
        GeneralName::DnsName(name)
        | GeneralName::Rfc822Name(name)
        | GeneralName::UniformResourceIdentifier(name) => Some(name.as_str().to_owned()),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            let v6 = || <[u8; 16]>::try_from(bytes).map(IpAddr::from);
            Some(v4.or_else(|_| v6()).ok()?.to_canonical().to_string())
        }
        GeneralName::OtherName(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EdiPartyName(_)
        | GeneralName::RegisteredId(_) => None,
    };
    Ok(names.into_iter().filter_map(name).collect())
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.policy.is_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(chains) = &self.chains
            && !self.is_named(end_entity, now)?
        {
            chains.verify_client_cert(end_entity, intermediates, now)?;
        }
        if let Some(allowed) = &self.allowed
            && !names(end_entity)?.iter().any(|name| allowed.contains(name))
        {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
