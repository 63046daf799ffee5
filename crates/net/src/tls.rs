//! What a TLS listener needs: its certificate, and whom it trusts. Read when it is bound, so that what is wrong is said then, and again
//! whenever a file has changed, so that a renewed certificate needs no restart. A change that cannot be used is logged, and what was
//! read before goes on.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::NetError;

mod pinned;
mod signatures;
mod verify;

use pinned::{Named, PinnedClient};
use verify::{Anyone, SipVerifier};

/// Files in PEM form, as a program gives them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// Ours, followed by those between it and its root. `None`: nobody can connect to us, and we connect without one.
    pub certificate: Option<PathBuf>,
    /// `None`: it is in the certificate's file.
    pub private_key: Option<PathBuf>,
    /// Whose certificates are trusted; `None`: the operating system's. With `verify` clients are asked for theirs.
    pub ca: Option<PathBuf>,
    /// Whether servers that we connect to, and clients that show a certificate, must be whom they say.
    pub verify: bool,
}

/// The settings of one listener, with what has been read.
#[derive(Debug)]
pub(crate) struct Tls {
    settings: TlsSettings,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    stamps: Vec<Stamp>,
    server: Option<Arc<ServerConfig>>,
    /// Made when it is needed first: the system's roots are many.
    client: Option<Arc<ClientConfig>>,
    files: Files,
}

/// A file as it was when it was read.
type Stamp = Option<(SystemTime, u64, u64)>;

#[derive(Debug)]
struct Files {
    /// With its key.
    own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    /// What trusts and, as they stand in the file, is trusted.
    roots: Option<(Arc<RootCertStore>, Named)>,
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

impl Tls {
    pub(crate) fn load(settings: TlsSettings) -> Result<Tls, NetError> {
        let stamps = settings.stamps();
        let files = settings.read()?;
        let server = settings.server(&files)?;
        // Whether the key fits is found out for the connecting side too.
        if let Some((certificates, key)) = &files.own {
            settings.check_pair(certificates, key)?;
        }
        Ok(Tls { settings, state: Mutex::new(State { stamps, server, client: None, files }) })
    }

    /// For a connection that has been accepted; `None`: we have no certificate to show.
    pub(crate) fn server(&self) -> Option<Arc<ServerConfig>> {
        let mut state = self.state.lock();
        self.refresh(&mut state);
        state.server.clone()
    }

    /// For a connection that we make.
    pub(crate) fn client(&self) -> Result<Arc<ClientConfig>, String> {
        let mut state = self.state.lock();
        self.refresh(&mut state);
        if let Some(client) = &state.client {
            return Ok(Arc::clone(client));
        }
        let client = Arc::new(self.settings.client(&state.files)?);
        state.client = Some(Arc::clone(&client));
        Ok(client)
    }

    fn refresh(&self, state: &mut State) {
        let stamps = self.settings.stamps();
        if stamps == state.stamps {
            return;
        }
        let read = self.settings.read().and_then(|files| Ok((self.settings.server(&files)?, files)));
        match read {
            Ok((server, files)) => {
                tracing::info!(target: "ringback.net", certificate = ?self.settings.certificate, "TLS files have been read again");
                *state = State { stamps, server, client: None, files };
            }
            // Looked at again next time: the other file of a pair may be on its way.
            Err(error) => tracing::warn!(target: "ringback.net", %error, "changed TLS files cannot be used"),
        }
    }
}

impl TlsSettings {
    fn stamps(&self) -> Vec<Stamp> {
        let stamp = |path: &PathBuf| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len(), inode(&metadata)))
        };
        [&self.certificate, &self.private_key, &self.ca].into_iter().flatten().map(stamp).collect()
    }

    fn read(&self) -> Result<Files, NetError> {
        let own = match (&self.certificate, &self.private_key) {
            (Some(path), key_path) => {
                let certificates = certificates("certificate", path)?;
                let (what, key_path) = key_path.as_ref().map_or(("certificate", path), |path| ("private key", path));
                Some((certificates, private_key(what, key_path)?))
            }
            (None, Some(path)) => {
                return Err(bad("private key", path, "without a certificate it is of no use".into()));
            }
            (None, None) => None,
        };
        let roots = match &self.ca {
            Some(path) => {
                let mut roots = RootCertStore::empty();
                let named = certificates("CA certificate", path)?;
                for certificate in &named {
                    let added = roots.add(certificate.clone());
                    added.map_err(|error| bad("CA certificate", path, error.to_string()))?;
                }
                Some((Arc::new(roots), named.into()))
            }
            None => None,
        };
        Ok(Files { own, roots })
    }

    fn check_pair(
        &self,
        certificates: &[CertificateDer<'static>],
        key: &PrivateKeyDer<'static>,
    ) -> Result<(), NetError> {
        let path = self.private_key.as_ref().or(self.certificate.as_ref());
        rustls::sign::CertifiedKey::from_der(certificates.to_vec(), key.clone_key(), &provider())
            .map(drop)
            .map_err(|error| bad("private key", path.map_or(Path::new(""), PathBuf::as_path), reason(&error)))
    }

    fn server(&self, files: &Files) -> Result<Option<Arc<ServerConfig>>, NetError> {
        let Some((certificates, key)) = &files.own else { return Ok(None) };
        self.check_pair(certificates, key)?;
        let path = self.certificate.as_deref().unwrap_or(Path::new(""));
        let failed = |error: rustls::Error| bad("certificate", path, reason(&error));
        let clients = match &files.roots {
            // A telephone without a certificate is still let in: who it is, digest finds out. One that shows a certificate must be
            // whom it says.
            Some((roots, named)) if self.verify => {
                let inner = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider())
                    .allow_unauthenticated()
                    .build()
                    .map_err(|error| bad("CA certificate", self.ca.as_deref().unwrap_or(path), error.to_string()))?;
                Arc::new(PinnedClient::new(inner, Arc::clone(named)))
            }
            _ => WebPkiClientVerifier::no_client_auth(),
        };
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_client_cert_verifier(clients)
            .with_single_cert(certificates.clone(), key.clone_key())
            .map_err(failed)?;
        Ok(Some(Arc::new(config)))
    }

    fn client(&self, files: &Files) -> Result<ClientConfig, String> {
        let verifier: Arc<dyn ServerCertVerifier> = match &files.roots {
            _ if !self.verify => Arc::new(Anyone::new(provider())),
            Some((roots, named)) => {
                let inner = WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), provider()).build();
                let inner = inner.map_err(|error| error.to_string())?;
                Arc::new(SipVerifier::new(inner, Arc::clone(named)))
            }
            None => {
                let inner = rustls_platform_verifier::Verifier::new(provider()).map_err(|error| reason(&error))?;
                Arc::new(SipVerifier::new(Arc::new(inner), Named::default()))
            }
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| reason(&error))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        match &files.own {
            Some((certificates, key)) => {
                builder.with_client_auth_cert(certificates.clone(), key.clone_key()).map_err(|error| reason(&error))
            }
            None => Ok(builder.with_no_client_auth()),
        }
    }
}

