//! The media side of a call: the port that is kept for it, the descriptions that were exchanged, and the commands that bring its
//! leg in line with them.
//!
//! Invariant: a leg is `open` from its `Open` to its `Close` and has a port all that time; a port that was never opened goes back
//! by `MediaPorts::release`, an open one by `Close`. External media (the program's own description) has neither.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use ringback_media_api::{
    Codec, Command as MediaCommand, Detection, EventFormat, LegConfig, LegId, MediaPort, MediaPorts, OpusSend,
    PublicAddress, ReceiveFormat, SendFormat, Tape,
};
use ringback_sdp::{
    AudioCodec, Description, Direction, EventType, Families, LocalCodec, LocalMedia, MediaHost, Negotiated,
    OpusParameters, Role, SdpError,
};
use ringback_time::Now;

use crate::api::{Config, Error, InbandDtmf, MediaInfo};
use crate::engine::{Engine, Legs, Output};
use crate::table::Key;

/// The media of one call.
#[derive(Debug)]
pub(crate) struct Media {
    pub(crate) port: Option<MediaPort>,
    pub(crate) open: bool,
    /// It is being asked where others reach the port (`reach`).
    pub(crate) seeking: bool,
    /// Where they do, unless it is the local address.
    pub(crate) public: Option<PublicAddress>,
    /// The program brought its own description: no RTP here.
    pub(crate) external: bool,
    /// Our own address as packets leave by it; unspecified while it is not known.
    pub(crate) local: IpAddr,
    /// `o=`'s session number.
    session_id: u64,
    /// Our codecs in an order of its own (`codecs`).
    pub(crate) codecs: Option<Box<[LocalCodec]>>,
    /// The other side of a forwarded call has comfort noise.
    pub(crate) offers_noise: bool,
    /// The host that the peer's messages come from.
    pub(crate) signalling: Option<IpAddr>,
    /// What we want; holding makes it less.
    pub(crate) direction: Direction,
    /// The descriptions in force.
    pub(crate) local_sdp: Option<String>,
    pub(crate) remote_sdp: Option<String>,
    /// The peer's offer that is not answered yet.
    pub(crate) remote_offer: Option<String>,
    /// Our offer that is not answered yet.
    pub(crate) local_offer: Option<String>,
    /// Made for the program by `GenerateOffer`, and not sent yet.
    pub(crate) generated: Option<String>,
    /// The answer that a provisional response has already given; the 2xx repeats it.
    pub(crate) early: Option<Plan>,
    pub(crate) config: Option<Box<LegConfig>>,
    /// Where the peer's description sends to; differs from `config` after `EstablishMediaFlow`.
    described: Option<SocketAddr>,
    pub(crate) muted: bool,
    /// `stop_audio_transmission`.
    pub(crate) stopped: bool,
    pub(crate) monitor: Option<Duration>,
    /// Speech is looked for.
    pub(crate) detection: Option<Detection>,
    /// What the call is recorded on.
    pub(crate) tape: Weak<Tape>,
}

/// What a message will say about media, worked out before it is sent.
#[derive(Clone, Debug)]
pub(crate) enum Plan {
    /// Our answer to the peer's offer.
    Answer(Box<Negotiated>),
    /// Our offer, where the peer made none.
    Offer(String),
    /// Nothing: offer and answer are done.
    Settled,
    /// The program's own, for media that is not here.
    External { sdp: String, is_offer: bool },
}

impl Plan {
    pub(crate) fn sdp(&self) -> &str {
        match self {
            Plan::Answer(negotiated) => &negotiated.local_sdp,
            Plan::Offer(sdp) | Plan::External { sdp, .. } => sdp,
            Plan::Settled => "",
        }
    }
}

impl Media {
    pub(crate) fn new(local: IpAddr, session_id: u64) -> Self {
        Media {
            port: None,
            open: false,
            seeking: false,
            public: None,
            external: false,
            local,
            session_id,
            codecs: None,
            offers_noise: false,
            signalling: None,
            direction: Direction::SendRecv,
            local_sdp: None,
            remote_sdp: None,
            remote_offer: None,
            local_offer: None,
            generated: None,
            early: None,
            config: None,
            described: None,
            muted: false,
            stopped: false,
            monitor: None,
            detection: None,
            tape: Weak::new(),
        }
    }

