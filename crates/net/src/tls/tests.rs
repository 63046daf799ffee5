use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection};

use super::*;

/// Files of one test, gone at its end.
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn new() -> Place {
        let path = std::env::temp_dir().join(format!("ringback-tls-{:x}", crate::random_u128()));
        fs::create_dir(&path).expect("made");
        Place(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("written");
        path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) type Issuer = CertifiedIssuer<'static, KeyPair>;

pub(crate) fn issuer() -> Issuer {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, format!("{:x}", crate::random_u128()));
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed")
}

/// Certificate and key, as PEM. `uri:` marks SANs of that type.
fn issue(issuer: &Issuer, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.subject_alt_names = names
        .iter()
        .map(|name| match (name.strip_prefix("uri:"), name.parse()) {
            (Some(uri), _) => SanType::URI(uri.try_into().expect("ASCII")),
            (None, Ok(ip)) => SanType::IpAddress(ip),
            (None, Err(_)) => SanType::DnsName((*name).try_into().expect("ASCII")),
        })
        .collect();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    let certificate = params.signed_by(&key, issuer).expect("signed");
    (certificate.pem(), key.serialize_pem())
}

pub(crate) fn settings(place: &Place, issuer: &Issuer, names: &[&str]) -> TlsSettings {
    let (certificate, key) = issue(issuer, names, |_| ());
    TlsSettings {
        certificate: Some(place.write("own.pem", &certificate)),
        private_key: Some(place.write("own.key", &key)),
        ca: Some(place.write("ca.pem", &issuer.pem())),
        verify: true,
    }
}

/// A handshake without a network: the fault the client finds, or the server.
fn shake(client: &Tls, server: &Tls, name: &str) -> Result<(), String> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut client = ClientConnection::new(client.client()?, name).expect("a client");
    let mut server = ServerConnection::new(server.server().expect("a certificate")).expect("a server");
    let fault = |error: rustls::Error| handshake_failure(&std::io::Error::other(error));
    while client.is_handshaking() || server.is_handshaking() || client.wants_write() || server.wants_write() {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).expect("written");
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).expect("read");
            server.process_new_packets().map_err(fault)?;
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).expect("written");
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).expect("read");
            client.process_new_packets().map_err(fault)?;
        }
    }
    Ok(())
}

#[test]
fn rfc_5922_says_whom_a_certificate_is_of() {
    let (place, issuer) = (Place::new(), issuer());
    let client = Tls::load(settings(&place, &issuer, &["client.example"])).expect("loaded");
    for (names, asked, accepted) in [
        (&["sip.example.com"][..], "sip.example.com", true),
        (&["sip.example.com"], "SIP.Example.COM", true),
        (&["other.example", "sip.example.com"], "sip.example.com", true),
        (&["other.example"], "sip.example.com", false),
        // §7.2: no wildcards.
        (&["*.example.com"], "sip.example.com", false),
        (&["*.example.com", "sip.example.com"], "sip.example.com", true),
        // §7.1: a URI identity, and then nothing else.
        (&["uri:sip:example.com"], "example.com", true),
        (&["uri:sip:example.com", "pbx.example.com"], "pbx.example.com", false),
        (&["uri:sip:alice@example.com", "example.com"], "example.com", true),
        (&["uri:sip:alice@example.com"], "example.com", false),
        (&["uri:https://example.com", "pbx.example.com"], "pbx.example.com", true),
        (&["192.0.2.1"], "192.0.2.1", true),
        (&["2001:db8::1"], "2001:db8::1", true),
        (&["192.0.2.1"], "192.0.2.2", false),
        (&["sip.example.com"], "192.0.2.1", false),
    ] {
        let server = Place::new();
        let server = Tls::load(settings(&server, &issuer, names)).expect("loaded");
        let result = shake(&client, &server, asked);
        assert_eq!(result.is_ok(), accepted, "{names:?} as {asked}: {result:?}");
        if let Err(why) = result {
            assert!(why.contains(&format!("it is not of {asked} but of")), "{why}");
        }
    }
}

