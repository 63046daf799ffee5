//! All that the session engine and the media engine know of each other: the commands one gives, the events the other
//! reports, and the sample queues between a leg and a program. `media` never sees SDP, and `engine` never links a codec.

mod audio_port;
mod command;
mod event;
mod leg;
mod order;
mod ports;
mod room;
mod sound;
mod tape;

pub use audio_port::{AudioPort, Playout};
pub use command::{
    Codec, Command, Detection, EventFormat, LegConfig, OpusSend, ReceiveFormat, SendFormat, Token, Tone,
};
pub use event::{Event, Quality, RemoteMetrics, Reported, Statistics, VoipMetrics};
pub use leg::LegId;
pub use order::Order;
pub use ports::{MediaPort, MediaPorts, PublicAddress};
pub use room::{Role, RoomId};
pub use sound::Sound;
pub use tape::{Block, Tape};
