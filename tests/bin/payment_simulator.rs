//! The program `payment-simulator`, built with the tests that start and kill it.

fn main() -> std::process::ExitCode {
    doorbuster_simulator::command::run(std::env::args_os())
}
