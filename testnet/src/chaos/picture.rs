//! The timeline of a run as a picture (SVG): a lane for each node with what was done to it and when it led,
//! and below how much was acknowledged.

use std::fmt::Write as _;

use super::history::Micros;
use super::page::escaped;

/// The colour of who leads.
pub(super) const LEADS: &str = "#27ae60";

const WIDTH: f64 = 1_200.0;
const LEFT: f64 = 60.0;
const LANE: f64 = 26.0;
const CURVE: f64 = 90.0;
/// Columns of the lowest part, at most.
const COLUMNS: usize = 380;

/// What is drawn.
pub(super) struct Picture {
    /// When it ends.
    pub(super) end: Micros,
    /// What the lanes are called.
    pub(super) lanes: Vec<String>,
    /// What was done in them.
    pub(super) bars: Vec<Bar>,
    /// In which lane was led from when to when.
    pub(super) leaders: Vec<(usize, Micros, Micros)>,
    /// When something was acknowledged.
    pub(super) moments: Vec<Micros>,
    /// What is shaded.
    pub(super) shaded: (Micros, Micros),
    /// When all was mended.
    pub(super) mended: Micros,
}

/// Something that lasted.
pub(super) struct Bar {
    pub(super) lane: usize,
    pub(super) begin: Micros,
    pub(super) end: Micros,
    pub(super) colour: &'static str,
    pub(super) faint: bool,
    pub(super) title: String,
}

#[allow(clippy::cast_precision_loss, reason = "a picture is not that precise")]
fn x(at: Micros, end: Micros) -> f64 {
    LEFT + (WIDTH - LEFT) * at.min(end) as f64 / end as f64
}

#[allow(clippy::cast_precision_loss, reason = "a picture is not that precise")]
const fn real(number: usize) -> f64 {
    number as f64
}

/// The picture.
pub(super) fn svg(picture: &Picture) -> String {
    let lanes = LANE * real(picture.lanes.len());
    let height = lanes + CURVE + 40.0;
    let mut out =
        format!("<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"timeline\">\n");
    let at = |moment| x(moment, picture.end);
    let mut rect = |(left, top): (f64, f64),
                    (width, height): (f64, f64),
                    colour: &str,
                    opacity: f64,
                    title: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{height:.1}\" fill=\"{colour}\" \
             fill-opacity=\"{opacity}\"><title>{}</title></rect>",
            width.max(0.8),
            escaped(title)
        );
    };
    let (begin, end) = (at(picture.shaded.0), at(picture.shaded.1));
    rect(
        (begin, 0.0),
        (end - begin, lanes + CURVE + 8.0),
        "#e74c3c",
        0.12,
        "nothing was acknowledged",
    );
    for lane in 0..picture.lanes.len() {
        rect((LEFT, LANE * real(lane) + 3.0), (WIDTH - LEFT, LANE - 6.0), "#8899aa", 0.13, "");
    }
    for (lane, begin, end) in &picture.leaders {
        let (begin, end, top) = (at(*begin), at(*end), LANE * real(*lane) + LANE - 7.0);
        rect((begin, top), (end - begin, 4.0), LEADS, 1.0, "leads");
    }
    for bar in &picture.bars {
        let (begin, end, top) = (at(bar.begin), at(bar.end), LANE * real(bar.lane) + 4.0);
        rect(
            (begin, top),
            (end - begin, LANE - 12.0),
            bar.colour,
            if bar.faint { 0.4 } else { 0.9 },
            &bar.title,
        );
    }
    columns(picture, lanes + 8.0, &mut rect);
    rect((at(picture.mended), 0.0), (1.0, lanes + CURVE + 8.0), LEADS, 1.0, "all is mended");
    words(picture, lanes, &mut out);
    out.push_str("</svg>\n");
    out
}

/// How much was acknowledged, in columns of equal time.
fn columns(
    picture: &Picture,
    top: f64,
    rect: &mut impl FnMut((f64, f64), (f64, f64), &str, f64, &str),
) {
    let mut counts = vec![0_usize; COLUMNS];
    for moment in &picture.moments {
        let column = u128::from(*moment) * COLUMNS as u128 / u128::from(picture.end);
        let column = usize::try_from(column).unwrap_or(COLUMNS).min(COLUMNS - 1);
        counts[column] += 1;
    }
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let width = (WIDTH - LEFT) / real(COLUMNS);
    for (at, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let high = CURVE * real(*count) / real(most);
        let place = (LEFT + width * real(at), top + CURVE - high);
        rect(place, (width - 0.4, high), "#3498db", 0.9, &format!("{count} acknowledged"));
    }
}

/// The names of the lanes, and the time below.
fn words(picture: &Picture, lanes: f64, out: &mut String) {
    let mut text = |x: f64, y: f64, anchor: &str, words: &str| {
        let _ = writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
            escaped(words)
        );
    };
    for (lane, name) in picture.lanes.iter().enumerate() {
        text(LEFT - 8.0, LANE * real(lane) + LANE / 2.0 + 4.0, "end", name);
    }
    text(LEFT - 8.0, lanes + CURVE / 2.0, "end", "acks");
    for tenth in 0..=10_u64 {
        let moment = picture.end / 10 * tenth;
        let anchor = if tenth == 10 { "end" } else { "middle" };
        text(
            x(moment, picture.end),
            lanes + CURVE + 26.0,
            anchor,
            &format!("{} s", moment / 1_000_000),
        );
    }
}
