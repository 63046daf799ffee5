//! The states of a session and what changes them, as one table. Everything that moves a session goes through [`next`]; a cell
//! that is `None` is refused and logged, so that no order of messages and commands can put a session into a state it must not
//! be in.

use crate::api::State;

/// What happened to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// 101-199 was sent or received.
    Ring,
    /// 2xx was sent or received.
    Answer,
    /// The peer agreed that we hold.
    Hold,
    Resume,
    /// A transfer begins, either way.
    Transfer,
    /// It has failed: the call is what it was, ...
    Keep,
    /// ... on hold.
    KeepHeld,
    /// BYE, either way.
    Terminate,
    /// Given up before an answer, by either side.
    Cancel,
    /// Refused with a final response, by either side.
    Reject,
    Fail,
}

/// The state after `change`, or `None` where it cannot happen.
pub(crate) const fn next(state: State, change: Change) -> Option<State> {
    use Change as C;
    use State as S;
    match (state, change) {
        (S::Initiating | S::Ringing, C::Ring) => Some(S::Ringing),
        (S::Initiating | S::Ringing, C::Answer) => Some(S::Active),
        (S::Initiating | S::Ringing, C::Cancel) => Some(S::Cancelled),
        (S::Initiating | S::Ringing, C::Reject) => Some(S::Rejected),
        (S::Initiating | S::Ringing, C::Hold | C::Resume | C::Terminate | C::Transfer | C::Keep | C::KeepHeld) => None,

        (S::Active, C::Hold) => Some(S::OnHold),
        (S::OnHold, C::Resume) => Some(S::Active),
        (S::Active | S::OnHold, C::Transfer) => Some(S::Transferring),
        (S::Transferring, C::Keep) => Some(S::Active),
        (S::Transferring, C::KeepHeld) => Some(S::OnHold),
        (S::Active | S::OnHold | S::Transferring, C::Terminate) => Some(S::Terminated),
        (S::Active | S::OnHold | S::Transferring, _) if !matches!(change, C::Fail) => None,

        (S::Initiating | S::Ringing | S::Active | S::OnHold | S::Transferring, C::Fail) => Some(S::Failed),

        // A final state is never left.
        _ => None,
    }
}

/// The final state of `change`, for a session in `state`: where the table forbids it, the nearest that it allows.
pub(crate) fn last(state: State, change: Change) -> State {
    let nearest = match change {
        Change::Terminate => Change::Cancel,
        Change::Cancel | Change::Reject => Change::Terminate,
        _ => Change::Fail,
    };
    next(state, change).or_else(|| next(state, nearest)).unwrap_or(State::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Change::*;
    use State::*;

    const CHANGES: [Change; 11] =
        [Ring, Answer, Hold, Resume, Terminate, Cancel, Reject, Fail, Transfer, Keep, KeepHeld];

    /// Rows in the order of the states, columns in that of `CHANGES`.
    const TABLE: [(State, [Option<State>; 11]); 9] = {
        const fn s(state: State) -> Option<State> {
            Some(state)
        }
        const N: Option<State> = None;
        [
            (Initiating, [s(Ringing), s(Active), N, N, N, s(Cancelled), s(Rejected), s(Failed), N, N, N]),
            (Ringing, [s(Ringing), s(Active), N, N, N, s(Cancelled), s(Rejected), s(Failed), N, N, N]),
            (Active, [N, N, s(OnHold), N, s(Terminated), N, N, s(Failed), s(Transferring), N, N]),
            (OnHold, [N, N, N, s(Active), s(Terminated), N, N, s(Failed), s(Transferring), N, N]),
            (Transferring, [N, N, N, N, s(Terminated), N, N, s(Failed), N, s(Active), s(OnHold)]),
            (Terminated, [N; 11]),
            (Cancelled, [N; 11]),
            (Rejected, [N; 11]),
            (Failed, [N; 11]),
        ]
    };

    #[test]
    fn every_cell_of_the_table() {
        for (state, row) in TABLE {
            for (change, expected) in CHANGES.into_iter().zip(row) {
                assert_eq!(next(state, change), expected, "{state} by {change:?}");
            }
        }
    }

    #[test]
    fn an_end_is_always_final() {
        for (state, _) in TABLE {
            for change in [Terminate, Cancel, Reject, Fail] {
                assert!(last(state, change).is_final(), "{state} by {change:?}");
            }
        }
    }
}