    /// The leg, once it lives.
    pub(crate) fn leg(&self) -> Option<LegId> {
        self.port.filter(|_| self.open).map(|port| port.leg)
    }

    /// The RTP port as descriptions name it.
    fn told_port(&self) -> Option<u16> {
        let port = self.port?;
        Some(self.public.map_or(port.rtp.port(), |public| public.rtp.port()))
    }

    pub(crate) fn has_dtmf_events(&self) -> bool {
        self.open && self.config.as_ref().is_some_and(|config| config.dtmf_send.is_some())
    }

    pub(crate) fn info(&self) -> Option<MediaInfo> {
        if self.local_sdp.is_none() && self.remote_sdp.is_none() {
            return None;
        }
        let text_address =
            |sdp: &Option<String>| sdp.as_deref().and_then(|sdp| ringback_sdp::media_address(sdp).ok())?;
        let send = self.config.as_ref().and_then(|config| config.send);
        Some(MediaInfo {
            local_sdp: self.local_sdp.clone(),
            remote_sdp: self.remote_sdp.clone(),
            local_address: match self.port {
                Some(port) => Some(SocketAddr::new(self.local, port.rtp.port())),
                None => text_address(&self.local_sdp),
            },
            remote_address: match &self.config {
                Some(config) => config.remote_rtp,
                None => text_address(&self.remote_sdp),
            },
            codec: send.map(|send| send.codec.name()),
            sample_rate: send.map(|send| send.codec.sample_rate()),
        })
    }
}

pub(crate) fn sdp_error(error: &SdpError) -> Error {
    Error::Sdp(error.to_string())
}

pub(crate) fn local_codec(codec: Codec, opus: &OpusSend) -> LocalCodec {
    match codec {
        Codec::Opus => LocalCodec::opus(opus.dtx),
        other => LocalCodec::new(other.name(), other.clock_rate(), other.static_payload_type()),
    }
}

/// Is it our own description (with attributes edited, perhaps), or one of media elsewhere?
fn is_ours(sdp: &str, host: &MediaHost, port: Option<u16>) -> Result<bool, Error> {
    let description = Description::parse(sdp).map_err(|error| sdp_error(&error))?;
    let audio = description.media().iter().find(|media| media.is_audio() && media.port() != 0);
    Ok(match (audio, port) {
        (Some(media), Some(port)) => media.port() == port && description.host_of(media) == Some(host),
        _ => false,
    })
}

/// The peer does not want to hear us: by direction, or by the null address of RFC 2543.
fn holds(sdp: &str) -> bool {
    let Ok(description) = Description::parse(sdp) else { return false };
    let Some(audio) = description.media().iter().find(|media| media.is_audio() && media.port() != 0) else {
        return false;
    };
    let null = matches!(description.host_of(audio), Some(MediaHost::Ip(ip)) if ip.is_unspecified());
    null || !description.direction_of(audio).receives()
}

/// The direction of the audio of a description. `None`: there is none.
fn audio_direction(sdp: &str) -> Option<Direction> {
    let description = Description::parse(sdp).ok()?;
    let audio = description.media().iter().find(|media| media.is_audio() && media.port() != 0)?;
    Some(description.direction_of(audio))
}

/// A description of ours that says that we hear the peer.
pub(crate) fn hears(sdp: &str) -> bool {
    audio_direction(sdp).is_some_and(Direction::receives)
}

/// An offer of the peer that says that it sends, so that the answer tells whether it is heard.
pub(crate) fn peer_sends(sdp: &str) -> bool {
    audio_direction(sdp).is_some_and(Direction::sends)
}

/// An offer of the program's own that says that it sends.
fn sends(sdp: &str) -> bool {
    audio_direction(sdp).is_none_or(Direction::sends)
}

