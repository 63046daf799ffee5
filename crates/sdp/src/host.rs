use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// Where media is sent to, as a `c=` line has it: usually an address, sometimes a name that is still to be looked up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MediaHost {
    Ip(IpAddr),
    Name(String),
}

impl MediaHost {
    /// Where packets go. RFC 5118 §4.9: an IPv4 address mapped into IPv6 is reached by IPv4.
    pub const fn ip(&self) -> Option<IpAddr> {
        match self {
            MediaHost::Ip(ip) => Some(ip.to_canonical()),
            MediaHost::Name(_) => None,
        }
    }

    /// `c=0.0.0.0`: the old way to put a call on hold (RFC 3264 §8.4), or an address not known yet (§5).
    pub(crate) fn is_null(&self) -> bool {
        matches!(self, MediaHost::Ip(ip) if ip.to_canonical().is_unspecified())
    }

    /// Packets that go there go to many.
    pub(crate) fn is_of_many(&self) -> bool {
        match self.ip() {
            Some(IpAddr::V4(ip)) => ip.is_multicast() || ip.is_broadcast(),
            Some(IpAddr::V6(ip)) => ip.is_multicast(),
            None => false,
        }
    }

    /// `IP4` or `IP6`. RFC 8866 §5.7: a name stands with the address type that it is to be looked up as.
    pub(crate) const fn address_type(&self) -> &'static str {
        match self {
            MediaHost::Ip(IpAddr::V6(_)) => "IP6",
            _ => "IP4",
        }
    }
}

/// To which kind of addresses there is a way from where we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Families {
    pub v4: bool,
    pub v6: bool,
}

impl Families {
    pub const BOTH: Families = Families { v4: true, v6: true };

    /// None but those of `ips`.
    pub fn of(ips: impl IntoIterator<Item = IpAddr>) -> Self {
        ips.into_iter().fold(Families { v4: false, v6: false }, |known, ip| match ip.to_canonical() {
            IpAddr::V4(_) => Families { v4: true, ..known },
            IpAddr::V6(_) => Families { v6: true, ..known },
        })
    }

    pub const fn reach(self, ip: IpAddr) -> bool {
        match ip.to_canonical() {
            IpAddr::V4(_) => self.v4,
            IpAddr::V6(_) => self.v6,
        }
    }
}

impl Default for MediaHost {
    fn default() -> Self {
        MediaHost::Ip(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }
}

impl fmt::Display for MediaHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MediaHost::Ip(ip) => ip.fmt(f),
            MediaHost::Name(name) => f.write_str(name),
        }
    }
}

impl From<IpAddr> for MediaHost {
    fn from(ip: IpAddr) -> Self {
        MediaHost::Ip(ip)
    }
}

/// An address where the text is one (IPv6 with or without brackets), else a name.
impl From<&str> for MediaHost {
    fn from(text: &str) -> Self {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        match bare.parse() {
            Ok(ip) => MediaHost::Ip(ip),
            Err(_) => MediaHost::Name(text.to_owned()),
        }
    }
}

impl FromStr for MediaHost {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.into())
    }
}