/// What a TLS error says, without the words every one of them begins with.
fn reason(error: &rustls::Error) -> String {
    match error {
        rustls::Error::General(text) => text.clone(),
        other => other.to_string(),
    }
}

fn bad(what: &'static str, path: &Path, why: String) -> NetError {
    NetError::BadCertificate { what, path: path.to_owned(), why }
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, NetError> {
    fs::read(path).map_err(|source| NetError::Unreadable { what, path: path.to_owned(), source })
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, NetError> {
    let bytes = read(what, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|error| bad(what, path, format!("not PEM: {error}")))?;
    if found.is_empty() {
        return Err(bad(what, path, "no certificate in it; PEM is expected".into()));
    }
    for certificate in &found {
        if let Err(error) = webpki::EndEntityCert::try_from(certificate) {
            // A CA's own certificate need not have what an end entity's must.
            if what == "certificate" {
                return Err(bad(what, path, format!("not a certificate: {error}")));
            }
        }
        if what == "certificate" {
            break;
        }
    }
    Ok(found)
}

fn private_key(what: &'static str, path: &Path) -> Result<PrivateKeyDer<'static>, NetError> {
    let bytes = read(what, path)?;
    PrivateKeyDer::from_pem_slice(&bytes)
        .map_err(|_| bad(what, path, "no private key in it; PEM is expected, without a passphrase".into()))
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

/// RFC 5922 §7.1: the domains that a verified certificate is of.
pub(crate) fn domains(certificate: &CertificateDer<'_>) -> Vec<String> {
    verify::identities(certificate).unwrap_or_default()
}

/// Why a handshake failed, in words that fit into a call's cause.
pub(crate) fn handshake_failure(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(why)) => {
            format!("TLS: the peer's certificate is not accepted: {}", certificate_fault(why))
        }
        Some(tls) => format!("TLS: {}", reason(tls)),
        None => format!("TLS: {error}"),
    }
}

fn certificate_fault(fault: &rustls::CertificateError) -> String {
    use rustls::CertificateError as Fault;
    match fault {
        Fault::UnknownIssuer => "its issuer is not trusted".into(),
        Fault::BadSignature => "its signature is wrong".into(),
        Fault::Expired | Fault::ExpiredContext { .. } => "it has expired".into(),
        Fault::NotValidYet | Fault::NotValidYetContext { .. } => "it is not valid yet".into(),
        Fault::NotValidForName => "it is of another host".into(),
        Fault::NotValidForNameContext { expected, presented } => {
            let expected = match expected {
                rustls::pki_types::ServerName::DnsName(name) => name.as_ref().to_owned(),
                rustls::pki_types::ServerName::IpAddress(ip) => std::net::IpAddr::from(*ip).to_string(),
                other => format!("{other:?}"),
            };
            format!("it is not of {expected} but of {}", presented.join(", "))
        }
        Fault::Other(other) if matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity)) => {
            "it is a CA's, and not itself in the CA file".into()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
