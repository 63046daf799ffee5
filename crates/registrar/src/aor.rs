//! Addresses of record as keys: RFC 3261 §10.3, 5.

use ringback_sip::{Scheme, Uri};

/// The one text by which an address of record is known: no parameters, no port, escapes undone and made again in one way, the host in lower
/// case. `sips:` names the same user as `sip:` (§19.1: reaching it by TLS is another matter). `None`: no address of a user.
pub fn address_of_record(uri: &Uri) -> Option<String> {
    if !matches!(uri.scheme(), Scheme::Sip | Scheme::Sips) {
        return None;
    }
    let user = uri.user().filter(|user| !user.is_empty())?;
    let host = uri.host()?.to_string().to_ascii_lowercase();
    let host = host.trim_end_matches('.').trim_matches(['[', ']']);
    Uri::sip(Some(&user), host, None).ok().map(|uri| uri.to_string())
}

/// Whether a URI's host is one of these domains.
pub fn same_host(uri: &Uri, domains: &[String]) -> bool {
    let Some(host) = uri.host() else { return false };
    let host = host.to_string();
    let host = host.trim_end_matches('.').trim_matches(['[', ']']);
    domains.iter().any(|domain| domain.trim_end_matches('.').trim_matches(['[', ']']).eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_for_all_spellings() {
        for (uri, expected) in [
            ("sip:alice@example.com", Some("sip:alice@example.com")),
            ("sip:%61lice@EXAMPLE.com.:5070;transport=tcp?Subject=x", Some("sip:alice@example.com")),
            ("sips:alice:secret@example.com;user=phone", Some("sip:alice@example.com")),
            ("sip:Alice@example.com", Some("sip:Alice@example.com")),
            ("sip:a%20b@[2001:db8::1]", Some("sip:a%20b@[2001:db8::1]")),
            ("sip:example.com", None),
            ("tel:+49", None),
        ] {
            assert_eq!(address_of_record(&Uri::parse(uri).unwrap()).as_deref(), expected, "{uri}");
        }
        let domains = ["Example.com".to_owned(), "2001:db8::1".to_owned()];
        assert!(same_host(&Uri::parse("sip:a@example.COM.").unwrap(), &domains));
        assert!(same_host(&Uri::parse("sip:a@[2001:db8::1]:5070").unwrap(), &domains));
        assert!(!same_host(&Uri::parse("sip:a@sub.example.com").unwrap(), &domains));
    }
}
