//! Golden scripts: one fact a file, in `tests/scripts/`.
//!
//! A line that begins with `> ` is a command; what follows, up to the next command, is what it printed.
//! `QUORATE_BLESS=1 cargo test -p quorate-consensus --test scripts` writes the outputs anew.
//!
//! ```text
//! nodes N [window W]      a group of N validators                 loud | quiet   print effects or not
//! timeout I               time passes to I's deadline             run MS         time passes, all is delivered
//! carry A B | settle      the next message from A to B | all      drop A B       the next message is lost
//! seal I [N]              I seals its slot, N times               status         a line for each node
//! disk I hold|go          I's disk answers or not                 apply I hold|go
//! kill I | start I        what is not durable is gone             cut A B | join A B
//! isolate I | heal        all links of a node                     sleep MS       time passes unnoticed
//! lost A B                A is told that its connection to B is closed
//! agree                   all applied chains are one              count          messages since the last count
//! ```
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use common::World;
use quorate_consensus::event::Event;
use quorate_consensus::time::Span;

fn number(word: Option<&&str>) -> u32 {
    word.and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("a number is missing"))
}

fn millis(word: Option<&&str>) -> Span {
    Span::millis(u64::from(number(word)))
}

/// Carries out a command; what it printed.
fn command(world: &mut World, line: &str) -> String {
    let words: Vec<_> = line.split_whitespace().collect();
    let (first, second) = (words.get(1), words.get(2));
    match words[0] {
        "nodes" => {
            let window = words.get(3).map_or(64, |word| word.parse().unwrap());
            *world = World::new(number(first), window);
            world.loud = true;
        }
        "loud" => world.loud = true,
        "quiet" => world.loud = false,
        "timeout" => world.timeout(number(first)),
        "run" => world.run(millis(first)),
        "sleep" => world.sleep(millis(first)),
        "settle" => world.settle(),
        "carry" => {
            let link = (number(first), number(second));
            assert!(world.carry(Some(link)), "{line}: nothing is on its way");
        }
        "drop" => {
            let link = (number(first), number(second));
            let at = world.wire.iter().position(|(from, to, _)| (*from, *to) == link);
            world.wire.remove(at.unwrap_or_else(|| panic!("{line}: nothing is on its way")));
        }
        "seal" => {
            for _ in 0..second.map_or(1, |_| number(second)) {
                assert!(world.seal(number(first)), "{line}: no slot is on offer");
                if second.is_some() {
                    world.settle();
                }
            }
        }
        "disk" => world.hold_disk(number(first), second == Some(&"hold")),
        "apply" => world.hold_apply(number(first), second == Some(&"hold")),
        "kill" => world.kill(number(first)),
        "start" => world.start(number(first)),
        "cut" | "join" => world.cut(number(first), number(second), words[0] == "cut"),
        "isolate" => {
            let id = number(first);
            for peer in world.ids().into_iter().filter(|peer| *peer != id) {
                world.cut(id, peer, true);
            }
        }
        "heal" => {
            let ids = world.ids();
            for a in &ids {
                for b in &ids {
                    world.cut(*a, *b, false);
                }
            }
        }
        "lost" => {
            let peer = quorate_chain::ids::NodeId::new(number(second));
            world.step(number(first), Event::LinkLost { node: peer });
        }
        "status" => world.status(),
        "agree" => world.check_same_chain(),
        "count" => {
            let sent = std::mem::take(&mut world.sent);
            for (name, count) in sent {
                writeln!(world.out, "{count} {name}").unwrap();
            }
        }
        unknown => panic!("{unknown}: no such command"),
    }
    std::mem::take(&mut world.out)
}

/// Runs a script; the script with the outputs of this run.
fn play(script: &str) -> String {
    let mut world = World::new(1, 64);
    let mut played = String::new();
    for line in script.lines() {
        if let Some(command_line) = line.strip_prefix("> ") {
            writeln!(played, "{line}").unwrap();
            played += &command(&mut world, command_line);
        } else if line.starts_with('#') || line.is_empty() {
            writeln!(played, "{line}").unwrap();
        }
    }
    played
}

#[test]
fn every_script_prints_what_it_printed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut scripts: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    let mut differing = Vec::new();
    for path in scripts {
        let stored = fs::read_to_string(&path).unwrap();
        let played = play(&stored);
        if stored != played {
            if std::env::var_os("QUORATE_BLESS").is_some() {
                fs::write(&path, &played).unwrap();
                continue;
            }
            let lines = stored.lines().zip(played.lines()).enumerate();
            let at = lines.into_iter().find(|(_, (old, new))| old != new);
            differing.push(match at {
                Some((line, (old, new))) => {
                    format!("{}:{}:\n- {old}\n+ {new}", path.display(), line + 1)
                }
                None => format!("{}: longer or shorter than before", path.display()),
            });
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}
