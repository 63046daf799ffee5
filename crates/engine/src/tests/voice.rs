//! Voice activity: asked for, told, and not where nobody wants to know.

use super::*;
use ringback_media_api::{Command as MediaCommand, Detection, Event as MediaEvent};

const DETECTION: Detection = Detection { onset_ms: 80, hangover_ms: 500 };

fn detect(net: &mut Net, node: usize, session: SessionId, detection: Option<Detection>) -> Result<Reply, Error> {
    net.ask(node, |token| Command::DetectSpeech { token, session, detection }).expect("at once")
}

fn detections(net: &Net, node: usize) -> Vec<Option<Detection>> {
    let log = net.nodes[node].legs.log.iter();
    log.filter_map(|command| if let MediaCommand::Detect { detection, .. } = command { Some(*detection) } else { None })
        .collect()
}

fn speaks(net: &mut Net, node: usize, speaking: bool) {
    let leg = *net.nodes[node].legs.open.keys().next().expect("a leg");
    net.media_event(node, MediaEvent::Speech { leg, speaking });
}

#[test]
fn what_is_asked_for_before_the_answer_is_told_after_it() {
    let mut net = pair();
    let (_, called) = ringing(&mut net);
    detect(&mut net, B, called.id, Some(DETECTION)).expect("done");
    assert_eq!(detections(&net, B), []);
    decide(&mut net, B, &called, accept()).expect("accepted");
    assert_eq!(detections(&net, B), [Some(DETECTION)]);
    // Nothing new, another time, no more.
    let slower = Detection { hangover_ms: 900, ..DETECTION };
    for detection in [Some(DETECTION), Some(slower)] {
        detect(&mut net, B, called.id, detection).expect("done");
    }
    speaks(&mut net, B, true);
    speaks(&mut net, B, false);
    detect(&mut net, B, called.id, None).expect("done");
    speaks(&mut net, B, true);
    assert_eq!(detections(&net, B), [Some(DETECTION), Some(slower), None]);
    let story = story(&net, B, called.id);
    let told: Vec<&str> = story.iter().map(String::as_str).filter(|told| told.starts_with("speaking")).collect();
    assert_eq!(told, ["speaking true", "speaking false"], "and nothing that was on the way");
}

#[test]
fn nobody_listens_where_no_handler_wants_to_know() {
    let mut net = with(Config { interest: Interest { voice_activity: false, ..Interest::ALL }, ..config() });
    let (_, called) = answered(&mut net);
    detect(&mut net, B, called.id, Some(DETECTION)).expect("done");
    assert_eq!(detections(&net, B), []);
    speaks(&mut net, B, true);
    assert!(story(&net, B, called.id).iter().all(|told| !told.starts_with("speaking")));
}

#[test]
fn times_and_calls_are_checked() {
    let mut net = pair();
    let (caller, _) = answered(&mut net);
    for (onset_ms, hangover_ms) in [(19, 500), (2001, 500), (80, 99), (80, 10_001)] {
        let result = detect(&mut net, A, caller.id, Some(Detection { onset_ms, hangover_ms }));
        assert!(matches!(result, Err(Error::BadValue(_))), "{result:?}");
    }
    let nobody = detect(&mut net, A, SessionId::from_u128(7), Some(DETECTION));
    assert!(matches!(nobody, Err(Error::SessionNotFound(_))), "{nobody:?}");
    hang_up(&mut net, A, &caller);
    let ended = detect(&mut net, A, caller.id, Some(DETECTION));
    assert!(matches!(ended, Err(Error::InvalidState { .. })), "{ended:?}");
    detect(&mut net, A, caller.id, None).expect("nothing to switch off");
}
