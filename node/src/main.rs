//! The `quorate` command. Nothing of it works yet.

fn main() {
    eprintln!("quorate: the node is not built yet; see README.md for what works today");
    std::process::exit(1);
}
