//! The journal on one machine: a segment log for what happened, `fjall` for what follows from it.

pub mod log;
