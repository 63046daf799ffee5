//! Non-INVITE client transaction: RFC 3261 §17.1.2.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Trying,
    Proceeding,
    /// Retransmitted responses are absorbed until K.
    Completed,
    Terminated,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Input {
    Provisional,
    Final,
    TimerE,
    TimerF,
    #[cfg_attr(not(test), expect(dead_code, reason = "rows of `Linger` expire instead"))]
    TimerK,
    TransportError,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    /// The request once more, and E doubled up to T2.
    Retransmit,
    /// The request once more, and E is T2 (a provisional response came).
    RetransmitSlowly,
    /// E and F end.
    StopTimers,
    Deliver,
    /// Only key and deadline K stay.
    StartK,
    ReportTimeout,
    ReportTransportError,
}

pub(crate) const fn step(state: State, input: Input) -> Option<(State, &'static [Action])> {
    use Action::*;
    use Input::*;
    use State::*;
    Some(match (state, input) {
        (Trying, TimerE) => (Trying, &[Retransmit]),
        (Proceeding, TimerE) => (Proceeding, &[RetransmitSlowly]),
        (Trying | Proceeding, TimerF) => (Terminated, &[StopTimers, ReportTimeout]),
        (Trying | Proceeding, TransportError) => (Terminated, &[StopTimers, ReportTransportError]),
        (Trying | Proceeding, Provisional) => (Proceeding, &[Deliver]),
        (Trying | Proceeding, Final) => (Completed, &[StopTimers, StartK, Deliver]),
        (Completed, Final | Provisional) => (Completed, &[]),
        (Completed, TimerK) => (Terminated, &[]),
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
        let inputs = &[Provisional, Final, TimerE, TimerF, TimerK, TransportError];
        assert_eq!(
            illegal_cells(states, inputs, |state, input| step(state, input).is_none()),
            [
                (Trying, TimerK),
                (Proceeding, TimerK),
                (Completed, TimerE),
                (Completed, TimerF),
                (Completed, TransportError),
                (Terminated, Provisional),
                (Terminated, Final),
                (Terminated, TimerE),
                (Terminated, TimerF),
                (Terminated, TimerK),
                (Terminated, TransportError),
            ]
        );
    }

    #[test]
    fn a_final_response_is_delivered_once() {
        let (state, actions) = step(State::Proceeding, Input::Final).unwrap();
        assert!(actions.contains(&Action::Deliver));
        assert_eq!(step(state, Input::Final), Some((State::Completed, &[][..])));
    }
}
