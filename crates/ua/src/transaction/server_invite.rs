//! INVITE server transaction: RFC 3261 §17.2.1 as RFC 6026 §7.1 and §8.5 correct it.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Proceeding,
    /// A 300-699 was sent; it is sent again until its ACK or H.
    Completed,
    /// The ACK came; further ones are absorbed until I.
    Confirmed,
    /// A 2xx was sent; the core sends it again, retransmitted INVITEs are absorbed until L.
    Accepted,
    Terminated,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Input {
    /// The INVITE came again.
    Invite,
    Ack,
    Provisional,
    Success,
    Refusal,
    TimerG,
    TimerH,
    #[cfg_attr(not(test), expect(dead_code, reason = "rows of `Linger` expire instead"))]
    TimerI,
    #[cfg_attr(not(test), expect(dead_code, reason = "rows of `Linger` expire instead"))]
    TimerL,
    #[cfg_attr(not(test), expect(dead_code, reason = "nothing follows from it: no driver reports lost responses"))]
    TransportError,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    /// The core's response goes out.
    Send,
    /// The last response goes out again, if there is one.
    SendAgain,
    /// The refusal goes out again, and G doubles up to T2.
    Retransmit,
    /// No 100 is needed any more.
    StopTrying,
    /// G (unless the transport is reliable) and H.
    StartGH,
    StopTimers,
    /// Only key and deadline I stay.
    StartI,
    /// Only key and deadline L stay.
    StartL,
    /// The ACK is the core's: it matches a dialog, not this transaction.
    DeliverAck,
}

pub(crate) const fn step(state: State, input: Input) -> Option<(State, &'static [Action])> {
    use Action::*;
    use Input::*;
    use State::*;
    Some(match (state, input) {
        (Proceeding, Invite) => (Proceeding, &[SendAgain]),
        (Proceeding, Provisional) => (Proceeding, &[StopTrying, Send]),
        (Proceeding, Success) => (Accepted, &[StopTrying, Send, StartL]),
        (Proceeding, Refusal) => (Completed, &[StopTrying, Send, StartGH]),
        // RFC 6026 §7.1: a transport error is reported and changes nothing; retransmissions may get through.
        (Proceeding | Completed | Accepted, TransportError) => (state, &[]),
        (Completed, Invite) => (Completed, &[SendAgain]),
        (Completed, TimerG) => (Completed, &[Retransmit]),
        (Completed, TimerH) => (Terminated, &[StopTimers]),
        (Completed, Ack) => (Confirmed, &[StopTimers, StartI]),
        (Confirmed, Invite | Ack) => (Confirmed, &[]),
        (Confirmed, TimerI) => (Terminated, &[]),
        (Accepted, Invite) => (Accepted, &[]),
        (Accepted, Ack) => (Accepted, &[DeliverAck]),
        (Accepted, Success) => (Accepted, &[Send]),
        (Accepted, TimerL) => (Terminated, &[]),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::tests::illegal_cells;

    #[test]
    fn cells_the_standard_leaves_out_do_nothing() {
        use Input::*;
        use State::*;
        let states = &[Proceeding, Completed, Confirmed, Accepted, Terminated];
        let inputs =
            &[Invite, Ack, Provisional, Success, Refusal, TimerG, TimerH, TimerI, TimerL, Input::TransportError];
        let illegal = illegal_cells(states, inputs, |state, input| step(state, input).is_none());
        let expected = [
            // An ACK to an INVITE that has no final response yet.
            (Proceeding, &[Ack, TimerG, TimerH, TimerI, TimerL][..]),
            // RFC 3261 §17.2.1: any other response from the core is discarded once there is a final one.
            (Completed, &[Provisional, Success, Refusal, TimerI, TimerL]),
            (Confirmed, &[Provisional, Success, Refusal, TimerG, TimerH, TimerL, TransportError]),
            (Accepted, &[Provisional, Refusal, TimerG, TimerH, TimerI]),
            (Terminated, inputs),
        ];
        let expected: Vec<_> =
            expected.iter().flat_map(|(state, inputs)| inputs.iter().map(|input| (*state, *input))).collect();
        assert_eq!(illegal, expected);
    }

    #[test]
    fn a_retransmitted_invite_never_reaches_the_core() {
        for state in [State::Proceeding, State::Completed, State::Confirmed, State::Accepted] {
            let (next, actions) = step(state, Input::Invite).unwrap();
            assert_eq!(next, state);
            assert!(actions.iter().all(|action| *action == Action::SendAgain));
        }
    }
}
