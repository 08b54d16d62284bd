//! The `quorate-testnet` command; `quorate testnet` runs it.

fn main() -> std::process::ExitCode {
    quorate_testnet::cli::main()
}
