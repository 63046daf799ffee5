//! Who sends first (`a=direction` of the comedia drafts, draft-ietf-mmusic-sdp-comedia-04 §4; RFC 4145 has it as `a=setup` for TCP, and
//! left media over UDP out). Gateways and phones behind translators still say it of RTP: `active` means that the address of the
//! description is good for nothing, and that media is to be sent to where theirs comes from.

/// As the owner of a description says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It sends first: its address is learned from its packets.
    Active,
    /// It waits for packets, and learns from them.
    Passive,
    Both,
}

impl Role {
    /// The attribute's value; a port that may follow is for connections.
    pub(crate) fn parse(value: &str) -> Option<Self> {
        match value.split_ascii_whitespace().next()? {
            role if role.eq_ignore_ascii_case("active") => Some(Role::Active),
            role if role.eq_ignore_ascii_case("passive") => Some(Role::Passive),
            role if role.eq_ignore_ascii_case("both") => Some(Role::Both),
            _ => None,
        }
    }

    /// What is answered: we have an address that can be sent to, and need no other's first packet.
    pub(crate) const fn answered(self) -> &'static str {
        match self {
            Role::Active => "passive",
            Role::Passive => "active",
            Role::Both => "both",
        }
    }
}
