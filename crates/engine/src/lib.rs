//! Sessions: calls and what is decided about them, bridges, limits. Sans-IO.
pub mod api;
