//! What a program asks of the engine, one arm a command.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ringback_media_api::{Command as MediaCommand, LegId, Token, Tone};
use ringback_time::Now;

use crate::api::{Command, Error, Reply, SessionId, State};
use crate::call::{MediaReply, Stage};
use crate::engine::{Engine, Output};
use crate::headers;
use crate::limits;
use crate::reinvite::Wanted;
use crate::table::Key;

/// What comes of a command: its reply; or `None`, and whoever has taken the token answers later.
pub(crate) type Answer = Result<Option<Reply>, Error>;

const DONE: Answer = Ok(Some(Reply::Unit));

const SAMPLE_RATES: [u32; 4] = [8_000, 16_000, 24_000, 48_000];
const FRAME_MS: std::ops::RangeInclusive<u32> = 10..=60;
const MONITOR_LEAST: Duration = Duration::from_millis(100);

impl Engine {
    pub(crate) fn run(&mut self, now: Now, command: Command) -> Answer {
        match command {
            Command::Decide { token, session, decision } => {
                let result = self.decide(now, session, decision);
                if let (Err(error), true) = (&result, token == Token::default()) {
                    self.decision_failed(now, session, error);
                }
                result.map(|()| Some(Reply::Unit))
            }
            Command::CreateCall { from, to, sdp, headers, send, options, .. } => {
                let session = self.create_call(now, &from, &to, sdp, headers, send, options)?;
                Ok(Some(Reply::Session(session)))
            }
            Command::Launch { session, .. } => {
                if let Some(key) = self.live(session) {
                    self.current = Some(key);
                    self.launch(now, key);
                }
                DONE
            }
            Command::SendPrepared { session, sdp, .. } => {
                let key = self.at(session, "sending a prepared call")?;
                self.send_prepared(now, key, sdp)?;
                DONE
            }
            Command::Hangup { session, reason, .. } => {
                let Some(key) = self.live(session) else {
                    // Ended already: nothing to do. Never there: an error.
                    return match self.directory.get(session) {
                        Some(_) => DONE,
                        None => Err(Error::SessionNotFound(session)),
                    };
                };
                self.current = Some(key);
                let reason = reason.filter(|reason| !reason.is_empty());
                headers::check_phrase(reason.as_deref().unwrap_or_default())?;
                self.hang_up(now, key, reason);
                DONE
            }
            Command::Hold { token, session } => self.reinvite(now, session, token, Wanted::Hold, None),
            Command::Resume { token, session } => self.reinvite(now, session, token, Wanted::Resume, None),
            Command::Reoffer { token, session, sdp } => self.reinvite(now, session, token, Wanted::Reoffer, sdp),
            Command::SendDtmf { token, session, digits, method, duration_ms, gap_ms } => {
                let key = self.at(session, "sending digits")?;
                self.send_digits(now, key, token, digits, method, duration_ms, gap_ms)
            }
            Command::StopDtmf { session, sending, .. } => {
                if let Some(key) = self.live(session) {
                    self.stop_digits(key, sending);
                }
                DONE
            }
            Command::CollectDtmf { token, session, max, terminators, timeout } => {
                let key = self.at(session, "collecting digits")?;
                self.collect(now, key, token, max, terminators, timeout)
            }
            Command::StopCollecting { session, collecting, .. } => {
                if let Some(key) = self.live(session) {
                    self.stop_collecting(key, collecting);
                }
                DONE
            }
            Command::SetMuted { session, muted, .. } => {
                let key = self.at(session, "muting")?;
                self.switch(
                    key,
                    "mute",
                    |call| &mut call.media.muted,
                    muted,
                    |leg| MediaCommand::Mute { leg, on: muted },
                )
            }
            Command::SetTransmitting { session, on, .. } => {
                let key = self.at(session, "audio transmission")?;
                let transmit = |leg| MediaCommand::Transmit { leg, on };
                self.switch(key, "audio transmission", |call| &mut call.media.stopped, !on, transmit)
            }
            Command::GenerateOffer { token, session } => {
                let key = self.at(session, "generating an offer")?;
                self.generate_offer(key, token)
            }
            Command::GenerateAnswer { session, offer, .. } => {
                let key = self.at(session, "generating an answer")?;
                self.generate_answer(key, &offer)
            }
            Command::EstablishMediaFlow { session, remote, .. } => {
                let key = self.at(session, "establish_media_flow")?;
                let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
                let (ip, broadcast) = (remote.ip(), IpAddr::V4(Ipv4Addr::BROADCAST));
                if ip.is_unspecified() || ip.is_multicast() || ip == broadcast || remote.port() == 0 {
                    return Err(Error::BadValue(format!("{remote} is not an address to send to")));
                }
                self.divert(now, key, remote)?;
                DONE
            }
            Command::MediaStatistics { token, session } => self.statistics(session, token),
            Command::MonitorStatistics { session, interval, .. } => self.monitor(session, interval),
            Command::DetectSpeech { session, detection, .. } => self.detect_speech(session, detection),
            Command::MediaInfo { session, .. } => {
                let Some(key) = self.live(session) else {
                    return self.ended_or_unknown(session, Reply::MediaInfo(None));
                };
                let info = self.calls.get(key).and_then(|call| call.media.info());
                Ok(Some(Reply::MediaInfo(info.map(Box::new))))
            }
            Command::Echo { session, on, .. } => {
                let leg = self.leg(session, "echo")?;
                self.media(MediaCommand::Echo { leg, on })
            }
            Command::PlayTone { token, session, tone } => self.play_tone(session, token, tone),
            Command::Play { token, session, sound } => {
                let leg = self.leg(session, "play")?;
                self.play(session, token, MediaCommand::Play { leg, sound, token })
            }
            Command::StopPlaying { session, .. } => {
                let leg = self.leg(session, "stop_playing")?;
                self.media(MediaCommand::StopPlaying { leg })
            }
            Command::GiveUpPlaying { session, playing, .. } => {
                let leg = self.leg(session, "play_tone")?;
                self.media(MediaCommand::GiveUpPlaying { leg, token: playing })
            }
            Command::OpenAudio { session, port, .. } => {
                // Whoever holds the port need not wait for the answer to know.
                let leg = self.leg(session, "open_audio").inspect_err(|_| port.close())?;
                if !SAMPLE_RATES.contains(&port.sample_rate()) {
                    return Err(Error::BadValue(format!(
                        "sample_rate {}: one of {SAMPLE_RATES:?}",
                        port.sample_rate()
                    )));
                }
                if !FRAME_MS.contains(&port.frame_ms()) {
                    return Err(Error::BadValue(format!("frame_ms {}: 10 to 60", port.frame_ms())));
                }
                self.media(MediaCommand::OpenAudio { leg, port })
            }
            Command::CloseAudio { session, port, .. } => {
                // The stream of an ended call is closed already.
                if self.live(session).is_none() {
                    return self.ended_or_unknown(session, Reply::Unit);
                }
                let leg = self.leg(session, "closing audio")?;
                self.media(MediaCommand::CloseAudio { leg, port })
            }
            Command::Record { session, tape, .. } => {
                let leg = self.leg(session, "record")?;
                let key = self.at(session, "record")?;
                let Some(call) = self.calls.get_mut(key) else { return DONE };
                if call.media.tape.upgrade().is_some_and(|tape| !tape.is_stopped() && !tape.is_ended()) {
                    return Err(Error::Media("record: the call is being recorded already".into()));
                }
                call.media.tape = Arc::downgrade(&tape);
                self.media(MediaCommand::Record { leg, tape })
            }
            Command::Bridge { first, second, .. } => {
                let bridge = self.bridge(now, first, second)?;
                Ok(Some(Reply::Bridge(bridge)))
            }
            Command::DestroyBridge { bridge, .. } => {
                self.destroy_bridge(bridge)?;
                DONE
            }
            Command::CreateBridge { name, max_sessions, .. } => self.create_bridge(now, name, max_sessions),
            Command::AddToBridge { bridge, session, .. } => self.add_to_bridge(bridge, session),
            Command::RemoveFromBridge { bridge, session, .. } => self.remove_from_bridge(bridge, session),
            Command::SetBridgeRole { bridge, session, role, beside, .. } => {
                self.set_bridge_role(bridge, session, role, beside)
            }
            Command::SetBridgeGain { bridge, session, gain_db, .. } => self.set_bridge_gain(bridge, session, gain_db),
            Command::LockBridge { bridge, locked, .. } => self.lock_bridge(bridge, locked),
            Command::PlayToBridge { token, bridge, sound } => self.play_to_bridge(bridge, sound, token),
            Command::RecordBridge { bridge, tape, .. } => self.record_bridge(bridge, &tape),
            Command::WatchBridge { bridge, .. } => self.watch_bridge(bridge),
            Command::UnwatchBridge { bridge, .. } => self.unwatch_bridge(bridge),
            Command::GetBridge { bridge, .. } => Ok(Some(Reply::BridgeInfo(self.bridge_info(bridge).map(Box::new)))),
            Command::ListBridges { .. } => Ok(Some(Reply::Bridges(self.list_bridges()))),
            Command::SessionBridge { session, .. } => {
                let Some(key) = self.live(session) else {
                    return self.ended_or_unknown(session, Reply::SessionBridge(None));
                };
                Ok(Some(Reply::SessionBridge(self.calls.get(key).and_then(|call| call.bridge))))
            }
            Command::SendOptions { token, from, to, timeout } => {
                self.send_options(now, token, from.as_deref(), &to, timeout)
            }
            Command::Transfer { token, session, target } => self.transfer(now, session, token, target),
            Command::DecideTransfer { session, accept, .. } => {
                self.decide_transfer(now, session, accept);
                DONE
            }
            Command::Subscribe { token, from, to, event, expires } => {
                self.subscribe(now, token, &from, &to, event, expires)
            }
            Command::Unsubscribe { subscription, .. } => {
                self.unsubscribe(now, subscription);
                DONE
            }
            Command::DecideSubscribe { request, accept, .. } => {
                self.decide_subscribe(now, request, accept);
                DONE
            }
            Command::PublishSummary { aor, new, old, .. } => {
                self.publish_summary(now, &aor, new, old)?;
                DONE
            }
            Command::SendMessage { token, from, to, content_type, body } => {
                self.send_message(now, token, &from, &to, content_type, body)
            }
            Command::GiveUp { request, .. } => {
                self.give_up(now, request);
                DONE
            }
            Command::Register { id, account, .. } => {
                Ok(Some(Reply::Registration(self.register_account(now, id, *account)?)))
            }
            Command::Unregister { token, id } => self.unregister_account(now, token, id),
            Command::Lookup { token, aor } => self.look_up(now, token, &aor),
            Command::Unbind { token, aor } => self.unbind(now, token, &aor),
            Command::Stored { id, result } => {
                self.stored(now, id, result);
                Ok(None)
            }
            Command::Password { key, password } => {
                self.ua.password(now, key, password);
                Ok(None)
            }
            Command::Stop { token, drain } => {
                self.stop(now, token, drain);
                Ok(None)
            }
        }
    }

