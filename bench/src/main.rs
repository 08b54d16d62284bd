//! The `quorate-bench` command; `quorate bench` runs it.

fn main() -> std::process::ExitCode {
    quorate_bench::main()
}