impl Media {
    /// The kinds of addresses that its packets get to. `public`: what stands for us outside; where that is of another family, there is a
    /// translator or relay in between.
    fn families(&self, public: Option<&MediaHost>) -> Families {
        let Some(port) = self.port else { return Families::BOTH };
        let relayed = self.public.map(|public| public.rtp.ip());
        Families::of([Some(port.rtp.ip()), relayed, public.and_then(MediaHost::ip)].into_iter().flatten())
    }
}

impl Engine {
    /// What our descriptions of this call say: the engine's template with the call's own values.
    pub(crate) fn wishes(&mut self, key: Key) -> &LocalMedia {
        if let Some(call) = self.calls.get(key) {
            let media = &call.media;
            self.template.address = match (&media.public, &self.public_host) {
                (Some(public), _) => MediaHost::Ip(public.rtp.ip()),
                (None, Some(host)) => host.clone(),
                (None, None) => MediaHost::Ip(media.local),
            };
            // Where the source is learned, a translator may stand between (RFC 6146), whatever the description says.
            self.template.families =
                if self.config.symmetric_rtp { Families::BOTH } else { media.families(self.public_host.as_ref()) };
            self.template.port = media.told_port().unwrap_or(0);
            self.template.rtcp = media.public.map(|public| public.rtcp);
            self.template.session_id = media.session_id;
            self.template.direction = media.direction;
            self.template.offer_comfort_noise = media.offers_noise;
            let codecs = media.codecs.as_deref();
            if codecs.is_some() || self.reordered {
                self.reordered = codecs.is_some();
                self.template.codecs = codecs.unwrap_or(&self.codecs).to_vec();
            }
            self.template.previous = media.local_sdp.clone();
        }
        &self.template
    }

    /// A port pair for a call whose media goes by `local`. `beside`: as `MediaPorts::allocate` has it.
    pub(crate) fn reserve(&mut self, now: Now, local: IpAddr, beside: Option<u8>) -> Option<MediaPort> {
        let local = self.config.media_address.unwrap_or(local);
        self.ports.allocate(now, local, beside)
    }

    /// What the answer to a new call says: generated, or the program's own. `Error::Sdp` where it cannot be.
    pub(crate) fn plan_answer(&mut self, key: Key, own: Option<String>) -> Result<Plan, Error> {
        let wishes = self.wishes(key);
        let host = wishes.address.clone();
        let Some(call) = self.calls.get(key) else { return Err(Error::Sdp("the call is over".into())) };
        let media = &call.media;
        if let Some(early) = &media.early {
            // RFC 3261 §13.2.1: the answer in the 2xx is that of the provisional responses.
            let said = match early {
                Plan::Settled => media.local_sdp.as_deref().unwrap_or_default(),
                other => other.sdp(),
            };
            return match own {
                Some(own) if own != said => {
                    Err(Error::Sdp("the answer differs from the one already given as early media".into()))
                }
                _ => Ok(early.clone()),
            };
        }
        match (own, &media.remote_offer) {
            (None, Some(offer)) => {
                let negotiated = ringback_sdp::answer(offer, &self.template).map_err(|error| sdp_error(&error))?;
                usable(negotiated).map(Plan::Answer)
            }
            (None, None) => Ok(Plan::Offer(match &media.generated {
                Some(generated) => generated.clone(),
                None => ringback_sdp::offer(&self.template),
            })),
            (Some(own), Some(offer)) if is_ours(&own, &host, media.told_port())? => {
                let negotiated =
                    ringback_sdp::answered(offer, &own, &self.template).map_err(|error| sdp_error(&error))?;
                usable(negotiated).map(Plan::Answer)
            }
            (Some(own), Some(offer)) => {
                ringback_sdp::check_answer(offer, &own).map_err(|error| sdp_error(&error))?;
                Ok(Plan::External { sdp: own, is_offer: false })
            }
            (Some(own), None) => self.plan_own_offer(&own, &host, key),
        }
    }

    /// What a first offer of ours says.
    pub(crate) fn plan_offer(&mut self, key: Key, own: Option<String>) -> Result<Plan, Error> {
        let host = self.wishes(key).address.clone();
        match own {
            Some(own) => self.plan_own_offer(&own, &host, key),
            None => {
                let generated = self.calls.get(key).and_then(|call| call.media.generated.clone());
                Ok(Plan::Offer(generated.unwrap_or_else(|| ringback_sdp::offer(&self.template))))
            }
        }
    }

