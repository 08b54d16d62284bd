//! The `quorate-testnet` command. Nothing of it works yet.

fn main() {
    eprintln!("quorate-testnet: the testnet is not built yet; see README.md for what works today");
    std::process::exit(1);
}
