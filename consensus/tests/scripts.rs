//! Golden scripts: one fact a file, in `tests/scripts/`.
//!
//! A line that begins with `> ` is a command; what follows, up to the next command, is what it printed.
//! `QUORATE_BLESS=1 cargo test -p quorate-consensus --test scripts` writes the outputs anew.
//! A block is printed as height@term.
//!
//! ```text
//! The group
//! nodes N [window W] [bytes S] [message B] [range R] [every K]   N validators, W blocks of S bytes in
//!                          flight, about B bytes in a message, at least R blocks in a range from a store, a certified state
//!                          every K heights
//! nodes N interval                 closing blocks wait to be sealed like others
//! loud | quiet             print effects or not      status         a line for each node
//! agree                    the applied chains agree  count          messages since the last count
//! chain I N                the last N blocks that I has applied
//! lead I yes|no|prefer     from its next start on
//!
//! Time
//! timeout I                to I's deadline           run MS         it passes, all is delivered
//! mint MS N                N times: it passes, and who leads seals a block
//! sleep MS                 it passes unnoticed       calendar I MS  I's calendar is ahead (or: max)
//!
//! Messages
//! carry A B [KIND]         the next one is delivered drop A B [KIND]      the next one is lost
//! settle                   all are delivered         lose                 all on their way are lost
//! strip A B [KIND]         the next one is delivered without the certificate in it
//! replay A B KIND [N]      a copy of the newest one, or of the N-th one, arrives
//! cut A B | join A B       a link, both ways         mute A B | hear A B  the way from A to B
//! isolate I | heal         all links of a node       lost A B | opened A B   A is told that its link to B is
//!                          closed, or open
//!
//! Nodes
//! seal I [N]               I seals its slot; N times, and all is delivered after each
//! kill I [silently]        what is not durable is gone
//! start I [alone]          it greets all it reaches, unless that is left to the script
//! copy I | paste I         what its disk and store have, now and when it is put back
//! wipe I [unnoticed]       so is the rest: it gets a new log, and its key file tells or does not
//! disk I hold|go|one       records become durable or not; one more does
//! apply I hold|go          blocks are applied or not
//! signer I hold|go         statements are signed or not
//! store I hold|go          the store finds no blocks
//! store I forget           it lost power and has what it had at the genesis; the disk has the rest
//! prune I [H]              I makes a snapshot at its newest certified state, or at height H, and
//!                          prunes what is below
//! snapshots I hold|go|fail|die   I installs snapshots or not; the one it waits for does not come;
//!                          or I dies when it is durable, and does not know
//! stray I                  I computes another state from now on
//!
//! The roster
//! change I STEP..          I is asked for a change that the admin signed: remove J, promote J,
//!                          quorums V F, or (alone) add [promote], which starts the new node
//! change I unapproved STEP..   nobody has signed it
//! change I stale STEP..        it is signed over the first roster
//! recover I T              I dies, and the admins leave it alone in the roster, in term T, on its disk
//! rosters                  those at the tips: voters, (learners), (+: to be promoted), old → new
//!
//! Wishes
//! transfer I [J]           I's operator wants another leader, or J       willing I yes|no|prefer
//! read I R                 a client at I asks for a read, named R        readmit I
//!
//! Lies
//! forge A B KIND T H [by I..]   A lies to B, of term T and about height H (or: max), with its
//!                               own signature or with those of others; SnapshotOfAnotherChain: they
//!                               have signed it on a chain of the same validators
//! twin A B [by I..]             A sends B another block for the place of the last one; in a range, with a
//!                               certificate by I..
//! ```
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use common::{CHAIN, World, change};
use quorate_chain::ids::NodeId;
use quorate_chain::roster::{Lead, RosterChange};
use quorate_consensus::event::Event;
use quorate_consensus::message::Message;
use quorate_consensus::reads::ReadId;
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
    let known = group(world, &words)
        || time(world, &words)
        || messages(world, &words)
        || links(world, &words)
        || nodes(world, &words)
        || rosters(world, &words)
        || wishes(world, &words)
        || lies(world, &words);
    assert!(known, "{line}: no such command");
    std::mem::take(&mut world.out)
}

