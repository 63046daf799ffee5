/// What exists now. All of it is zero again once every call has ended and 64*T1 have passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// INVITE usages, from the INVITE to `Event::Released`.
    pub calls: usize,
    /// Dialogs, early ones included.
    pub dialogs: usize,
    /// Server transactions that wait for a final response or for the ACK to one.
    pub server_transactions: usize,
    /// INVITEs of peers not yet answered, or answered and not yet ACKed: what `Config::half_open_invites` bounds.
    pub half_open: usize,
    /// Client transactions of ours without a final response, and INVITEs that still have to ACK retransmitted refusals.
    pub client_transactions: usize,
    /// Finished transactions of which only a key and a deadline, or an answer that cannot be made again, are left.
    pub lingering: usize,
    /// Requests that wait for a password.
    pub passwords: usize,
    /// Requests outside of dialogs whose outcome has not been told.
    pub standalone: usize,
    /// Subscriptions of either side, until the program closes them.
    pub usages: usize,
    pub resolutions: usize,
    pub timers: usize,
}

/// Counters since the start, and what is there now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub live: Live,
    pub requests_received: u64,
    pub responses_received: u64,
    pub messages_sent: u64,
    /// Messages that could not be read, answered or not.
    pub parse_errors: u64,
    /// Messages that fit nothing and were dropped: stray ACKs and responses, malformed responses.
    pub dropped: u64,
    /// Requests refused before anybody above saw them (400, 405, 415, 420, 481, 482, 500, 501, ...).
    pub refused: u64,
    /// Requests answered 401.
    pub challenged: u64,
    /// ... of which so many had credentials with a wrong user or password.
    pub wrong_credentials: u64,
    /// Responses whose server proved wrongly that it knows the password (`rspauth`, RFC 7616 §3.5).
    pub wrong_rspauth: u64,
    /// INVITEs answered 503 because too many were half open, in all or of their source.
    pub overload: u64,
    /// Requests answered 503 because their source asks too often (`GuardConfig`).
    pub limited: u64,
    /// Requests of known scanning programs, dropped.
    pub scanners: u64,
    /// Requests dropped because their source asks far too often, or is shut out.
    pub shut_out: u64,
    /// Sent again by a timer or because the peer sent again.
    pub retransmissions_sent: u64,
    /// Requests of peers that had been received before.
    pub retransmissions_received: u64,
    /// Bytes held for finished transactions, tables and queues included.
    pub lingering_bytes: usize,
}