    /// The live call that a command is for.
    pub(crate) fn at(&mut self, session: SessionId, what: &'static str) -> Result<Key, Error> {
        let key = self.find(session, what)?;
        self.current = Some(key);
        Ok(key)
    }

    pub(crate) fn ended_or_unknown(&self, session: SessionId, reply: Reply) -> Answer {
        match self.directory.get(session) {
            Some(_) => Ok(Some(reply)),
            None => Err(Error::SessionNotFound(session)),
        }
    }

    fn media(&mut self, command: MediaCommand) -> Answer {
        self.output.push_back(Output::Media(command));
        DONE
    }

    /// The leg of a call that has media here, early media before the answer included.
    fn leg(&mut self, session: SessionId, what: &'static str) -> Result<LegId, Error> {
        let key = self.at(session, what)?;
        self.leg_for(key, what)
    }

    /// A switch of the leg that may be set before there is one.
    fn switch(
        &mut self,
        key: Key,
        what: &str,
        field: impl FnOnce(&mut crate::call::Call) -> &mut bool,
        value: bool,
        command: impl FnOnce(LegId) -> MediaCommand,
    ) -> Answer {
        let Some(call) = self.calls.get_mut(key) else { return DONE };
        if call.media.external {
            return Err(Error::Media(format!("{what}: the call's media is external")));
        }
        *field(call) = value;
        match call.media.leg() {
            Some(leg) => self.media(command(leg)),
            None => DONE,
        }
    }

