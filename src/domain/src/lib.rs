//! The shop's rules as functions of values: no clock, no randomness, no I/O, no async, no float.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::float_arithmetic, clippy::wildcard_enum_match_arm)
)]

pub mod any;
pub mod cart;
pub mod claims;
pub mod codec;
pub mod counter;
pub mod country;
pub mod effect;
pub mod entity;
pub mod ids;
pub mod inventory;
mod kinds;
pub mod laws;
pub mod message;
pub mod money;
pub mod order;
pub mod payment;
pub mod principal;
pub mod product;
pub mod ranking;
pub mod reservation;
pub mod time;
pub mod warehouse;
pub mod web_address;
