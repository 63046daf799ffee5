//! Non-INVITE server transaction: RFC 3261 §17.2.2.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Trying,
    Proceeding,
    /// Retransmitted requests get the response again until J.
    Completed,
    Terminated,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Input {
    /// The request came again.
    Request,
    Provisional,
    Final,
    TimerJ,
    #[cfg_attr(not(test), expect(dead_code, reason = "nothing follows from it: no driver reports lost responses"))]
    TransportError,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    Send,
    SendAgain,
    /// Only key, status and deadline J stay.
    StartJ,
}

pub(crate) const fn step(state: State, input: Input) -> Option<(State, &'static [Action])> {
    use Action::*;
    use Input::*;
    use State::*;
    Some(match (state, input) {
        // RFC 3261 §17.2.2: in Trying there is nothing to send again.
        (Trying, Request) => (Trying, &[]),
        (Trying | Proceeding, Provisional) => (Proceeding, &[Send]),
        (Trying | Proceeding, Final) => (Completed, &[Send, StartJ]),
        (Proceeding, Request) => (Proceeding, &[SendAgain]),
        (Proceeding | Completed, TransportError) => (Terminated, &[]),
        (Completed, Request) => (Completed, &[SendAgain]),
        (Completed, TimerJ) => (Terminated, &[]),
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
        let states = &[Trying, Proceeding, Completed, Terminated];
        let inputs = &[Request, Provisional, Final, TimerJ, TransportError];
        assert_eq!(
            illegal_cells(states, inputs, |state, input| step(state, input).is_none()),
            [
                (Trying, TimerJ),
                (Trying, TransportError),
                (Proceeding, TimerJ),
                // RFC 3261 §17.2.2: once completed, the core's further responses are discarded.
                (Completed, Provisional),
                (Completed, Final),
                (Terminated, Request),
                (Terminated, Provisional),
                (Terminated, Final),
                (Terminated, TimerJ),
                (Terminated, TransportError),
            ]
        );
    }
}