    fn statistics(&mut self, session: SessionId, token: Token) -> Answer {
        let none = Reply::Statistics(None);
        let Some(key) = self.live(session) else { return self.ended_or_unknown(session, none) };
        let Some(call) = self.calls.get_mut(key) else { return Ok(Some(none)) };
        let Some(leg) = call.media.leg() else { return Ok(Some(none)) };
        if token == Token::default() {
            return Ok(Some(none));
        }
        if call.waiting.len() >= limits::MEDIA_REPLIES_MOST {
            return Err(Error::ResourceExhausted("Too many questions about one call's media"));
        }
        call.waiting.push((token, MediaReply::Statistics));
        self.output.push_back(Output::Media(MediaCommand::Statistics { leg, token }));
        Ok(None)
    }

    fn monitor(&mut self, session: SessionId, interval: Option<Duration>) -> Answer {
        let Some(key) = self.live(session) else {
            return match interval {
                None => self.ended_or_unknown(session, Reply::Unit),
                Some(_) => Err(self.find(session, "monitoring").err().unwrap_or(Error::SessionNotFound(session))),
            };
        };
        if interval.is_some_and(|interval| interval < MONITOR_LEAST) {
            return Err(Error::BadValue("the interval is at least 0.1 s".into()));
        }
        let Some(call) = self.calls.get_mut(key) else { return DONE };
        if call.media.external {
            return Err(Error::Media("monitoring: the call's media is external".into()));
        }
        call.media.monitor = interval;
        match call.media.leg() {
            Some(leg) => self.media(MediaCommand::Monitor { leg, interval }),
            None => DONE,
        }
    }

