//! Keys that give orders: a letter, or the whole word, then the nodes it is about, then Enter. `q` needs no Enter.

/// What is wanted of the testnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Kill these.
    Kill(Vec<u16>),
    /// Revive these; all that are dead, if none is named.
    Revive(Vec<u16>),
    /// Pause these, or let them go on.
    Pause(Vec<u16>),
    /// Part these from the others.
    Part(Vec<u16>),
    /// Join all again.
    Heal,
    /// Begin to write, or stop.
    Load,
    /// End the testnet.
    Quit,
}

/// What is said of the keys.
pub(crate) const HELP: &str =
    "k 1 kill  r revive  p 1 pause or resume  x 0,1 part  h heal  l load  q quit";

/// What was typed so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Keys {
    typed: String,
}

impl Keys {
    /// What was typed so far.
    pub(crate) fn typed(&self) -> &str {
        &self.typed
    }

    /// What comes of one more key: nothing yet, a wish, or why it is none.
    pub(crate) fn press(&mut self, key: char) -> Option<Result<Wish, String>> {
        match key {
            '\u{3}' | '\u{4}' => return Some(Ok(Wish::Quit)),
            '\u{1b}' => self.typed.clear(),
            '\u{8}' | '\u{7f}' => drop(self.typed.pop()),
            '\r' | '\n' => {
                let typed = std::mem::take(&mut self.typed);
                return (!typed.trim().is_empty()).then(|| wish(&typed));
            }
            _ if !key.is_control() && self.typed.len() < 80 => self.typed.push(key),
            _ => {}
        }
        (self.typed == "q").then(|| wish(&std::mem::take(&mut self.typed)))
    }
}

/// What a line that was typed asks for.
fn wish(line: &str) -> Result<Wish, String> {
    let line = line.trim();
    let end = line.find(|letter: char| !letter.is_alphabetic()).unwrap_or(line.len());
    let (verb, nodes) = line.split_at(end);
    let nodes = nodes.split([',', ' ']).filter(|node| !node.is_empty());
    let nodes: Result<Vec<u16>, _> =
        nodes.map(|node| node.parse().map_err(|_| format!("`{node}` is no node"))).collect();
    let some = |nodes: Vec<u16>| {
        if nodes.is_empty() { Err(format!("which nodes? Such as {verb} 1")) } else { Ok(nodes) }
    };
    match verb {
        "k" | "kill" => some(nodes?).map(Wish::Kill),
        "r" | "revive" => Ok(Wish::Revive(nodes?)),
        "p" | "pause" | "resume" => some(nodes?).map(Wish::Pause),
        "x" | "part" => some(nodes?).map(Wish::Part),
        "h" | "heal" => Ok(Wish::Heal),
        "l" | "load" => Ok(Wish::Load),
        "q" | "quit" => Ok(Wish::Quit),
        _ => Err(format!("`{line}` is no order: {HELP}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> Vec<Result<Wish, String>> {
        let mut keys = Keys::default();
        text.chars().filter_map(|key| keys.press(key)).collect()
    }

    #[test]
    fn a_letter_and_nodes_are_a_wish() {
        assert_eq!(typed("k 1,2\r"), [Ok(Wish::Kill(vec![1, 2]))]);
        assert_eq!(typed("x0 12\n"), [Ok(Wish::Part(vec![0, 12]))]);
        assert_eq!(typed("r\rp 3\r"), [Ok(Wish::Revive(vec![])), Ok(Wish::Pause(vec![3]))]);
        assert_eq!(typed("h\rl\rq"), [Ok(Wish::Heal), Ok(Wish::Load), Ok(Wish::Quit)]);
        assert_eq!(typed("kill 4\rheal\r"), [Ok(Wish::Kill(vec![4])), Ok(Wish::Heal)]);
    }

    #[test]
    fn what_is_mistyped_can_be_taken_back() {
        assert_eq!(typed("k 1\u{7f}2\r"), [Ok(Wish::Kill(vec![2]))]);
        assert_eq!(typed("k 1\u{1b}r\r"), [Ok(Wish::Revive(vec![]))]);
        assert_eq!(typed("\r\r"), []);
    }

    #[test]
    fn what_is_no_wish_is_told_why() {
        assert!(typed("k\r")[0].clone().unwrap_err().contains("which nodes"));
        assert!(typed("k one\r")[0].clone().unwrap_err().contains("`one` is no node"));
        for word in ["z 1", "help", "list"] {
            let said = typed(&format!("{word}\r"));
            assert!(said[0].clone().unwrap_err().starts_with(&format!("`{word}` is no order: ")));
        }
        // Eighty columns show all of it.
        assert!(HELP.len() < 80);
    }
}
