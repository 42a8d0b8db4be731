//! What tests and harness share: starting a process, speaking HTTP, a relay that cuts.
