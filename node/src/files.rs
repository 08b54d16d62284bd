//! How many files and connections the process may have open. The operating system often allows few until
//! it is asked for more; connections of clients get what the node does not need for itself.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::exit::Failure;
use crate::papers::configuration;

/// What the node keeps for itself: its store and its readers' connections to it, its log, other nodes.
const OWN: u64 = 128;

/// Raises what is allowed as far as possible, and says how many clients there is room for, at most so
/// many.
pub(crate) fn room(wanted: usize) -> Result<usize, Failure> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit = raised,
            Err(error) => tracing::warn!(%error, "no more files may be opened than so far"),
        }
    }
    let room = within(wanted, limit.current)?;
    if room < wanted {
        let files = limit.current;
        tracing::warn!(
            room,
            wanted,
            ?files,
            "fewer connections of clients are taken than `api.connections` says: too few files may be open"
        );
    }
    Ok(room)
}

fn within(wanted: usize, files: Option<u64>) -> Result<usize, Failure> {
    let Some(files) = files else { return Ok(wanted) };
    let room = usize::try_from(files.saturating_sub(OWN)).unwrap_or(usize::MAX);
    if room == 0 {
        return Err(configuration(format!(
            "{files} files may be open (`ulimit -n`); a node needs {OWN}, and one for each client"
        )));
    }
    Ok(wanted.min(room))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_what_the_node_does_not_need() {
        assert_eq!(within(1_024, None), Ok(1_024));
        assert_eq!(within(1_024, Some(20_000)), Ok(1_024));
        assert_eq!(within(1_024, Some(1_024)), Ok(896));
        assert_eq!(within(1_024, Some(129)), Ok(1));
        for files in [0, 127, 128] {
            let failure = within(1, Some(files)).unwrap_err();
            assert!(failure.to_string().contains("ulimit -n"), "{failure}");
        }
    }
}
