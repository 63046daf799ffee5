use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ringback_media_api::{AudioPort, Detection, Sound, Tape, Token, Tone};
use ringback_ua::{Password, PasswordKey};

use crate::api::{AccountConfig, BridgeId, Record, SessionId};

/// Extra headers for a request or response, in order. Names and values are checked (`Error::InvalidHeader`).
pub type HeaderList = Vec<(String, String)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DtmfMethod {
    /// telephone-event where negotiated, else INFO.
    Auto,
    RtpEvent,
    Info,
    /// Tones in the audio.
    Inband,
}

/// What a member of a bridge is to the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BridgeRole {
    /// Hears all, is heard by all.
    #[default]
    Member,
    /// Hears all.
    Listener,
    /// Hears all, is heard by one alone.
    Whisper,
}

/// What is decided about an incoming call. The first that reaches the engine wins; a later one fails with `InvalidState`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// `sdp` `None`: the answer is generated; else the program's own (see `api.pyi`, `CallDecision.Accept`).
    Accept {
        sdp: Option<String>,
        headers: HeaderList,
    },
    Reject {
        status: u16,
        reason: String,
        headers: HeaderList,
    },
    /// 180, again every 60 s; a later decision follows.
    Defer,
    /// 183 with early media; a later decision follows.
    Progress {
        sdp: Option<String>,
    },
    Forward {
        targets: Vec<String>,
        redirect: bool,
        parallel: bool,
        ring: Duration,
    },
}

/// How a call is placed, where that is not as usual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallOptions {
    /// The INVITE waits for `Command::Launch`: nothing happens to the call before whoever asked for it has it.
    pub held_back: bool,
    /// The INVITE has no offer: the peer makes it, and the answer goes with the ACK or the PRACK (RFC 3261 §13.2.1).
    pub late_offer: bool,
    /// How many places that 3xx name are tried (RFC 3261 §8.1.3.4). 0: a 3xx is a refusal.
    pub max_redirects: u8,
}

/// Whom the peer is to talk to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferTarget {
    /// Blind.
    Uri(String),
    /// Attended: the peer of another call, which is replaced.
    Session(SessionId),
}

