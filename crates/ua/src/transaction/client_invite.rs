//! INVITE client transaction: RFC 3261 §17.1.1 as RFC 6026 §7.2 and §8.4 correct it.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Calling,
    Proceeding,
    /// A 300-699 came; retransmissions of it are ACKed until D.
    Completed,
    /// A 2xx came; further ones, of any fork, go to the core until M.
    Accepted,
    Terminated,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Input {
    Provisional,
    Success,
    Refusal,
    TimerA,
    TimerB,
    TimerD,
    #[cfg_attr(not(test), expect(dead_code, reason = "rows of `Linger` expire instead"))]
    TimerM,
    TransportError,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    /// The request once more, and A doubled.
    Retransmit,
    /// A and B end.
    StopTimers,
    /// The response goes to the core.
    Deliver,
    /// A 2xx beside the one that counted goes to the core.
    DeliverStray,
    Ack,
    StartD,
    /// Only key and deadline M stay.
    StartM,
    ReportTimeout,
    ReportTransportError,
}

pub(crate) const fn step(state: State, input: Input) -> Option<(State, &'static [Action])> {
    use Action::*;
    use Input::*;
    use State::*;
    Some(match (state, input) {
        (Calling, TimerA) => (Calling, &[Retransmit]),
        (Calling, TimerB) => (Terminated, &[StopTimers, ReportTimeout]),
        (Calling, TransportError) => (Terminated, &[StopTimers, ReportTransportError]),
        (Calling, Provisional) => (Proceeding, &[StopTimers, Deliver]),
        (Proceeding, Provisional) => (Proceeding, &[Deliver]),
        (Calling | Proceeding, Success) => (Accepted, &[StopTimers, StartM, Deliver]),
        (Calling | Proceeding, Refusal) => (Completed, &[StopTimers, Ack, StartD, Deliver]),
        (Completed, Refusal) => (Completed, &[Ack]),
        // RFC 3261 §16.7 step 5: proxies pass a 2xx on even after another final response.
        (Completed, Success) => (Completed, &[DeliverStray]),
        (Completed, TransportError) => (Terminated, &[StopTimers]),
        (Completed, TimerD) => (Terminated, &[]),
        // RFC 6026 §8.4: no ACK is sent here, the core does that for each 2xx.
        (Accepted, Success) => (Accepted, &[DeliverStray]),
        (Accepted, TimerM) => (Terminated, &[]),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::tests::illegal_cells;

    const STATES: &[State] = &[State::Calling, State::Proceeding, State::Completed, State::Accepted, State::Terminated];
    const INPUTS: &[Input] = &[
        Input::Provisional,
        Input::Success,
        Input::Refusal,
        Input::TimerA,
        Input::TimerB,
        Input::TimerD,
        Input::TimerM,
        Input::TransportError,
    ];

    #[test]
    fn cells_the_standard_leaves_out_do_nothing() {
        use Input::*;
        use State::*;
        assert_eq!(
            illegal_cells(STATES, INPUTS, |state, input| step(state, input).is_none()),
            [
                (Calling, TimerD),
                (Calling, TimerM),
                (Proceeding, TimerA),
                (Proceeding, TimerB),
                (Proceeding, TimerD),
                (Proceeding, TimerM),
                (Proceeding, TransportError),
                (Completed, Provisional),
                (Completed, TimerA),
                (Completed, TimerB),
                (Completed, TimerM),
                (Accepted, Provisional),
                (Accepted, Refusal),
                (Accepted, TimerA),
                (Accepted, TimerB),
                (Accepted, TimerD),
                (Accepted, TransportError),
                (Terminated, Provisional),
                (Terminated, Success),
                (Terminated, Refusal),
                (Terminated, TimerA),
                (Terminated, TimerB),
                (Terminated, TimerD),
                (Terminated, TimerM),
                (Terminated, TransportError),
            ]
        );
    }

    #[test]
    fn a_refusal_is_acked_each_time_and_delivered_once() {
        let (state, actions) = step(State::Calling, Input::Refusal).unwrap();
        assert_eq!(state, State::Completed);
        assert!(actions.contains(&Action::Ack) && actions.contains(&Action::Deliver));
        let (state, actions) = step(state, Input::Refusal).unwrap();
        assert_eq!((state, actions), (State::Completed, &[Action::Ack][..]));
    }

    #[test]
    fn no_cell_acks_a_success() {
        for state in STATES {
            if let Some((_, actions)) = step(*state, Input::Success) {
                assert!(!actions.contains(&Action::Ack));
            }
        }
    }
}
