//! Sockets, threads, clock and randomness: the only crate that does I/O.