fn group(world: &mut World, words: &[&str]) -> bool {
    match words[0] {
        "nodes" => {
            let option = |name| {
                let at = words.iter().position(|word| *word == name)?;
                words[at + 1].parse().ok()
            };
            let (window, message) = (option("window"), option("message"));
            let count = number(words.get(1));
            *world = World::with(count, window.unwrap_or(64), message.unwrap_or(1 << 16));
            if let Some(least) = option("range") {
                world.range = least as u64;
            }
            if let Some(heights) = option("every") {
                world.certify_every(heights as u64);
            }
            if let Some(bytes) = option("bytes") {
                world.bound_bytes(bytes);
            }
            (world.loud, world.may_halt, world.history) = (true, true, Some(Vec::new()));
            world.interval = words.contains(&"interval");
        }
        "loud" => world.loud = true,
        "quiet" => world.loud = false,
        "status" => world.status(),
        "chain" => world.print_chain(number(words.get(1)), number(words.get(2))),
        "agree" => world.check_same_chain(),
        "count" => {
            let sent = std::mem::take(&mut world.sent);
            for (name, count) in sent {
                writeln!(world.out, "{count} {name}").unwrap();
            }
        }
        "lead" => world.set_lead(number(words.get(1)), lead(words[2])),
        _ => return false,
    }
    true
}

fn lead(word: &str) -> Lead {
    match word {
        "yes" => Lead::Yes,
        "no" => Lead::No,
        "prefer" => Lead::Prefer,
        other => panic!("lead {other}?"),
    }
}

fn wishes(world: &mut World, words: &[&str]) -> bool {
    let event = match words[0] {
        "transfer" => {
            Event::Transfer { to: words.get(2).map(|_| NodeId::new(number(words.get(2)))) }
        }
        "willing" => Event::Willing(lead(words[2])),
        "read" => Event::Read { read: ReadId(u64::from(number(words.get(2)))) },
        "readmit" => Event::Readmit,
        _ => return false,
    };
    world.step(number(words.get(1)), event);
    true
}

fn time(world: &mut World, words: &[&str]) -> bool {
    let first = words.get(1);
    match words[0] {
        "timeout" => world.timeout(number(first)),
        "run" => world.run(millis(first)),
        "sleep" => world.sleep(millis(first)),
        "mint" => {
            for _ in 0..number(words.get(2)) {
                world.run(millis(first));
                for id in world.ids() {
                    world.seal(id);
                }
                world.settle();
            }
        }
        "calendar" if words[2] == "max" => world.set_calendar(number(first), u64::MAX),
        "calendar" => world.set_calendar(number(first), millis(words.get(2)).as_micros()),
        _ => return false,
    }
    true
}

fn messages(world: &mut World, words: &[&str]) -> bool {
    if !matches!(words[0], "carry" | "drop" | "strip" | "replay" | "settle" | "lose") {
        return false;
    }
    match words[0] {
        "settle" => world.settle(),
        "lose" => world.wire.clear(),
        verb => {
            let (from, to) = (number(words.get(1)), number(words.get(2)));
            let name = words.get(3).copied();
            let message = match verb {
                "replay" => {
                    let nth = words.get(4).map(|_| number(words.get(4)));
                    world.remembered(from, to, name.unwrap(), nth)
                }
                _ => world.take(from, to, name),
            };
            let mut message =
                message.unwrap_or_else(|| panic!("{words:?}: there is no such message"));
            if let ("strip", Message::Append(append)) = (verb, &mut message) {
                append.certificate = None;
            }
            if verb != "drop" {
                world.arrive(from, to, message);
            }
        }
    }
    true
}

