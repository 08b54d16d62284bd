//! How the cost grows: `quorate bench growth`.
//!
//! | with | what is done | what is measured |
//! |---|---|---|
//! | the chain | batches of a hundred at random keys until it holds so many transactions | batches, a restart |
//! | the keys | so many are written, by transactions of a hundred operations | batches, a restart |
//! | the validators | a new group of each size | batches, single writes, single writes of one client |
//!
//! What fills a chain is signed chunk by chunk, and so are keys; what is measured is signed ahead. A restart is SIGTERM, and
//! the same command in the same directory; it is over when every node has answered a linearizable read, for which it needs a
//! leader. The time until it has answered a local one is that of reading its log and its store.

mod sum;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use quorate_node::exit::{Exit, Failure};
use tokio::runtime::{Builder, Runtime};

use crate::bed::{Bed, Signing};
use crate::group::Group;
use crate::page::Page;
use crate::progress::Progress;
use crate::report::Case;
use crate::work::Kind;
use sum::{Mark, Size, Sum};

/// Clients at once.
const CLIENTS: u64 = 64;
/// What is measured of each size of a group.
const OF_SIZE: [Case; 3] = [
    Case { kind: Kind::Batches, clients: CLIENTS, rate: None },
    Case { kind: Kind::Writes, clients: CLIENTS, rate: None },
    Case { kind: Kind::Writes, clients: 1, rate: None },
];

/// With what the cost grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Transactions that the chain holds.
    Chain,
    /// Keys that have a value.
    Keys,
    /// Validators.
    Groups,
}

/// How the cost of a transaction grows with the chain, the keys and the validators.
///
/// All groups are started for it on this machine, and are gone afterwards. Ten millions of transactions take a while, and
/// gigabytes of the disk.
#[derive(Debug, Args)]
pub(crate) struct Growth {
    /// With what.
    #[arg(long, value_name = "PART,…", value_delimiter = ',', default_value = "chain,keys,groups")]
    only: Vec<Part>,
    /// How many transactions the chain holds when it is measured.
    #[arg(long, value_name = "COUNT,…", value_delimiter = ',', default_value = "0,1000000,5000000,10000000", value_parser = clap::value_parser!(u64).range(..=1_000_000_000))]
    chain: Vec<u64>,
    /// How many validators that chain has.
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=9))]
    validators: u16,
    /// How many keys it is about, and groups of each size.
    #[arg(long, value_name = "COUNT", default_value = "10000", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    keys: u64,
    /// How many keys there are when a single validator is measured.
    #[arg(long, value_name = "COUNT,…", value_delimiter = ',', default_value = "10000,1000000,5000000", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    spread: Vec<u64>,
    /// How many validators groups have.
    #[arg(long, value_name = "COUNT,…", value_delimiter = ',', default_value = "1,3,5,7,9", value_parser = clap::value_parser!(u16).range(1..=9))]
    groups: Vec<u16>,
    /// How long each is measured; all that is sent meanwhile is signed ahead, and held in memory.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = clap::value_parser!(u64).range(1..=120))]
    seconds: u64,
    /// Bytes of each value.
    #[arg(long, value_name = "BYTES", default_value = "256", value_parser = clap::value_parser!(u32).range(1..=4_096))]
    value: u32,
    /// Where the directories are [default: where temporary files are].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Where all of it goes as a page for a browser, with plots. Of a page that is there only these sections change.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// What a part is measured with.
struct Stage {
    runtime: Runtime,
    progress: Progress,
}

/// From the least to the most, each once.
fn ascending<T: Ord + Copy>(numbers: &[T]) -> Vec<T> {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    sorted
}