/// What a program asks of the engine. One with a non-zero `token` is answered by `Event::Completed`, always, exactly once.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Command {
    /// Reply: `Unit`. Fails with `Sdp`, `InvalidHeader`, `InvalidUri`, before any response is sent, `InvalidState` when already
    /// decided or over.
    Decide {
        token: Token,
        session: SessionId,
        decision: Decision,
    },
    /// Checks, reserves media. Reply: `Session` (INITIATING). With `send`, the INVITE follows, at once unless `options` say otherwise.
    CreateCall {
        token: Token,
        from: String,
        to: String,
        sdp: Option<String>,
        headers: HeaderList,
        send: bool,
        options: CallOptions,
    },
    /// Sends the INVITE of a call that was created with `CallOptions::held_back`. Nothing happens when that call is over. Reply: `Unit`.
    Launch {
        token: Token,
        session: SessionId,
    },
    SendPrepared {
        token: Token,
        session: SessionId,
        sdp: Option<String>,
    },
    /// Reply: `Unit`, at once. No-op on an ended call.
    Hangup {
        token: Token,
        session: SessionId,
        reason: Option<String>,
    },
    /// Reply: `Unit`, after the 2xx.
    Hold {
        token: Token,
        session: SessionId,
    },
    Resume {
        token: Token,
        session: SessionId,
    },
    Reoffer {
        token: Token,
        session: SessionId,
        sdp: Option<String>,
    },
    /// Reply: `Unit`, when the last digit has been sent.
    SendDtmf {
        token: Token,
        session: SessionId,
        digits: String,
        method: DtmfMethod,
        duration_ms: u32,
        gap_ms: u32,
    },
    /// What is left of the digits of the `SendDtmf` with the token `sending` is not sent; that one is answered as if it had been.
    StopDtmf {
        token: Token,
        session: SessionId,
        sending: Token,
    },
    /// Waits for digits, however they come, from now on: `max` of them, one of `terminators` (which is left out), or `timeout` after the
    /// last one (or the beginning). Reply: `Text`, what there is, also at the end of the call.
    CollectDtmf {
        token: Token,
        session: SessionId,
        max: usize,
        terminators: String,
        timeout: Duration,
    },
    /// Ends the `CollectDtmf` with the token `collecting`, which is answered with what there is.
    StopCollecting {
        token: Token,
        session: SessionId,
        collecting: Token,
    },
    SetMuted {
        token: Token,
        session: SessionId,
        muted: bool,
    },
    SetTransmitting {
        token: Token,
        session: SessionId,
        on: bool,
    },
    /// Reply: `Text`.
    GenerateOffer {
        token: Token,
        session: SessionId,
    },
    GenerateAnswer {
        token: Token,
        session: SessionId,
        offer: String,
    },
    EstablishMediaFlow {
        token: Token,
        session: SessionId,
        remote: SocketAddr,
    },
    /// Reply: `Statistics`, `None` inside where there is no media.
    MediaStatistics {
        token: Token,
        session: SessionId,
    },
    MonitorStatistics {
        token: Token,
        session: SessionId,
        interval: Option<Duration>,
    },
    /// Reply: `MediaInfo`.
    MediaInfo {
        token: Token,
        session: SessionId,
    },
    Echo {
        token: Token,
        session: SessionId,
        on: bool,
    },
    /// `Event::VoiceActivity` from now on; `None` ends it.
    DetectSpeech {
        token: Token,
        session: SessionId,
        detection: Option<Detection>,
    },
    /// Reply: `Unit`, when played or stopped.
    PlayTone {
        token: Token,
        session: SessionId,
        tone: Tone,
    },
    /// As `PlayTone`. Whoever gives the sound stops it when nobody waits for it any more.
    Play {
        token: Token,
        session: SessionId,
        sound: Arc<Sound>,
    },
    StopPlaying {
        token: Token,
        session: SessionId,
    },
    /// Nobody waits for `playing` any more, the token of a `PlayTone`: that tone ends, and nothing that has replaced it.
    GiveUpPlaying {
        token: Token,
        session: SessionId,
        playing: Token,
    },
    OpenAudio {
        token: Token,
        session: SessionId,
        port: Arc<AudioPort>,
    },
    /// Ends `OpenAudio` with this port. One that was opened after it goes on.
    CloseAudio {
        token: Token,
        session: SessionId,
        port: Arc<AudioPort>,
    },
    /// Records both directions of a call that is not recorded yet. Reply: `Unit`, at once. Whoever gives the tape stops it where this fails.
    Record {
        token: Token,
        session: SessionId,
        tape: Arc<Tape>,
    },
    /// Reply: `Bridge`.
    Bridge {
        token: Token,
        first: SessionId,
        second: SessionId,
    },
    DestroyBridge {
        token: Token,
        bridge: BridgeId,
    },
    /// A conference, without members at first. Reply: `Bridge`.
    CreateBridge {
        token: Token,
        name: Option<String>,
        /// `None`: no bound of its own.
        max_sessions: Option<usize>,
    },
    /// Fails with `InvalidState` where the bridge is locked or the call is in another, `ResourceExhausted` where the bridge is full.
    AddToBridge {
        token: Token,
        bridge: BridgeId,
        session: SessionId,
    },
    RemoveFromBridge {
        token: Token,
        bridge: BridgeId,
        session: SessionId,
    },
    SetBridgeRole {
        token: Token,
        bridge: BridgeId,
        session: SessionId,
        role: BridgeRole,
        /// Who is to hear a whisper.
        beside: Option<SessionId>,
    },
    /// How much louder the others hear it, -60 to 20 dB.
    SetBridgeGain {
        token: Token,
        bridge: BridgeId,
        session: SessionId,
        gain_db: f32,
    },
    LockBridge {
        token: Token,
        bridge: BridgeId,
        locked: bool,
    },
    /// Reply: `Unit`, when played, replaced or stopped.
    PlayToBridge {
        token: Token,
        bridge: BridgeId,
        sound: Arc<Sound>,
    },
    /// What all hear of a bridge, until the tape is stopped or the bridge destroyed. Reply: `Unit`, when it has begun.
    RecordBridge {
        token: Token,
        bridge: BridgeId,
        tape: Arc<Tape>,
    },
    /// `Event::Bridge` is made from now on, until as many `UnwatchBridge` have come.
    WatchBridge {
        token: Token,
        bridge: BridgeId,
    },
    UnwatchBridge {
        token: Token,
        bridge: BridgeId,
    },
    /// Reply: `BridgeInfo` / `Bridges` / `SessionBridge`.
    GetBridge {
        token: Token,
        bridge: BridgeId,
    },
    ListBridges {
        token: Token,
    },
    SessionBridge {
        token: Token,
        session: SessionId,
    },
    /// Asks a peer what it can do (RFC 3261 §11). Reply: `Options`, whatever the final response says. Fails with `InvalidUri`; with `NoAnswer`
    /// when there was none in `timeout` (`None`: in what timer F gives each address), `Unreachable` when there is no way, `NotRunning` when
    /// the system stops meanwhile.
    SendOptions {
        token: Token,
        /// Who asks; `None`: this system.
        from: Option<String>,
        to: String,
        timeout: Option<Duration>,
    },
    /// Reply: `Unit`, when the target has answered and the call has ended. Fails with `Transfer`.
    Transfer {
        token: Token,
        session: SessionId,
        target: TransferTarget,
    },
    /// What is decided about `Event::TransferRequest`; ignored when it comes too late. Reply: `Unit`.
    DecideTransfer {
        token: Token,
        session: SessionId,
        accept: bool,
    },
    /// Reply: `Subscription`, after the 2xx or the first NOTIFY. Fails with `InvalidUri`, `BadValue`, `Rejected`, `Failed`, `Unreachable`.
    Subscribe {
        token: Token,
        from: String,
        to: String,
        event: String,
        expires: Duration,
    },
    /// Reply: `Unit`, at once. No-op on one that is over.
    Unsubscribe {
        token: Token,
        subscription: u64,
    },
    /// What is decided about `Event::SubscribeRequest`; ignored when it comes too late. Reply: `Unit`.
    DecideSubscribe {
        token: Token,
        request: u64,
        accept: bool,
    },
    /// Reply: `Unit`.
    PublishSummary {
        token: Token,
        aor: String,
        new: u32,
        old: u32,
    },
    /// Sends a MESSAGE outside of any call (RFC 3428). Reply: `Unit`, after the 2xx. Fails with `InvalidUri`, `InvalidHeader`, `BadValue`;
    /// with `Rejected`; with `Failed` when nobody answers, `Unreachable` when there is no way.
    SendMessage {
        token: Token,
        from: String,
        to: String,
        content_type: String,
        body: String,
    },
    /// Gives up the `SendOptions` or `SendMessage` with the token `request`, which is completed with `Ended`. Reply: `Unit`. No-op when it is over.
    GiveUp {
        token: Token,
        request: Token,
    },
    /// Registers an account elsewhere, and keeps it registered. Reply: `Registration`, at once; what becomes of it is `Event::Registration`.
    Register {
        token: Token,
        /// The program's name for it; not one that is in use.
        id: u64,
        account: Box<AccountConfig>,
    },
    /// Reply: `Unit`, when the registrar has answered or cannot be reached. No-op for one that is not there any more.
    Unregister {
        token: Token,
        id: u64,
    },
    /// What is bound to an address of record of our registrar. Reply: `Bindings`, best first. Fails with `InvalidUri`, `Store`; with
    /// `BadValue` where there is no registrar.
    Lookup {
        token: Token,
        aor: String,
    },
    /// Removes all bindings of an address of record. Reply: `Unit`.
    Unbind {
        token: Token,
        aor: String,
    },
    /// The answer to `StoreRequest`, from a store of the program's own.
    Stored {
        id: u64,
        result: Result<Vec<Record>, String>,
    },
    /// Answers `Event::Password`; never answered itself. Nothing happens when nobody waits for it any more.
    Password {
        key: PasswordKey,
        password: Password,
    },
    /// Ends every call (after `drain`, new ones getting 503 meanwhile). Reply: `Unit` once every session is final; what the protocol
    /// still owes goes on until `net` is told to leave.
    Stop {
        token: Token,
        drain: Duration,
    },
}

