//! How RTCP is asked for: extended reports (RFC 3611 §5), and one port for RTP and RTCP (RFC 5761, RFC 8035).

/// What the owner of a description wants in extended reports (RFC 3611 §5.1); formats that are not known are passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Xr {
    /// `voip-metrics`: to be told these.
    pub(crate) voip_metrics: bool,
    /// `rcvr-rtt`: both sides take part in measuring the round trip.
    pub(crate) receiver_rtt: bool,
}

impl Xr {
    /// The attribute's value.
    pub(crate) fn parse(value: &str) -> Self {
        let formats = || value.split_ascii_whitespace();
        Xr {
            voip_metrics: formats().any(|format| format == "voip-metrics"),
            receiver_rtt: formats().any(|format| {
                // RFC 3611 §5.1: `rcvr-rtt=<mode>[:<max-size>]`
                let mode = format.strip_prefix("rcvr-rtt=").and_then(|mode| mode.split(':').next());
                matches!(mode, Some("all" | "sender"))
            }),
        }
    }

    /// RFC 3611 §5.2: the answerer's own wish for metrics is its own; what both sides take part in needs the offer.
    pub(crate) fn answer(self) -> Self {
        Xr { voip_metrics: true, ..self }
    }
}

/// What an audio line of ours says of RTCP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rtcp {
    pub(crate) xr: Option<Xr>,
    pub(crate) mux: bool,
}

impl Rtcp {
    pub(crate) fn write(self, out: &mut String) {
        match self.xr {
            Some(Xr { voip_metrics, receiver_rtt }) if voip_metrics || receiver_rtt => {
                out.push_str("a=rtcp-xr:");
                let formats = [(voip_metrics, "voip-metrics"), (receiver_rtt, "rcvr-rtt=all")];
                let mut wanted = formats.iter().filter(|(wanted, _)| *wanted).map(|(_, format)| *format);
                out.push_str(wanted.next().unwrap_or_default());
                for format in wanted {
                    out.push(' ');
                    out.push_str(format);
                }
                out.push_str("\r\n");
            }
            _ => {}
        }
        if self.mux {
            out.push_str("a=rtcp-mux\r\n");
        }
    }
}