    fn plan_own_offer(&self, own: &str, host: &MediaHost, key: Key) -> Result<Plan, Error> {
        ringback_sdp::check_offer(own).map_err(|error| sdp_error(&error))?;
        let port = self.calls.get(key).and_then(|call| call.media.told_port());
        Ok(if is_ours(own, host, port)? {
            Plan::Offer(own.to_owned())
        } else {
            Plan::External { sdp: own.to_owned(), is_offer: true }
        })
    }

    /// Puts into force what a message that is on its way has said. An offer of ours waits for its answer.
    pub(crate) fn carry_out(&mut self, now: Now, key: Key, plan: Plan) {
        let Some(call) = self.calls.get_mut(key) else { return };
        call.media.generated = None;
        match plan {
            Plan::Answer(negotiated) => {
                let offer = call.media.remote_offer.take();
                self.settle(now, key, *negotiated, offer);
            }
            Plan::Offer(sdp) => call.media.local_offer = Some(sdp),
            Plan::Settled => {}
            Plan::External { sdp, is_offer } => {
                call.media.external = true;
                if !is_offer && let Some(offer) = call.media.remote_offer.take() {
                    call.session.set_remote_hold(holds(&offer));
                    call.media.remote_sdp = Some(offer);
                }
                if is_offer {
                    call.media.local_offer = Some(sdp);
                } else {
                    call.media.local_sdp = Some(sdp);
                }
                self.release_port(now, key);
            }
        }
    }

    /// Reads the peer's answer to our offer, which stays open where the answer is an early one (`last` false: another, or the same,
    /// follows in the 2xx). On an error nothing has changed.
    pub(crate) fn accept_answer(&mut self, now: Now, key: Key, answer: &str, last: bool) -> Result<(), Error> {
        self.wishes(key);
        let Some(call) = self.calls.get_mut(key) else { return Ok(()) };
        let Some(offer) = &call.media.local_offer else { return Err(Error::Sdp("no offer is open".into())) };
        if call.media.external {
            Description::parse(answer).map_err(|error| sdp_error(&error))?;
            if sends(offer) {
                call.session.set_remote_hold(holds(answer));
            }
            call.media.local_sdp = Some(offer.clone());
            if last {
                call.media.local_offer = None;
            }
            call.media.remote_sdp = Some(answer.to_owned());
            return Ok(());
        }
        let negotiated = ringback_sdp::accept(offer, answer, &self.template).map_err(|error| sdp_error(&error))?;
        let negotiated = usable(negotiated)?;
        if last {
            call.media.local_offer = None;
        }
        self.settle(now, key, *negotiated, Some(answer.to_owned()));
        Ok(())
    }

    /// Brings the leg in line with what was settled.
    pub(crate) fn settle(&mut self, now: Now, key: Key, negotiated: Negotiated, remote_sdp: Option<String>) {
        let Some(call) = self.calls.get_mut(key) else { return };
        // What the peer has said last of it stands until it says something else.
        if negotiated.tells_hold {
            call.session.set_remote_hold(negotiated.remote_held);
        }
        let media = &mut call.media;
        let mut config = leg_config(&negotiated, &self.config, &self.cname);
        config.signalling = media.signalling;
        config.dtmf_inband = match self.config.inband_dtmf {
            InbandDtmf::Never => false,
            InbandDtmf::WithoutEvents => config.dtmf_receive.is_empty(),
            InbandDtmf::Always => true,
        };
        if let Some(before) = &media.config {
            // A description that came before says nothing new: nothing is learned anew.
            let anew = remote_sdp.is_some() && media.remote_sdp != remote_sdp;
            config.latch_generation = before.latch_generation.wrapping_add(u32::from(anew));
            // `EstablishMediaFlow` holds until a description says another address.
            let diverted = before.remote_rtp != media.described;
            if diverted && negotiated.remote_rtp == media.described {
                config.remote_rtp = before.remote_rtp;
                config.remote_rtcp = before.remote_rtcp;
                config.sends_first = before.sends_first;
                config.signalling = before.signalling;
            }
        }
        media.described = negotiated.remote_rtp;
        tracing::debug!(
            target: "ringback.media", call_id = %call.session.call_id, "{} {} {}", negotiated.direction,
            negotiated.send.as_ref().map_or("without a codec", |codec| &*codec.name),
            negotiated.remote_rtp.map_or_else(|| "to nowhere".to_owned(), |remote| format!("to {remote}"))
        );
        media.local_sdp = Some(negotiated.local_sdp);
        if remote_sdp.is_some() {
            media.remote_sdp = remote_sdp;
        }
        self.apply(now, key, config);
    }

