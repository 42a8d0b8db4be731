//! The program `doorbuster`, built with the tests that start and kill it.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    doorbuster_node::run_program()
}
