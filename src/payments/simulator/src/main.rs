//! `payment-simulator`: the simulated payment provider as a process of its own, with a durable ledger.

fn main() -> std::process::ExitCode {
    doorbuster_simulator::command::run(std::env::args_os())
}
