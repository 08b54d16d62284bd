//! From what the nodes say, look after look, to what has happened.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use quorate_client::TestnetNodeState;

use super::words::{short, standing};

/// How far behind a node must have been for it to be told that it is no longer.
const FAR: u64 = 5;

/// What is seen of a node in one look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// Its name.
    pub(crate) name: String,
    /// Whether it runs.
    pub(crate) state: TestnetNodeState,
    /// What it says, if it says something.
    pub(crate) says: Option<Says>,
    /// How long ago it has last said something, if it ever has.
    pub(crate) heard: Option<Duration>,
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Says {
    /// Its role.
    pub(crate) role: String,
    /// Its term.
    pub(crate) term: u64,
    /// Its committed height.
    pub(crate) height: u64,
    /// Whom it takes for alive.
    pub(crate) sees: Vec<u32>,
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Another node leads.
    Leads {
        /// The place of the node.
        node: usize,
        /// The term.
        term: u64,
        /// The highest height that was committed before, as far as was seen.
        above: u64,
        /// How long nobody had been seen to lead.
        after: Option<Duration>,
    },
    /// Something in words.
    Said(String),
}

/// How many nodes run, and how many of them see each other: as many as one of them sees, and itself.
pub(crate) fn together(looks: &[Look]) -> (usize, usize) {
    let runs = |look: &&Look| look.state == TestnetNodeState::Running;
    let running = looks.iter().filter(runs).count();
    let says = looks.iter().filter(runs).filter_map(|look| look.says.as_ref());
    let seen = |id: &&u32| {
        usize::try_from(**id).ok().and_then(|id| looks.get(id)).is_some_and(|it| runs(&it))
    };
    let groups = says.map(|says| 1 + says.sees.iter().filter(seen).count());
    (running, groups.max().unwrap_or(running))
}

/// What was seen so far.
#[derive(Debug)]
pub(crate) struct Story {
    quorum: usize,
    leader: Option<(usize, u64)>,
    led_until: Option<Instant>,
    highest: u64,
    together: usize,
    behind: BTreeSet<usize>,
}

impl Story {
    /// It begins with a group of which all run.
    pub(crate) const fn new(quorum: usize, count: usize) -> Self {
        let behind = BTreeSet::new();
        Self { quorum, leader: None, led_until: None, highest: 0, together: count, behind }
    }

    /// Whether some node says that it leads.
    pub(crate) fn is_led(looks: &[Look]) -> bool {
        let leads = |says: &Says| says.role == "leader";
        looks.iter().any(|look| look.says.as_ref().is_some_and(leads))
    }

    /// What has happened since the last look.
    pub(crate) fn go_on(&mut self, looks: &[Look], now: Instant) -> Vec<News> {
        let mut news: Vec<News> = self.quorum(looks).map(News::Said).into_iter().collect();
        news.extend(self.leader(looks, now));
        // What a leader has committed that is not noticed yet was not there before it.
        let noticed = |term| self.leader.is_none_or(|(_, known)| term <= known);
        let says = looks.iter().filter_map(|look| look.says.as_ref());
        let heights = says.filter(|says| noticed(says.term)).map(|says| says.height);
        self.highest = heights.max().unwrap_or(0).max(self.highest);
        news.extend(self.caught_up(looks).into_iter().map(News::Said));
        news
    }

    /// Whether there is a quorum now and was none, or the other way round.
    fn quorum(&mut self, looks: &[Look]) -> Option<String> {
        let (running, together) = together(looks);
        let before = std::mem::replace(&mut self.together, together);
        let changed = (before < self.quorum) != (together < self.quorum);
        changed.then(|| standing(looks.len(), self.quorum, running, together))
    }

    /// Of those that say that they lead, the one of the highest term does.
    fn leader(&mut self, looks: &[Look], now: Instant) -> Option<News> {
        let leads = |look: &&Look| look.state == TestnetNodeState::Running;
        let leaders = looks.iter().enumerate().filter(|(_, look)| leads(look));
        let leaders = leaders.filter_map(|(at, look)| Some((look.says.as_ref()?, at)));
        let leaders = leaders.filter(|(says, _)| says.role == "leader");
        let (term, node) = leaders.map(|(says, at)| (says.term, at)).max()?;
        let until = self.led_until.replace(now);
        let before = self.leader;
        if before.is_some_and(|(_, known)| term <= known) {
            return None;
        }
        self.leader = Some((node, term));
        let after = until.map(|until| now.saturating_duration_since(until));
        Some(News::Leads { node, term, above: self.highest, after })
    }

    /// Nodes that were far behind and no longer are.
    fn caught_up(&mut self, looks: &[Look]) -> Vec<String> {
        let mut told = Vec::new();
        for (at, look) in looks.iter().enumerate() {
            let Some(says) = &look.says else {
                if look.state == TestnetNodeState::Dead {
                    self.behind.insert(at);
                }
                continue;
            };
            let lag = self.highest.saturating_sub(says.height);
            if lag > FAR {
                self.behind.insert(at);
            } else if lag <= 1 && self.behind.remove(&at) {
                told.push(format!("{} is in step at height {}", look.name, says.height));
            }
        }
        told
    }
}