impl Command {
    pub fn token(&self) -> Token {
        match self {
            Command::Decide { token, .. }
            | Command::CreateCall { token, .. }
            | Command::Launch { token, .. }
            | Command::SendPrepared { token, .. }
            | Command::Hangup { token, .. }
            | Command::Hold { token, .. }
            | Command::Resume { token, .. }
            | Command::Reoffer { token, .. }
            | Command::SendDtmf { token, .. }
            | Command::StopDtmf { token, .. }
            | Command::CollectDtmf { token, .. }
            | Command::StopCollecting { token, .. }
            | Command::SetMuted { token, .. }
            | Command::SetTransmitting { token, .. }
            | Command::GenerateOffer { token, .. }
            | Command::GenerateAnswer { token, .. }
            | Command::EstablishMediaFlow { token, .. }
            | Command::MediaStatistics { token, .. }
            | Command::MonitorStatistics { token, .. }
            | Command::DetectSpeech { token, .. }
            | Command::MediaInfo { token, .. }
            | Command::Echo { token, .. }
            | Command::PlayTone { token, .. }
            | Command::Play { token, .. }
            | Command::StopPlaying { token, .. }
            | Command::GiveUpPlaying { token, .. }
            | Command::OpenAudio { token, .. }
            | Command::CloseAudio { token, .. }
            | Command::Record { token, .. }
            | Command::Bridge { token, .. }
            | Command::DestroyBridge { token, .. }
            | Command::CreateBridge { token, .. }
            | Command::AddToBridge { token, .. }
            | Command::RemoveFromBridge { token, .. }
            | Command::SetBridgeRole { token, .. }
            | Command::SetBridgeGain { token, .. }
            | Command::LockBridge { token, .. }
            | Command::PlayToBridge { token, .. }
            | Command::RecordBridge { token, .. }
            | Command::WatchBridge { token, .. }
            | Command::UnwatchBridge { token, .. }
            | Command::GetBridge { token, .. }
            | Command::ListBridges { token }
            | Command::SessionBridge { token, .. }
            | Command::SendOptions { token, .. }
            | Command::Transfer { token, .. }
            | Command::DecideTransfer { token, .. }
            | Command::Subscribe { token, .. }
            | Command::Unsubscribe { token, .. }
            | Command::DecideSubscribe { token, .. }
            | Command::PublishSummary { token, .. }
            | Command::SendMessage { token, .. }
            | Command::GiveUp { token, .. }
            | Command::Register { token, .. }
            | Command::Unregister { token, .. }
            | Command::Lookup { token, .. }
            | Command::Unbind { token, .. }
            | Command::Stop { token, .. } => *token,
            Command::Stored { .. } | Command::Password { .. } => Token::default(),
        }
    }
}
