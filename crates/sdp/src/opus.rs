//! The format parameters of Opus (RFC 7587 §6.1): what its receiver wishes of who sends to it.

use crate::line::number;

/// What is not said has the default that the RFC gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpusParameters {
    /// `maxplaybackrate`, Hz.
    pub playback_rate: u32,
    /// `maxaveragebitrate`, bits a second. `None`: whatever suits.
    pub bitrate: Option<u32>,
    /// `useinbandfec`: the receiver makes use of the copies of lost frames.
    pub fec: bool,
    /// `usedtx`: the receiver would rather not get silence.
    pub dtx: bool,
}

impl Default for OpusParameters {
    fn default() -> Self {
        OpusParameters { playback_rate: 48_000, bitrate: None, fec: false, dtx: false }
    }
}

impl OpusParameters {
    /// Reads `a=fmtp`'s parameters. What is unknown or malformed is as if it were not there; rates are brought into the range of the RFC.
    pub fn parse(fmtp: &str) -> Self {
        let mut parameters = OpusParameters::default();
        for (name, value) in fmtp.split(';').filter_map(|parameter| parameter.split_once('=')) {
            let (name, value) = (name.trim(), value.trim());
            let rate = |low: u32, high: u32| number::<u32>(value).map(|rate| rate.clamp(low, high));
            if name.eq_ignore_ascii_case("maxplaybackrate") {
                parameters.playback_rate = rate(8_000, 48_000).unwrap_or(parameters.playback_rate);
            } else if name.eq_ignore_ascii_case("maxaveragebitrate") {
                parameters.bitrate = rate(6_000, 510_000).or(parameters.bitrate);
            } else if name.eq_ignore_ascii_case("useinbandfec") {
                parameters.fec = value == "1";
            } else if name.eq_ignore_ascii_case("usedtx") {
                parameters.dtx = value == "1";
            }
        }
        parameters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_holds_and_the_rest_is_the_default() {
        let none = OpusParameters::default();
        let rows = [
            ("", none),
            ("useinbandfec=1", OpusParameters { fec: true, ..none }),
            (
                "maxplaybackrate=16000; sprop-maxcapturerate=16000;\tmaxaveragebitrate=20000; stereo=1; useinbandfec=1; usedtx=1",
                OpusParameters { playback_rate: 16_000, bitrate: Some(20_000), fec: true, dtx: true },
            ),
            ("MaxPlaybackRate=8000;USEINBANDFEC=0", OpusParameters { playback_rate: 8_000, ..none }),
            (
                "maxplaybackrate=1;maxaveragebitrate=999999999",
                OpusParameters { playback_rate: 8_000, bitrate: Some(510_000), ..none },
            ),
            ("maxplaybackrate=;maxaveragebitrate=x;useinbandfec=yes;usedtx;=;==1;", none),
            ("maxplaybackrate=-1;maxaveragebitrate=99999999999999999999", none),
        ];
        for (fmtp, expected) in rows {
            assert_eq!(OpusParameters::parse(fmtp), expected, "{fmtp}");
        }
    }
}
