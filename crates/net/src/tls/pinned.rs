//! Certificates that stand in the CA file themselves. Who signs its own (`openssl req -x509`) mostly gets one that calls itself a CA's,
//! and RFC 5280 §6.1 has no path from a trust anchor to itself: webpki refuses it as an end entity. It is trusted all the same, since the
//! program has named this very certificate; whether it is of the host that was called is checked as for any other.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DistinguishedName, Error};

use super::signatures::signatures_as_inner;

/// The certificates of the CA file.
pub(super) type Named = Arc<[CertificateDer<'static>]>;

/// All that is wrong with a certificate is that it is a CA's, and it is one of `named`. (webpki looks at its time before.)
pub(super) fn is_trusted(named: &Named, certificate: &CertificateDer<'_>, fault: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(fault)) = fault else { return false };
    let is_ca = matches!(fault.0.downcast_ref::<webpki::Error>(), Some(webpki::Error::CaUsedAsEndEntity));
    is_ca && named.iter().any(|named| named == certificate)
}

/// For clients; servers are `verify`'s, which knows whom they have to be.
#[derive(Debug)]
pub(super) struct PinnedClient {
    inner: Arc<dyn ClientCertVerifier>,
    named: Named,
}

impl PinnedClient {
    pub(super) fn new(inner: Arc<dyn ClientCertVerifier>, named: Named) -> Self {
        PinnedClient { inner, named }
    }
}

impl ClientCertVerifier for PinnedClient {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.inner.verify_client_cert(end_entity, intermediates, now) {
            Err(fault) if is_trusted(&self.named, end_entity, &fault) => Ok(ClientCertVerified::assertion()),
            outcome => outcome,
        }
    }

    signatures_as_inner!();
}