    fn apply(&mut self, _now: Now, key: Key, config: LegConfig) {
        let Some(call) = self.calls.get_mut(key) else { return };
        let media = &mut call.media;
        let Some(port) = media.port else { return };
        let leg = port.leg;
        let config = Box::new(config);
        let unchanged = media.config.as_ref() == Some(&config);
        media.config = Some(config.clone());
        if media.open && unchanged {
            return;
        }
        if media.open {
            self.output.push_back(Output::Media(MediaCommand::Configure { leg, config }));
            return;
        }
        media.open = true;
        self.legs.insert(leg, key);
        let (muted, stopped, monitor, detection) = (media.muted, media.stopped, media.monitor, media.detection);
        self.output.push_back(Output::Media(MediaCommand::Open { leg, config }));
        if muted {
            self.output.push_back(Output::Media(MediaCommand::Mute { leg, on: true }));
        }
        if stopped {
            self.output.push_back(Output::Media(MediaCommand::Transmit { leg, on: false }));
        }
        if monitor.is_some() {
            self.output.push_back(Output::Media(MediaCommand::Monitor { leg, interval: monitor }));
        }
        if detection.is_some() {
            self.output.push_back(Output::Media(MediaCommand::Detect { leg, detection }));
        }
        if self.config.interest.media_timeout {
            let after = Some(self.config.media_timeout);
            self.output.push_back(Output::Media(MediaCommand::WatchSilence { leg, after }));
        }
    }

    /// The leg of a call, or the error that tells why there is none.
    pub(crate) fn leg_for(&self, key: Key, what: &'static str) -> Result<LegId, Error> {
        let Some(call) = self.calls.get(key) else { return Err(self.unfit(key, what)) };
        match call.media.leg() {
            Some(leg) => Ok(leg),
            None if call.media.external => Err(Error::Media(format!("{what}: the call's media is external"))),
            // Before the answer, unless there is early media.
            None if !self.is_up(key) => Err(self.unfit(key, what)),
            None => Err(Error::Media(format!("{what}: the call has no media"))),
        }
    }

    /// Another destination, and another accepted source, until a description changes the remote address.
    pub(crate) fn divert(&mut self, now: Now, key: Key, remote: SocketAddr) -> Result<(), Error> {
        self.leg_for(key, "establish_media_flow")?;
        let Some(call) = self.calls.get(key) else { return Ok(()) };
        let Some(before) = &call.media.config else { return Ok(()) };
        if !call.media.families(self.public_host.as_ref()).reach(remote.ip()) {
            return Err(Error::BadValue(format!("there is no way from the call's media address to {remote}")));
        }
        let mut config = LegConfig::clone(before);
        config.remote_rtp = Some(remote);
        config.remote_rtcp = remote.port().checked_add(1).map(|port| SocketAddr::new(remote.ip(), port));
        // The program knows the address.
        config.sends_first = false;
        config.signalling = Some(remote.ip());
        config.latch_generation = before.latch_generation.wrapping_add(1);
        self.apply(now, key, config);
        Ok(())
    }

    /// Gives a call's port back, however far it came. `told`: the peer may know of it.
    pub(crate) fn close_media(&mut self, now: Now, media: &mut Media, told: bool) {
        close(media, now, told, &mut self.legs, &mut *self.ports, &mut self.output);
    }

