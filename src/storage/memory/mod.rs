//! The journal in memory, with faults to order: what the simulation runs on.
