//! A testnet that is watched: what happens in plain lines and, on a terminal, a table of the nodes below them
//! and keys that give orders.
//!
//! Nothing is known here that a node or the supervisor has not said: nodes are asked how they fare a few times
//! each second, and keys give the same orders as the commands.

mod keys;
mod screen;
mod story;
mod words;

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use quorate_chain::ids::Height;
use quorate_client::{Client, KeyFile, Testnet, TestnetNode, TestnetNodeState, Wanted};
use quorate_node::stderr;
use rustix::process::{Signal, getpid, kill_process};
use serde::Deserialize;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::directory::Directory;
use crate::supervisor::control::{self, Order};
use crate::supervisor::{Ending, statuses};
use keys::{Keys, Wish};
use screen::{Raw, Screen};
use story::{Look, News, Says, Story};

pub(crate) use screen::is_there;
pub(crate) use words::banner;

/// How often the nodes are asked.
const TICK: Duration = Duration::from_millis(150);
const SOON: Duration = Duration::from_millis(20);
/// How long the load waits after a write that has failed.
const REST: Duration = Duration::from_millis(100);
/// How long a node may take to say who voted for it.
const VOTES: Duration = Duration::from_secs(3);
/// Keys that the load writes.
const KEYS: u64 = 100;

/// Somebody who watches. Dropped, the terminal is as before.
pub(crate) struct Live {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Live {
    /// Watches a testnet that is ready. What the supervisor has to say comes through the channel.
    pub(crate) fn start(
        directory: Directory,
        testnet: Testnet,
        (say, heard): (Sender<String>, Receiver<String>),
        terminal: bool,
        ending: Ending,
    ) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // How nodes end at the end is no news. Without this it is told.
            let _ = signal_hook::flag::register(signal, Arc::clone(&over));
        }
        let until = Arc::clone(&over);
        let thread = thread::spawn(move || {
            let raw = if terminal { Raw::new() } else { None };
            let is_over = || until.load(Ordering::Relaxed) || ending();
            Watcher::new(directory, testnet, say, raw.is_some()).watch(&heard, &is_over);
        });
        Self { over, thread: Some(thread) }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // If it has panicked, that was said.
            let _ = thread.join();
        }
    }
}

struct Watcher {
    directory: Directory,
    testnet: Testnet,
    story: Story,
    say: Sender<String>,
    screen: Option<Screen>,
    keys: Keys,
    load: Load,
    /// When each node has last said something.
    heard: Vec<Option<Instant>>,
}

/// Writes that are made so that something happens.
#[derive(Default)]
struct Load {
    /// Whoever writes has this too, and ends when it is false.
    on: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
}

impl Watcher {
    fn new(directory: Directory, testnet: Testnet, say: Sender<String>, terminal: bool) -> Self {
        let story = Story::new(quorum(&testnet), testnet.nodes.len());
        let screen = terminal.then(Screen::default);
        let (keys, load) = (Keys::default(), Load::default());
        let heard = vec![None; testnet.nodes.len()];
        Self { directory, testnet, story, say, screen, keys, load, heard }
    }

    fn watch(mut self, heard: &Receiver<String>, is_over: &dyn Fn() -> bool) {
        let pressed = self.screen.is_some().then(pressed);
        while !is_over() {
            let begin = Instant::now();
            self.testnet = Testnet::in_dir(self.directory.root()).unwrap_or(self.testnet);
            let looks = look(&self.testnet.nodes, &mut self.heard);
            // While nobody leads, how long that lasts is of interest.
            let tick = if Story::is_led(&looks) { TICK } else { SOON };
            if is_over() {
                // What is seen of nodes that are ended is no news.
                break;
            }
            for news in self.story.go_on(&looks, Instant::now()) {
                self.tell(news);
            }
            loop {
                for key in pressed.iter().flat_map(Receiver::try_iter) {
                    self.press(key);
                }
                let lines: Vec<String> = heard.try_iter().collect();
                match &mut self.screen {
                    Some(screen) => {
                        let load = self.load.on.load(Ordering::Relaxed);
                        let load = load.then(|| self.load.acknowledged.load(Ordering::Relaxed));
                        let typed = self.keys.typed();
                        screen.show(
                            &lines,
                            &screen::table(&looks, quorum(&self.testnet), load, typed),
                        );
                    }
                    None => lines.iter().for_each(stderr::line),
                }
                if begin.elapsed() > tick || is_over() {
                    break;
                }
                thread::sleep(tick / 4);
            }
        }
        self.load.on.store(false, Ordering::Relaxed);
        heard.try_iter().for_each(stderr::line);
    }

    /// Tells what has happened; who voted has to be asked for, and nobody waits for that.
    fn tell(&self, news: News) {
        let say = self.say.clone();
        match news {
            // If nobody hears it any more, nobody wants to.
            News::Said(line) => drop(say.send(line)),
            News::Leads { node, term, above, after } => {
                let nodes = self.testnet.nodes.clone();
                thread::spawn(move || {
                    let opening = opening(&nodes, node, term, above);
                    let voters = opening.as_ref().map(|(_, voters)| words::listed(voters));
                    let lost = opening.map(|(height, _)| (above + 1).saturating_sub(height));
                    let name = &nodes[node].name;
                    say.send(story::leads(name, term, voters.as_deref(), lost, after))
                });
            }
        }
    }