    /// The same for a call that goes on without media of ours.
    pub(crate) fn release_port(&mut self, now: Now, key: Key) {
        if let Some(call) = self.calls.get_mut(key) {
            close(&mut call.media, now, true, &mut self.legs, &mut *self.ports, &mut self.output);
        }
    }
}

fn close(
    media: &mut Media,
    now: Now,
    told: bool,
    legs: &mut Legs,
    ports: &mut dyn MediaPorts,
    output: &mut VecDeque<Output>,
) {
    media.config = None;
    let open = std::mem::take(&mut media.open);
    let Some(port) = media.port.take() else { return };
    media.seeking = false;
    legs.remove(&port.leg);
    if open {
        output.push_back(Output::Media(MediaCommand::Close { leg: port.leg }));
    } else {
        ports.release(now, port.leg, told);
    }
}

/// A description whose address we can send to. RFC 8866 §5.7 allows a name there, which would have to be looked up first.
pub(crate) fn usable(negotiated: Negotiated) -> Result<Box<Negotiated>, Error> {
    match &negotiated.remote_host {
        Some(MediaHost::Name(name)) => Err(Error::Sdp(format!("the media address is a name: {name:?}"))),
        _ => Ok(Box::new(negotiated)),
    }
}

fn leg_config(negotiated: &Negotiated, config: &Config, cname: &Arc<str>) -> LegConfig {
    let codec_of = |settled: &AudioCodec| {
        let is_it = |codec: &Codec| codec.name() == settled.name && codec.clock_rate() == settled.clock_rate;
        Codec::ALL.into_iter().find(is_it)
    };
    let event = |event: EventType| EventFormat { payload_type: event.payload_type, clock_rate: event.clock_rate };
    let send = negotiated.send.as_ref().and_then(|codec| {
        let ptime_ms = negotiated.ptime_ms;
        Some(SendFormat { codec: codec_of(codec)?, payload_type: codec.payload_type, ptime_ms })
    });
    let receive = negotiated
        .receive
        .iter()
        .filter_map(|codec| Some(ReceiveFormat { codec: codec_of(codec)?, payload_type: codec.payload_type }));
    LegConfig {
        remote_rtp: negotiated.remote_rtp,
        remote_rtcp: negotiated.remote_rtcp,
        receive: receive.collect(),
        dtmf_send: negotiated.dtmf_send.map(event),
        dtmf_receive: negotiated.dtmf_receive.iter().copied().map(event).collect(),
        comfort_noise: negotiated.comfort_noise,
        comfort_noise_send: negotiated.comfort_noise_send,
        opus: negotiated.send.as_ref().map_or(config.opus, |codec| opus_send(config.opus, codec)),
        rtcp_mux: negotiated.rtcp_mux,
        xr_voip: negotiated.xr_voip,
        xr_reference_time: negotiated.xr_reference_time,
        dtmf_inband: false,
        may_send: send.is_some() && negotiated.remote_rtp.is_some() && negotiated.direction.sends(),
        may_receive: negotiated.direction.receives(),
        send,
        // A peer that says that it sends first says that its address is to be learned.
        symmetric: config.symmetric_rtp || negotiated.remote_role == Some(Role::Active),
        signalling: None,
        sends_first: negotiated.remote_role == Some(Role::Active) && negotiated.direction.receives(),
        latch_generation: 0,
        cname: Arc::clone(cname),
    }
}

/// RFC 7587 §6.1: the receiver's parameters limit what is sent to it.
fn opus_send(ours: OpusSend, settled: &AudioCodec) -> OpusSend {
    let theirs = settled.fmtp.as_deref().filter(|_| settled.name == Codec::Opus.name()).map(OpusParameters::parse);
    let Some(theirs) = theirs else { return ours };
    OpusSend {
        bitrate: theirs.bitrate.map_or(ours.bitrate, |most| ours.bitrate.min(most)),
        fec: ours.fec && theirs.fec,
        dtx: ours.dtx || theirs.dtx,
        playback_rate: ours.playback_rate.min(theirs.playback_rate),
        ..ours
    }
}
