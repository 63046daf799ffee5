//! Whom a certificate has to be of: RFC 5922.

use std::sync::Arc;

use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, Error};

use super::pinned::{Named, is_trusted};
use super::signatures::{Signatures, signatures_as_inner};

/// Checks the chain as any TLS client does, and the name as SIP does.
#[derive(Debug)]
pub(super) struct SipVerifier {
    inner: Arc<dyn ServerCertVerifier>,
    named: Named,
}

impl SipVerifier {
    /// `inner` checks the chain before the name. `named` are trusted as they are.
    pub(super) fn new(inner: Arc<dyn ServerCertVerifier>, named: Named) -> Self {
        SipVerifier { inner, named }
    }
}

/// The name as any TLS client checks it.
fn check_name(certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<ServerCertVerified, Error> {
    let bad = |_| Error::InvalidCertificate(CertificateError::BadEncoding);
    let certificate = webpki::EndEntityCert::try_from(certificate).map_err(bad)?;
    let wrong = |_| Error::InvalidCertificate(CertificateError::NotValidForName);
    certificate.verify_is_valid_for_subject_name(name).map(|()| ServerCertVerified::assertion()).map_err(wrong)
}

/// RFC 5922 §7.1: the domains that a certificate is of.
pub(super) fn identities(certificate: &CertificateDer<'_>) -> Result<Vec<String>, Error> {
    let bad = |_| Error::InvalidCertificate(CertificateError::BadEncoding);
    let certificate = webpki::EndEntityCert::try_from(certificate).map_err(bad)?;
    let of_uris: Vec<String> = certificate.valid_uri_names().filter_map(domain_of_uri).collect();
    if !of_uris.is_empty() {
        return Ok(of_uris);
    }
    Ok(certificate.valid_dns_names().map(str::to_owned).collect())
}

/// §7.1: a `sip` URI that names nobody within its domain.
fn domain_of_uri(uri: &str) -> Option<String> {
    let (scheme, rest) = uri.split_once(':')?;
    (scheme.eq_ignore_ascii_case("sip") && !rest.contains(['@', ';', '?', ':'])).then(|| rest.to_owned())
}

impl ServerCertVerifier for SipVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let outcome = match self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(fault) if is_trusted(&self.named, end_entity, &fault) => check_name(end_entity, server_name),
            outcome => outcome,
        };
        let wrong_name = matches!(
            outcome,
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
            ))
        );
        let ServerName::DnsName(name) = server_name else { return outcome };
        if outcome.is_err() && !wrong_name {
            return outcome;
        }
        let presented = identities(end_entity)?;
        // §7.2: the whole name, without case; wildcards match nothing.
        if presented.iter().any(|domain| domain.eq_ignore_ascii_case(name.as_ref())) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext {
            expected: server_name.to_owned(),
            presented,
        }))
    }

    signatures_as_inner!();
}

/// `verify=False`: encrypted towards whoever answers.
#[derive(Debug)]
pub(super) struct Anyone {
    inner: Signatures,
}

impl Anyone {
    pub(super) fn new(provider: Arc<CryptoProvider>) -> Self {
        Anyone { inner: Signatures(provider) }
    }
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    signatures_as_inner!();
}
