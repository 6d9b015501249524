//! Certificates and keys in PEM, in the configuration itself or in a file that it names.

use std::borrow::Cow;

use rustls::Error;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::super::report::{Field, Section};
use super::Files;

/// What is wrong with one of our own files, which rustls would say of the other side.
pub(super) fn reason(error: &Error) -> String {
    if let Error::InvalidCertificate(error) = error { error.to_string() } else { error.to_string() }
}

/// Every certificate in `pem`; fails with a sentence if there is none.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err("holds no certificate in PEM"),
        Err(_) => Err("is broken PEM"),
    }
}

/// PEM that is written under `name`, or in a file that is named under `{name}_file`.
pub(super) type Pem<'a> = (Field<'a>, Cow<'a, [u8]>);

pub(super) fn required<'a>(section: &Section<'a>, name: &str, files: &Files) -> Option<Pem<'a>> {
    if section.get(name).is_none() && section.get(&format!("{name}_file")).is_none() {
        section.wrong(format!("needs `{name}_file`, or `{name}`"));
    }
    optional(section, name, files)?
}

/// The outer `None` if it is wrong, which has been reported; the inner one if it is not there.
#[allow(clippy::option_option, reason = "an optional value that may be wrong")]
pub(super) fn optional<'a>(
    section: &Section<'a>,
    name: &str,
    files: &Files,
) -> Option<Option<Pem<'a>>> {
    let in_file = section.get(&format!("{name}_file"));
    match (section.get(name), in_file) {
        (Some(_), Some(_)) => {
            section.refuse(name, &format!("is in `{name}_file` too; leave one of them out"));
            None
        }
        (Some(field), None) => {
            let pem = Cow::Borrowed(field.text()?.as_bytes());
            Some(Some((field, pem)))
        }
        (None, Some(field)) => {
            let pem = Cow::Owned(field.parse(|name| files.read(name))?);
            Some(Some((field, pem)))
        }
        (None, None) => Some(None),
    }
}
