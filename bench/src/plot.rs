//! Lines through points as a picture (SVG), both axes by orders of magnitude.

use std::fmt::Write as _;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 42.0;

/// A line, and its points from left to right.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    /// What it is of.
    pub(crate) name: String,
    /// Its colour.
    pub(crate) colour: &'static str,
    /// Where it passes: across, up, and up at least and at most.
    pub(crate) points: Vec<(f64, f64, (f64, f64))>,
}

/// From numbers to places on one axis.
#[derive(Clone, Copy, Debug)]
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// An axis that has room for all of these.
    fn of(numbers: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for number in numbers.filter(|number| *number > 0.0) {
            (low, high) = (low.min(number), high.max(number));
        }
        if low > high {
            (low, high) = (1.0, 10.0);
        }
        let (low, high) = (low.log10().floor(), high.log10().ceil());
        Self { low, high: if high > low { high } else { low + 1.0 }, from, to }
    }

    fn at(&self, number: f64) -> f64 {
        let part = (number.max(1e-9).log10() - self.low) / (self.high - self.low);
        self.from + (self.to - self.from) * part.clamp(0.0, 1.0)
    }

    /// The powers of ten on it.
    fn marks(&self) -> Vec<f64> {
        let (mut mark, mut marks) = (self.low, Vec::new());
        while mark <= self.high + 0.1 && marks.len() < 20 {
            marks.push(10_f64.powf(mark));
            mark += 1.0;
        }
        marks
    }
}

/// A number as it stands at an axis.
fn short(number: f64) -> String {
    match number {
        n if n >= 999_999.0 => format!("{:.0} M", n / 1e6),
        n if n >= 999.0 => format!("{:.0} k", n / 1e3),
        n if n >= 0.99 => format!("{n:.0}"),
        n => format!("{n:.3}").trim_end_matches('0').to_owned(),
    }
}

/// The picture; `across` and `up` say what the axes are.
pub(crate) fn svg(lines: &[Line], across: &str, up: &str) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    let x = Axis::of(points().map(|point| point.0), LEFT, WIDTH - RIGHT);
    let heights = points().flat_map(|point| [point.1, point.2.0, point.2.1]);
    let y = Axis::of(heights, HEIGHT - BOTTOM, TOP);
    let mut out = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{up} by {across}\">\n"
    );
    // Writing to a string does not fail.
    for mark in y.marks() {
        let at = y.at(mark);
        let _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0,
            short(mark)
        );
    }
    for mark in x.marks() {
        let at = x.at(mark);
        let _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{:.1}\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            HEIGHT - BOTTOM,
            HEIGHT - BOTTOM + 16.0,
            short(mark)
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{across}</text>\
         <text transform=\"translate(14 {:.1}) rotate(-90)\" text-anchor=\"middle\">{up}</text>",
        (LEFT + WIDTH) / 2.0,
        HEIGHT - 6.0,
        (HEIGHT - BOTTOM) / 2.0
    );
    for line in lines {
        draw(line, x, y, &mut out);
    }
    out.push_str("</svg>\n");
    out
}

fn draw(line: &Line, x: Axis, y: Axis, out: &mut String) {
    let Line { name, colour, points } = line;
    let path: Vec<_> = points
        .iter()
        .map(|(across, up, _)| format!("{:.1},{:.1}", x.at(*across), y.at(*up)))
        .collect();
    let _ = writeln!(
        out,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
        path.join(" ")
    );
    for (across, up, (least, most)) in points {
        let at = x.at(*across);
        let _ = writeln!(
            out,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\"/>\
             <circle cx=\"{at:.1}\" cy=\"{:.1}\" r=\"3.5\" fill=\"{colour}\"><title>{name}: {up:.2} at {across:.0} \
             ({least:.2} to {most:.2})</title></circle>",
            y.at(*least),
            y.at(*most),
            y.at(*up)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_begins_and_ends_at_powers_of_ten() {
        let axis = Axis::of([3.0, 700.0].into_iter(), 0.0, 30.0);
        assert_eq!(axis.marks(), [1.0, 10.0, 100.0, 1_000.0]);
        assert_eq!([axis.at(1.0), axis.at(10.0), axis.at(1_000.0)], [0.0, 10.0, 30.0]);
        let one = Axis::of([10.0].into_iter(), 0.0, 1.0);
        assert_eq!(one.marks(), [10.0, 100.0]);
        // Nothing, or nothing that has a logarithm, is no reason to fail.
        assert_eq!(Axis::of([0.0].into_iter(), 0.0, 1.0).marks(), [1.0, 10.0]);
    }

    #[test]
    fn every_point_is_drawn_with_its_spread() {
        let points = vec![(1.0, 300.0, (290.0, 310.0)), (64.0, 9_000.0, (8_000.0, 9_500.0))];
        let line = Line { name: "quorate".to_owned(), colour: "#123456", points };
        let svg = svg(&[line], "clients", "a second");
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("quorate: 9000.00 at 64 (8000.00 to 9500.00)"), "{svg}");
        assert!(svg.contains(">10 k<") && svg.contains(">100<"));
    }

    #[test]
    fn numbers_are_short() {
        let numbers = [0.01, 1.0, 10.0, 1_000.0, 1e6];
        assert_eq!(numbers.map(short), ["0.01", "1", "10", "1 k", "1 M"]);
    }
}
