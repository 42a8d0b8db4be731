//! The HTTP API over real sockets, with real actors on the memory store: what the contract promises, what bad input gets, and
//! that every request sent again is one request.

mod bad_input;
mod bounds;
mod callers;
mod client;
mod described;
mod journeys;
mod operator;
mod repeated;
mod server;
