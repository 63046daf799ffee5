//! The four transaction machines of RFC 3261 §17 with RFC 6026's corrections. Each is one file: its states, its inputs and a table
//! from (state, input) to (state, actions), without any data. Whoever holds the data (`crate::ua`) looks a cell up and carries out
//! its actions in order. A cell that is not in the table is one the standard leaves out: the input is ignored there.
//!
//! What the states that only wait for a timer hold (Accepted, Confirmed, the non-INVITE Completed) is a row of
//! [`linger::Linger`]: a key, a deadline and a status.

pub(crate) mod client_invite;
pub(crate) mod client_request;
pub(crate) mod key;
pub(crate) mod linger;
pub(crate) mod server_invite;
pub(crate) mod server_request;

#[cfg(test)]
mod tests {
    /// The cells of a table for which `illegal` holds, states outermost.
    pub(crate) fn illegal_cells<S: Copy, I: Copy>(
        states: &[S],
        inputs: &[I],
        illegal: impl Fn(S, I) -> bool,
    ) -> Vec<(S, I)> {
        let cells = states.iter().flat_map(|state| inputs.iter().map(|input| (*state, *input)));
        cells.filter(|(state, input)| illegal(*state, *input)).collect()
    }
}