/// That another node leads, and what was lost on the way to it, as far as somebody has looked.
pub(crate) fn leads(
    name: &str,
    term: u64,
    votes: Option<&str>,
    lost: Option<u64>,
    after: Option<Duration>,
) -> String {
    let votes = votes.map_or(String::new(), |votes| format!(" with votes of {votes}"));
    let after =
        after.map_or(String::new(), |after| format!("; {} after the last one", short(after)));
    let lost = match lost {
        None => String::new(),
        Some(1) => "; 1 block lost".to_owned(),
        Some(lost) => format!("; {lost} blocks lost"),
    };
    format!("{name} leads term {term}{votes}{lost}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use TestnetNodeState::{Dead, Running};

    fn look(at: usize, state: TestnetNodeState, says: Option<(&str, u64, u64)>) -> Look {
        let others = (0..3).filter(|other| *other != at as u32);
        let says = says.map(|(role, term, height)| Says {
            role: role.to_owned(),
            term,
            height,
            sees: others.collect(),
        });
        Look { name: format!("node{at}"), state, says, heard: None }
    }

    fn follower(at: usize, term: u64, height: u64) -> Look {
        look(at, Running, Some(("follower", term, height)))
    }

    fn leader(at: usize, term: u64, height: u64) -> Look {
        look(at, Running, Some(("leader", term, height)))
    }

    #[test]
    fn a_leader_dies_another_follows_and_the_first_comes_back() {
        let (mut story, begin) = (Story::new(2, 3), Instant::now());
        let at = |millis| begin + Duration::from_millis(millis);
        let all = [leader(0, 1, 9), follower(1, 1, 9), follower(2, 1, 8)];
        let first = News::Leads { node: 0, term: 1, above: 0, after: None };
        assert_eq!(story.go_on(&all, at(0)), [first]);
        let dead = [look(0, Dead, None), follower(1, 1, 9), follower(2, 1, 9)];
        assert_eq!(story.go_on(&dead, at(100)), []);
        let after = [look(0, Dead, None), leader(1, 2, 10), follower(2, 2, 9)];
        let took = Some(Duration::from_millis(300));
        let news = News::Leads { node: 1, term: 2, above: 9, after: took };
        assert_eq!(story.go_on(&after, at(300)), [news]);
        assert_eq!(story.go_on(&after, at(400)), []);
        let back = [follower(0, 2, 10), leader(1, 2, 10), follower(2, 2, 10)];
        let news = News::Said("node0 is in step at height 10".to_owned());
        assert_eq!(story.go_on(&back, at(500)), [news]);
    }

    #[test]
    fn an_old_leader_that_does_not_know_yet_is_not_believed() {
        let mut story = Story::new(2, 3);
        story.go_on(&[leader(0, 1, 1), follower(1, 1, 1), follower(2, 1, 1)], Instant::now());
        let two = [leader(0, 1, 1), leader(1, 2, 2), follower(2, 2, 1)];
        let news = story.go_on(&two, Instant::now());
        assert!(matches!(news[..], [News::Leads { node: 1, term: 2, .. }]));
        assert_eq!(story.go_on(&two, Instant::now()), []);
    }

    #[test]
    fn that_a_quorum_is_gone_or_back_is_told_once() {
        let mut story = Story::new(2, 3);
        let gone = [look(0, Dead, None), look(1, Dead, None), follower(2, 1, 1)];
        let back = [look(0, Dead, None), follower(1, 1, 1), follower(2, 1, 1)];
        let said = |news: Vec<News>| format!("{news:?}");
        let nothing = "1 of 3 run, 2 are needed: nothing is acknowledged until 1 more run";
        assert!(said(story.go_on(&gone, Instant::now())).contains(nothing));
        assert_eq!(story.go_on(&gone, Instant::now()), []);
        assert!(said(story.go_on(&back, Instant::now())).contains("none may fail now"));
    }

    #[test]
    fn nodes_that_run_and_do_not_see_each_other_are_no_quorum() {
        let mut story = Story::new(2, 3);
        let parted = [0, 1, 2].map(|at| {
            let mut look = follower(at, 1, 1);
            look.says.as_mut().unwrap().sees.clear();
            look
        });
        assert_eq!(together(&parted), (3, 1));
        let said = format!("{:?}", story.go_on(&parted, Instant::now()));
        assert!(said.contains("3 of 3 run, no more than 1 of them see each other"), "{said}");
        // Who says nothing yet may see all.
        assert_eq!(together(&[look(0, Running, None), look(1, Running, None)]), (2, 2));
    }

    #[test]
    fn who_leads_is_told_in_one_line() {
        let after = Some(Duration::from_millis(412));
        assert_eq!(
            leads("node2", 2, Some("node2, node3 and node4"), Some(0), after),
            "node2 leads term 2 with votes of node2, node3 and node4; 0 blocks lost; 412 ms after the last one"
        );
        // Where nobody could look, nothing is claimed.
        assert_eq!(leads("node2", 2, None, None, None), "node2 leads term 2");
    }
}