impl Growth {
    /// Measures one part after the other; each is on the page before the next begins, whatever becomes of that.
    pub(crate) fn measured(&self) -> Result<Sum, Failure> {
        let page = self.report.as_deref().map(Page::in_file).transpose()?;
        let put = |sum: &Sum| page.as_ref().map_or(Ok(()), |page| page.put(sum.sections()));
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| Failure::new(Exit::Bug, error))?;
        let (chain, spread) = (ascending(&self.chain), ascending(&self.spread));
        let groups = ascending(&self.groups);
        let steps = self.only.iter().map(|part| match part {
            Part::Chain => chain.len(),
            Part::Keys => spread.len(),
            Part::Groups => groups.len() * OF_SIZE.len(),
        });
        let mut stage = Stage { progress: Progress::new(steps.sum()), runtime };
        let mut sum = Sum {
            validators: self.validators,
            keys: self.keys,
            value: self.value,
            seconds: self.seconds,
            ..Sum::default()
        };
        if self.only.contains(&Part::Chain) {
            sum.chain = self.along(&chain, &mut stage)?;
            put(&sum)?;
        }
        if self.only.contains(&Part::Keys) {
            for keys in spread {
                sum.spread.push(self.over(keys, &mut stage)?);
            }
            put(&sum)?;
        }
        if self.only.contains(&Part::Groups) {
            for validators in groups {
                sum.groups.push(self.among(validators, &mut stage)?);
            }
            put(&sum)?;
        }
        Ok(sum)
    }

    /// A new group with all its keys, and how many transactions those took.
    fn sown(&self, validators: u16, keys: u64, stage: &Stage) -> Result<(Bed, u64), Failure> {
        let group = Group::quorate(validators, self.dir.as_deref(), None)?;
        let mut bed = Bed::new(group, (keys, self.value), CLIENTS)?;
        let count = bed.sow(&stage.runtime, |written| {
            stage.progress.at(&format!("writing keys: {written} of {keys}"));
        })?;
        Ok((bed, count))
    }

    /// At each length of a chain.
    fn along(&self, lengths: &[u64], stage: &mut Stage) -> Result<Vec<Mark>, Failure> {
        let (mut bed, sown) = self.sown(self.validators, self.keys, stage)?;
        let (mut signing, mut marks) = (Signing::default(), Vec::new());
        for length in lengths {
            let before = sown + signing.count;
            let missing = length.saturating_sub(before);
            bed.fill(&stage.runtime, missing, CLIENTS, &mut signing, |written| {
                stage.progress.at(&format!("the chain: {} of {length}", before + written));
            })?;
            stage.progress.at(&format!("the chain at {length} transactions"));
            marks.push(self.mark(&mut bed, *length, sown, &mut signing, stage)?);
        }
        Ok(marks)
    }

    /// A validator with so many keys.
    fn over(&self, keys: u64, stage: &mut Stage) -> Result<Mark, Failure> {
        let (mut bed, sown) = self.sown(1, keys, stage)?;
        stage.progress.at(&format!("{keys} keys"));
        self.mark(&mut bed, keys, sown, &mut Signing::default(), stage)
    }

    /// Batches, and a restart.
    fn mark(
        &self,
        bed: &mut Bed,
        at: u64,
        sown: u64,
        signing: &mut Signing,
        stage: &mut Stage,
    ) -> Result<Mark, Failure> {
        let transactions = sown + signing.count;
        let figures = bed.figures(&stage.runtime, &OF_SIZE[0], (self.seconds, false), signing)?;
        let disk = bed.group.bytes();
        let restart = bed.group.restart()?;
        stage.progress.step();
        Ok(Mark {
            at,
            transactions,
            figures,
            disk_bytes: disk,
            held: sown + signing.count,
            ended_s: restart.ended.as_secs_f64(),
            local_s: restart.local.as_secs_f64(),
            started_s: restart.started.as_secs_f64(),
        })
    }

    /// A group of so many validators.
    fn among(&self, validators: u16, stage: &mut Stage) -> Result<Size, Failure> {
        let (mut bed, _) = self.sown(validators, self.keys, stage)?;
        let (mut signing, mut measured) = (Signing::default(), OF_SIZE.map(|_| Default::default()));
        for (case, figures) in OF_SIZE.iter().zip(&mut measured) {
            let Case { clients, .. } = case;
            let name = case.name();
            stage.progress.at(&format!("{validators} validators: {name}, {clients} clients"));
            *figures = bed.figures(&stage.runtime, case, (self.seconds, false), &mut signing)?;
            stage.progress.step();
        }
        let [batches, writes, alone] = measured;
        Ok(Size { validators, batches, writes, alone })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_only_grows() {
        assert_eq!(ascending(&[5_u64, 0, 10, 5]), [0, 5, 10]);
    }
}