    fn press(&mut self, key: char) {
        match self.keys.press(key) {
            None => {}
            Some(Err(why)) => drop(self.say.send(why)),
            Some(Ok(Wish::Quit)) => {
                // The supervisor ends as it would at Ctrl-C.
                let _ = kill_process(getpid(), Signal::INT);
            }
            Some(Ok(Wish::Load)) => self.toggle_load(),
            Some(Ok(Wish::Kill(nodes))) => self.order(vec![Order::Kill { nodes }]),
            Some(Ok(Wish::Revive(nodes))) => self.order(vec![Order::Revive { nodes }]),
            Some(Ok(Wish::Part(nodes))) => {
                self.order(vec![Order::Partition { groups: vec![nodes] }]);
            }
            Some(Ok(Wish::Heal)) => self.order(vec![Order::Heal]),
            Some(Ok(Wish::Pause(nodes))) => {
                // What was seen last may be out of date.
                let now = Testnet::in_dir(self.directory.root());
                let now = now.unwrap_or_else(|| self.testnet.clone());
                let is_paused = |node: &u16| {
                    let node = now.nodes.get(usize::from(*node));
                    node.is_some_and(|node| node.state == TestnetNodeState::Paused)
                };
                let (paused, others): (Vec<_>, Vec<_>) = nodes.into_iter().partition(is_paused);
                let mut orders = Vec::new();
                if !paused.is_empty() {
                    orders.push(Order::Resume { nodes: paused });
                }
                if !others.is_empty() {
                    orders.push(Order::Pause { nodes: others });
                }
                self.order(orders);
            }
        }
    }

    /// Gives orders; who gives them does not wait, but hears why one was not done.
    fn order(&self, orders: Vec<Order>) {
        let (directory, say) = (self.directory.clone(), self.say.clone());
        thread::spawn(move || {
            for order in orders {
                if let Err(failure) = control::order(&directory, &order) {
                    drop(say.send(failure.sentence));
                }
            }
        });
    }

    fn toggle_load(&mut self) {
        if self.load.on.swap(false, Ordering::Relaxed) {
            return;
        }
        let key = self.testnet.keys.get("bob").and_then(|path| KeyFile::read(path).ok());
        let client = Client::new(&self.testnet.nodes()).ok();
        let Some((key, client)) = key.zip(client) else { return };
        let account = client.account(key.into_secret());
        self.load.on = Arc::new(AtomicBool::new(true));
        let (on, acknowledged) = (self.load.on.clone(), self.load.acknowledged.clone());
        thread::spawn(move || {
            for number in 0_u64.. {
                if !on.load(Ordering::Relaxed) {
                    return;
                }
                match account.update(format!("load/{}", number % KEYS), number.to_string()) {
                    Ok(_) => drop(acknowledged.fetch_add(1, Ordering::Relaxed)),
                    Err(_) => thread::sleep(REST),
                }
            }
        });
    }
}

fn quorum(testnet: &Testnet) -> usize {
    usize::try_from(testnet.quorum).unwrap_or(usize::MAX)
}

/// Every key that is pressed.
fn pressed() -> Receiver<char> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        for byte in std::io::stdin().lock().bytes().map_while(Result::ok) {
            if send.send(char::from(byte)).is_err() {
                return;
            }
        }
    });
    receive
}

/// Asks all nodes that run how they fare, and notes who has answered.
fn look(nodes: &[TestnetNode], heard: &mut [Option<Instant>]) -> Vec<Look> {
    let running: Vec<_> =
        nodes.iter().filter(|node| node.state == TestnetNodeState::Running).cloned().collect();
    let mut said: Vec<_> = running.iter().zip(statuses(&running)).collect();
    let mut says = |node: &TestnetNode| {
        let at = said.iter().position(|(asked, _)| asked.node_id == node.node_id)?;
        let status = said.swap_remove(at).1?;
        Some(Says {
            role: status.role,
            term: status.term.get(),
            height: status.height.get(),
            sees: status.live_peers.iter().map(|peer| peer.get()).collect(),
        })
    };
    let now = Instant::now();
    let look = |(node, heard): (&TestnetNode, &mut Option<Instant>)| {
        let says = says(node);
        *heard = says.as_ref().map(|_| now).or(*heard);
        let heard = heard.map(|at| now.saturating_duration_since(at));
        Look { name: node.name.clone(), state: node.state, says, heard }
    };
    nodes.iter().zip(heard).map(look).collect()
}

/// Where a leader's first block stands, and the names of those who voted for it, as it says itself.
fn opening(
    nodes: &[TestnetNode],
    node: usize,
    term: u64,
    above: u64,
) -> Option<(u64, Vec<String>)> {
    #[derive(Deserialize)]
    struct Leadership {
        height: u64,
        term: u64,
        votes: Vec<u32>,
    }
    let client = Client::new(&nodes[node].api).ok()?.with_timeout(VOTES);
    let from = Some(Height::new(above.saturating_sub(50).max(1)));
    let wanted = Wanted { topics: vec!["leadership".to_owned()], from, ..Wanted::default() };
    for event in client.events(wanted).ok()? {
        let said: Leadership = event.ok()?.read().ok()?;
        if said.term == term {
            let name = |id: &u32| nodes.iter().find(|node| node.node_id.get() == *id);
            let names = said.votes.iter().filter_map(name).map(|node| node.name.clone());
            return Some((said.height, names.collect()));
        }
        if said.term > term {
            return None;
        }
    }
    None
}