fn links(world: &mut World, words: &[&str]) -> bool {
    let pair = || (number(words.get(1)), number(words.get(2)));
    match words[0] {
        "cut" | "join" => world.cut(pair().0, pair().1, words[0] == "cut"),
        "mute" | "hear" => world.cut_one_way(pair().0, pair().1, words[0] == "mute"),
        "isolate" => {
            let id = number(words.get(1));
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
        "opened" => world.step(pair().0, Event::LinkOpened { node: NodeId::new(pair().1) }),
        "lost" => world.step(pair().0, Event::LinkLost { node: NodeId::new(pair().1) }),
        _ => return false,
    }
    true
}

fn nodes(world: &mut World, words: &[&str]) -> bool {
    if !matches!(
        words[0],
        "seal"
            | "kill"
            | "start"
            | "wipe"
            | "copy"
            | "paste"
            | "disk"
            | "apply"
            | "signer"
            | "store"
            | "stray"
            | "prune"
            | "snapshots"
    ) {
        return false;
    }
    let (id, how) = (number(words.get(1)), words.get(2).copied());
    match (words[0], how) {
        ("seal", how) => {
            for _ in 0..how.map_or(1, |_| number(words.get(2))) {
                assert!(world.seal(id), "{words:?}: no slot is on offer");
                if how.is_some() {
                    world.settle();
                }
            }
        }
        ("kill", Some("silently")) => world.lose_power(id),
        ("kill", None) => world.kill(id),
        ("start", how) => {
            world.greets = how != Some("alone");
            world.start(id);
            world.greets = true;
        }
        ("copy", _) => world.copy(id),
        ("paste", _) => world.paste(id),
        ("wipe", how) => world.wipe(id, how != Some("unnoticed")),
        ("prune", Some(_)) => world.prune_at(id, u64::from(number(words.get(2)))),
        ("prune", None) => assert!(world.prune(id), "{words:?}: there is no newer snapshot"),
        ("snapshots", Some("fail")) => world.fail_install(id),
        ("snapshots", Some("die")) => world.die_installing(id),
        ("snapshots", Some("hold" | "go")) => world.hold_installs(id, how == Some("hold")),
        ("stray", _) => world.stray(id),
        ("disk", Some("one")) => world.write_one(id),
        ("disk", Some("hold" | "go")) => world.hold_disk(id, how == Some("hold")),
        ("apply", Some("hold" | "go")) => world.hold_apply(id, how == Some("hold")),
        ("signer", Some("hold" | "go")) => world.hold_signer(id, how == Some("hold")),
        ("store", Some("forget")) => world.forget_applied(id),
        ("store", Some("hold" | "go")) => world.hold_store(id, how == Some("hold")),
        _ => panic!("{words:?}: how?"),
    }
    true
}

fn rosters(world: &mut World, words: &[&str]) -> bool {
    match words {
        ["rosters"] => world.rosters(),
        ["recover", id, term] => {
            world.recover_offline(number(Some(id)), u64::from(number(Some(term))));
        }
        ["change", leader, how @ ..] => {
            let leader = number(Some(leader));
            match how {
                ["add"] | ["add", "promote"] => {
                    let id = world.newcomer(leader);
                    world.change(leader, vec![change::add(id, how.len() == 2)]);
                }
                ["unapproved", steps @ ..] => {
                    let roster_hash = world.roster_of(leader).hash();
                    let steps = change::steps(steps);
                    let signed = RosterChange { chain_id: CHAIN, roster_hash, steps };
                    world.ask_change(leader, signed.assemble(Vec::new()));
                }
                ["stale", steps @ ..] => {
                    let hash = world.first_roster().hash();
                    world.ask_change(leader, change::approved(hash, change::steps(steps)));
                }
                steps => world.change(leader, change::steps(steps)),
            }
        }
        _ => return false,
    }
    true
}

fn lies(world: &mut World, words: &[&str]) -> bool {
    if !matches!(words[0], "forge" | "twin") {
        return false;
    }
    let (liar, victim) = (number(words.get(1)), number(words.get(2)));
    let lie = if words[0] == "twin" {
        let signers: Vec<_> = (4..words.len()).map(|at| number(words.get(at))).collect();
        let twin = match words.get(3) {
            Some(&"by") => world.certified_twin(liar, victim, &signers),
            _ => world.twin(liar, victim),
        };
        twin.unwrap_or_else(|| panic!("{words:?}: no block was sent"))
    } else {
        let term = if words[4] == "max" { u64::MAX } else { u64::from(number(words.get(4))) };
        let height = if words[5] == "max" { u64::MAX } else { u64::from(number(words.get(5))) };
        let signers = match words.get(6) {
            Some(&"by") => (7..words.len()).map(|at| number(words.get(at))).collect(),
            _ => vec![liar],
        };
        world.forged((liar, victim), words[3], (term, height), &signers)
    };
    world.arrive(liar, victim, lie);
    true
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
        let Ok(played) = std::panic::catch_unwind(|| play(&stored)) else {
            differing.push(format!("{}: it cannot be played, see above", path.display()));
            continue;
        };
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
