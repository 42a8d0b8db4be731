//! The program `doorbuster`.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    match doorbuster::cli::parse(std::env::args_os()) {
        Ok(invocation) => doorbuster::node::commands::run(invocation),
        Err(code) => code,
    }
}