#[test]
fn dates_issuers_and_clients_are_checked() {
    let (place, issuer) = (Place::new(), issuer());
    let ours = settings(&place, &issuer, &["sip.example.com"]);
    let us = Tls::load(ours.clone()).expect("loaded");
    let old = Place::new();
    let (certificate, key) = issue(&issuer, &["sip.example.com"], |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let expired = TlsSettings {
        certificate: Some(old.write("own.pem", &certificate)),
        private_key: Some(old.write("own.key", &key)),
        ..ours.clone()
    };
    let expired = Tls::load(expired).expect("loaded: that it has expired is the peers' business");
    assert_eq!(
        shake(&us, &expired, "sip.example.com").expect_err("expired"),
        "TLS: the peer's certificate is not accepted: it has expired"
    );
    let other_place = Place::new();
    let stranger = settings(&other_place, &super::tests::issuer(), &["sip.example.com"]);
    let server = Tls::load(stranger.clone()).expect("loaded");
    assert_eq!(
        shake(&us, &server, "sip.example.com").expect_err("a stranger"),
        "TLS: the peer's certificate is not accepted: its issuer is not trusted"
    );
    // `verify=False` takes anybody, on both sides.
    let trusting = Tls::load(TlsSettings { verify: false, ..ours.clone() }).expect("loaded");
    shake(&trusting, &server, "whatever.example").expect_err("the stranger asks for a certificate it trusts");
    let anonymous = Tls::load(TlsSettings { verify: false, ..TlsSettings::default() }).expect("loaded");
    shake(&anonymous, &server, "whatever.example").expect("clients need not show one");
    // One that shows a certificate must be trusted, where we verify.
    let posing = Tls::load(TlsSettings { ca: ours.ca.clone(), ..stranger }).expect("loaded");
    shake(&posing, &us, "sip.example.com").expect_err("its certificate is not trusted");
    shake(&posing, &trusting, "sip.example.com").expect("not looked at");
}

#[test]
fn changed_files_are_read_again_and_bad_ones_change_nothing() {
    let (place, issuer) = (Place::new(), issuer());
    let tls = Tls::load(settings(&place, &issuer, &["old.example"])).expect("loaded");
    shake(&tls, &tls, "old.example").expect("ours");
    place.write("own.pem", "nonsense");
    shake(&tls, &tls, "old.example").expect("as before");
    let (certificate, key) = issue(&issuer, &["new.example"], |_| ());
    place.write("own.pem", &certificate);
    shake(&tls, &tls, "old.example").expect("the key does not fit yet");
    place.write("own.key", &key);
    shake(&tls, &tls, "new.example").expect("renewed");
    shake(&tls, &tls, "old.example").expect_err("no longer");
    fs::remove_file(place.0.join("own.key")).expect("removed");
    shake(&tls, &tls, "new.example").expect("as before");
}

#[test]
fn what_cannot_be_used_is_named() {
    let (place, issuer) = (Place::new(), issuer());
    let good = settings(&place, &issuer, &["a.example"]);
    let missing = Some(place.0.join("missing.pem"));
    let error = Tls::load(TlsSettings { ca: missing, ..good.clone() }).expect_err("missing").to_string();
    assert!(
        error.contains("CA certificate") && error.contains("missing.pem") && error.contains("No such file"),
        "{error}"
    );
    let empty = Some(place.write("empty.pem", ""));
    for (settings, what) in [
        (TlsSettings { certificate: empty.clone(), ..good.clone() }, "certificate"),
        (TlsSettings { private_key: empty.clone(), ..good.clone() }, "private key"),
        (TlsSettings { ca: empty, ..good.clone() }, "CA certificate"),
    ] {
        let error = Tls::load(settings).expect_err("empty").to_string();
        assert!(error.starts_with(&format!("the {what} ")) && error.contains("empty.pem"), "{error}");
    }
    let lone = TlsSettings { certificate: None, ..good };
    assert!(
        Tls::load(lone).expect_err("no certificate").to_string().contains(Path::new("own.key").to_str().expect("text"))
    );
}

#[test]
fn a_certificate_that_signed_itself_is_trusted_where_the_ca_file_holds_it() {
    let place = Place::new();
    // As `openssl req -x509` makes it: a CA's.
    let own = |name: &str, expired: bool| {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        if expired {
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        }
        let certificate = params.self_signed(&key).expect("signed").pem();
        let file = if expired { "expired.pem" } else { "self.pem" };
        place.write(file, &format!("{certificate}{}", key.serialize_pem()))
    };
    let path = own("pbx.example.com", false);
    let both = TlsSettings { certificate: Some(path.clone()), private_key: None, ca: Some(path), verify: true };
    let tls = Tls::load(both.clone()).expect("loaded");
    // Both ways: the client shows the same one.
    assert_eq!(shake(&tls, &tls, "pbx.example.com"), Ok(()));
    let other = shake(&tls, &tls, "other.example.com").expect_err("of another host");
    assert!(other.contains("it is not of other.example.com but of pbx.example.com"), "{other}");
    // One that is not in the file, though it is a CA's too, and one whose time is over.
    let stranger = TlsSettings { ca: Some(place.write("ca.pem", &issuer().pem())), ..both.clone() };
    let stranger = Tls::load(stranger).expect("loaded");
    shake(&stranger, &tls, "pbx.example.com").expect_err("a stranger");
    let path = own("pbx.example.com", true);
    let expired = TlsSettings { certificate: Some(path.clone()), private_key: None, ca: Some(path), verify: true };
    let expired = Tls::load(expired).expect("loaded");
    let over = shake(&expired, &expired, "pbx.example.com").expect_err("expired");
    assert!(over.contains("it has expired"), "{over}");
}