    fn play_tone(&mut self, session: SessionId, token: Token, tone: Tone) -> Answer {
        let leg = self.leg(session, "play_tone")?;
        let key = self.at(session, "play_tone")?;
        let Some(call) = self.calls.get_mut(key) else { return DONE };
        let send = call.media.config.as_ref().and_then(|config| config.send);
        check_tone(&tone, send.map_or(8_000, |send| send.codec.sample_rate()))?;
        self.play(session, token, MediaCommand::PlayTone { leg, tone, token })
    }

    /// `command` is answered by `PlayEnded`, if anybody wants to know.
    fn play(&mut self, session: SessionId, token: Token, command: MediaCommand) -> Answer {
        let key = self.at(session, "playing")?;
        let Some(call) = self.calls.get_mut(key) else { return DONE };
        if token == Token::default() {
            return self.media(command);
        }
        if call.waiting.len() >= limits::MEDIA_REPLIES_MOST {
            return Err(Error::ResourceExhausted("Too much is waiting to be played"));
        }
        call.waiting.push((token, MediaReply::Played));
        self.output.push_back(Output::Media(command));
        Ok(None)
    }

    /// `generate_sdp_offer`: for a prepared call, an undecided one without an offer, or an answered one.
    fn generate_offer(&mut self, key: Key, token: Token) -> Answer {
        let Some(call) = self.calls.get_mut(key) else { return DONE };
        let fits = match call.stage {
            Stage::Prepared => true,
            Stage::Undecided | Stage::Deferred => call.media.remote_offer.is_none() && call.media.early.is_none(),
            Stage::Confirmed => call.reinvite.is_none(),
            Stage::Forwarding | Stage::HeldBack | Stage::Locating | Stage::Calling | Stage::AwaitingAck => false,
        };
        if !fits {
            return Err(self.unfit(key, "generating an offer"));
        }
        if call.media.external || call.media.port.is_none() {
            return Err(Error::Media("generating an offer: the call's media is external".into()));
        }
        if call.stage == Stage::Prepared && !self.is_located(key) {
            // Our own address is not known before the peer's name is looked up.
            return self.wait_for_location(key, token);
        }
        Ok(Some(Reply::Text(self.make_offer(key))))
    }

    pub(crate) fn make_offer(&mut self, key: Key) -> String {
        let sdp = ringback_sdp::offer(self.wishes(key));
        if let Some(call) = self.calls.get_mut(key) {
            call.media.generated = Some(sdp.clone());
        }
        sdp
    }

    /// `generate_sdp_answer`: for a call that waits for a decision and brought an offer, or an answered one.
    fn generate_answer(&mut self, key: Key, offer: &str) -> Answer {
        let Some(call) = self.calls.get(key) else { return DONE };
        let undecided = call.stage.is_decidable() && call.media.remote_offer.is_some();
        if !undecided && !self.is_up(key) {
            return Err(self.unfit(key, "generating an answer"));
        }
        if call.media.external || call.media.port.is_none() {
            return Err(Error::Media("generating an answer: the call's media is external".into()));
        }
        let negotiated =
            ringback_sdp::answer(offer, self.wishes(key)).map_err(|error| crate::media_flow::sdp_error(&error))?;
        let negotiated = crate::media_flow::usable(negotiated)?;
        Ok(Some(Reply::Text(negotiated.local_sdp)))
    }

    /// The call is answered and may be worked with.
    pub(crate) fn is_up(&self, key: Key) -> bool {
        self.calls.get(key).is_some_and(|call| {
            call.stage == Stage::Confirmed && matches!(call.session.state(), State::Active | State::OnHold)
        })
    }
}

fn check_tone(tone: &Tone, sample_rate: u32) -> Result<(), Error> {
    let nyquist = sample_rate as f32 / 2.0;
    if tone.frequencies.is_empty() || tone.frequencies.len() > 8 {
        return Err(Error::BadValue("a tone has one to eight frequencies".into()));
    }
    if let Some(bad) = tone.frequencies.iter().find(|&&hz| !(hz > 0.0 && hz < nyquist)) {
        return Err(Error::BadValue(format!("{bad} Hz is not between 0 and {nyquist} Hz")));
    }
    if !(-90.0..=3.0).contains(&tone.level_dbm0) {
        return Err(Error::BadValue(format!("{} dBm0 is not between -90 and 3", tone.level_dbm0)));
    }
    Ok(())
}
