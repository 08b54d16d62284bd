//! The clocks of the machine, as the core counts time.

use std::time::{Duration, Instant, SystemTime};

use quorate_chain::ids::TimeUs;
use quorate_consensus::time::{Moment, Now, Span};

/// A clock that began when the node did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    began: Instant,
}

impl Clock {
    /// A clock that begins now.
    pub(crate) fn start() -> Self {
        Self { began: Instant::now() }
    }

    /// What the clocks say.
    pub(crate) fn now(&self) -> Now {
        let moment = Moment::micros(micros(self.began.elapsed()));
        // A machine whose calendar is before 1970 has no time to tell.
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now { moment, time: TimeUs::new(micros(since)) }
    }

    /// When a moment will be, or was.
    pub(crate) fn instant(&self, moment: Moment) -> Instant {
        // A moment at the end of the range means "never", which a day is enough for.
        let after = Duration::from_micros(moment.as_micros());
        let day = self.began.elapsed() + Duration::from_secs(86_400);
        self.began + after.min(day)
    }
}

/// A span of time, as the core counts it.
pub(crate) fn span(time: Duration) -> Span {
    Span::micros(micros(time))
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
