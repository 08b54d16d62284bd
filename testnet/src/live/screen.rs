//! A terminal: the newest lines, and below them a table that is drawn again and again in its place.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use quorate_client::TestnetNodeState;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use super::keys::HELP;
use super::story::{Look, together};
use super::words::{short, standing};

/// How wide a terminal is that does not say.
const WIDTH: usize = 80;
/// A node that was heard so lately is heard now.
const NOW: Duration = Duration::from_secs(1);
const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const PLAIN: &str = "\x1b[0m";

/// Whether somebody sits there who sees what is drawn and can press keys.
pub(crate) fn is_there() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// A terminal that hands over keys one by one and does not show them. Dropped, it is as before.
pub(crate) struct Raw {
    before: Termios,
}

impl Raw {
    pub(crate) fn new() -> Option<Self> {
        let before = tcgetattr(io::stdin()).ok()?;
        let mut now = before.clone();
        now.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Now, &now).ok()?;
        Some(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// What is drawn now.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    /// How many lines the table has.
    drawn: usize,
}

impl Screen {
    /// Puts lines above the table, and draws it anew.
    pub(crate) fn show(&mut self, lines: &[String], table: &[String]) {
        let width = tcgetwinsize(io::stdout()).map_or(0, |size| usize::from(size.ws_col));
        // One that does not know its width says 0.
        let width = if width == 0 { WIDTH } else { width };
        let mut out = String::new();
        if self.drawn > 0 {
            out.push_str(&format!("\x1b[{}A\r\x1b[J", self.drawn));
        }
        for line in lines {
            out.push_str(line);
            out.push('\n');
        }
        for line in table {
            out.push_str(&cut(line, width));
            out.push('\n');
        }
        self.drawn = table.len();
        let mut terminal = io::stdout().lock();
        // A terminal that is gone shows nothing.
        let _ = terminal.write_all(out.as_bytes()).and_then(|()| terminal.flush());
    }
}

/// As much of a line as fits; colours take no room.
fn cut(line: &str, width: usize) -> String {
    let (mut out, mut room, mut colour) = (String::new(), width.max(1), false);
    for letter in line.chars() {
        colour |= letter == '\x1b';
        if colour {
            out.push(letter);
            colour = letter != 'm';
        } else if room > 0 {
            out.push(letter);
            room -= 1;
        }
    }
    out
}

/// The table: the nodes, what the group can bear, and the keys.
pub(crate) fn table(looks: &[Look], quorum: usize, load: Option<u64>, typed: &str) -> Vec<String> {
    let heights = looks.iter().filter_map(|look| Some(look.says.as_ref()?.height));
    let highest = heights.max().unwrap_or(0);
    let mut lines = vec![
        String::new(),
        format!(
            "{DIM}{:<8} {:<8} {:<10} {:>5} {:>9} {:>7}  {:<10} sees{PLAIN}",
            "node", "state", "role", "term", "height", "behind", "heard"
        ),
    ];
    lines.extend(looks.iter().map(|look| row(look, highest)));
    let (running, together) = together(looks);
    let colour = if together < quorum { RED } else { PLAIN };
    let load = load.map_or(String::new(), |count| format!("; load: {count} acknowledged"));
    lines
        .push(format!("{colour}{}{load}{PLAIN}", standing(looks.len(), quorum, running, together)));
    lines.push(format!("{DIM}{HELP}{PLAIN}"));
    lines.push(format!("> {typed}"));
    lines
}

fn row(look: &Look, highest: u64) -> String {
    let Look { name, state, says, heard } = look;
    let heard = match heard {
        None => "never".to_owned(),
        Some(ago) if *ago < NOW => "now".to_owned(),
        Some(ago) => format!("{} ago", short(*ago)),
    };
    let colour = match (state, says) {
        (TestnetNodeState::Dead, _) => RED,
        (TestnetNodeState::Paused, _) => YELLOW,
        (TestnetNodeState::Running, Some(says)) if says.role == "leader" => GREEN,
        (TestnetNodeState::Running, Some(_)) => PLAIN,
        (TestnetNodeState::Running, None) => DIM,
    };
    let state = state.to_string();
    let Some(says) = says else {
        return format!(
            "{colour}{name:<8} {state:<8} {:<10} {:>5} {:>9} {:>7}  {heard}{PLAIN}",
            "-", "-", "-", "-"
        );
    };
    let sees: Vec<_> = says.sees.iter().map(ToString::to_string).collect();
    let bold = if says.role == "leader" { BOLD } else { "" };
    let behind = highest - says.height.min(highest);
    format!(
        "{bold}{colour}{name:<8} {state:<8} {:<10} {:>5} {:>9} {behind:>7}  {heard:<10} {}{PLAIN}",
        says.role,
        says.term,
        says.height,
        sees.join(",")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::story::Says;

    #[test]
    fn colours_take_no_room() {
        assert_eq!(cut("\x1b[31mabcdef\x1b[0m", 3), "\x1b[31mabc\x1b[0m");
        assert_eq!(cut("abc", 80), "abc");
    }

    #[test]
    fn the_table_says_who_leads_and_who_is_behind() {
        let look = |name: &str, role: &str, height| Look {
            name: name.to_owned(),
            state: TestnetNodeState::Running,
            says: Some(Says { role: role.to_owned(), term: 3, height, sees: vec![1, 2] }),
            heard: Some(Duration::from_millis(20)),
        };
        let heard = Some(Duration::from_secs(12));
        let (name, state) = ("node2".to_owned(), TestnetNodeState::Dead);
        let dead = Look { name, state, says: None, heard };
        let looks = [look("node0", "leader", 40), look("node1", "follower", 38), dead];
        let table = table(&looks, 2, Some(7), "k 1");
        assert!(
            table[2]
                .contains("node0    running  leader         3        40       0  now        1,2")
        );
        assert!(table[3].contains("       2  now        1,2"));
        assert!(table[4].contains("dead") && table[4].contains("12 s ago"));
        assert!(
            table[5].contains("2 of 3 run, 2 are needed: none may fail now; load: 7 acknowledged")
        );
        assert_eq!(table.last().map(String::as_str), Some("> k 1"));
    }
}
