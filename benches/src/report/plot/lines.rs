//! Lines with their names at their ends: how something grows.

use super::{Anchor, Canvas, MARGIN, TOP, WIDTH, element, pixels, plain, ticks};
use crate::report::targets::figure;
use crate::results::{Curve, Line};
use svg::node::Node;

const LEFT: f64 = 80.0;
/// For the names.
const RIGHT: f64 = 160.0;
const HEIGHT: f64 = 290.0;
/// Between two names.
const LINE: f64 = 17.0;

/// `label` gives a runtime's name for people.
pub(in crate::report) fn lines(
    curve: &Curve,
    title: &str,
    subtitle: &str,
    label: impl Fn(&str) -> String,
) -> String {
    let bottom = TOP + 14.0 + HEIGHT;
    let mut canvas = Canvas::new(bottom + 58.0, title, subtitle);
    let across = Across::new(curve);
    let steps = ticks(all(curve).map(|point| point.1).fold(0.0, f64::max), 6.0);
    let most = steps.last().copied().unwrap_or(1.0);
    let up = |y: f64| bottom - y / most * HEIGHT;

    canvas.text(LEFT, TOP, "soft small", Anchor::Start, &curve.y);
    for step in &steps {
        let class = if *step == 0.0 { "axis" } else { "grid" };
        canvas.line((LEFT, up(*step)), (WIDTH - RIGHT - MARGIN, up(*step)), class);
        canvas.text(LEFT - 10.0, up(*step) + 4.0, "soft small", Anchor::End, &plain(*step));
    }
    for x in across.places() {
        canvas.text(across.at(x), bottom + 20.0, "soft small", Anchor::Middle, &plain(x));
    }
    let middle = f64::midpoint(LEFT, WIDTH - RIGHT - MARGIN);
    canvas.text(middle, bottom + 41.0, "soft small", Anchor::Middle, &curve.x);

    for line in &curve.lines {
        let points = line.points.iter().map(|point| (across.at(point.0), up(point.1)));
        draw(&mut canvas, class_of(&line.runtime), &points.collect::<Vec<_>>());
    }
    for (line, y) in apart(&curve.lines, up) {
        let end = line.points.last().map_or(0.0, |point| point.1);
        let x = WIDTH - RIGHT - MARGIN + 12.0;
        let ink = if line.runtime == "hoist" { "mine" } else { "" };
        canvas.element(
            "circle",
            &format!("dot-{}", class_of(&line.runtime)),
            [("cx", x), ("cy", y), ("r", 4.0)],
        );
        let said = format!("{} {}", label(&line.runtime), figure(end));
        canvas.text(x + 10.0, y + 4.5, ink, Anchor::Start, &said);
    }
    canvas.finish()
}

fn all(curve: &Curve) -> impl Iterator<Item = &(f64, f64)> {
    curve.lines.iter().flat_map(|line| &line.points)
}

fn class_of(runtime: &str) -> &str {
    match runtime {
        "hoist" | "library" | "crun" | "crun-static" | "runc" | "floor" => runtime,
        _ => "other",
    }
}

fn draw(canvas: &mut Canvas, class: &str, points: &[(f64, f64)]) {
    let mut line = element("polyline", &format!("line line-{class} of-{class}"), []);
    let path: Vec<String> =
        points.iter().map(|(x, y)| format!("{},{}", pixels(*x), pixels(*y))).collect();
    line.assign("points", path.join(" "));
    canvas.document.append(line);
    for (x, y) in points {
        canvas.element("circle", &format!("dot-{class}"), [("cx", *x), ("cy", *y), ("r", 3.5)]);
    }
}

/// The horizontal scale: each doubling as long as the other where the values span that much.
struct Across {
    places: Vec<f64>,
    by_powers: bool,
}

impl Across {
    fn new(curve: &Curve) -> Self {
        let mut places: Vec<f64> = all(curve).map(|point| point.0).collect();
        places.sort_by(f64::total_cmp);
        places.dedup();
        let by_powers = match (places.first(), places.last()) {
            (Some(first), Some(last)) => *first > 0.0 && last / first >= 8.0,
            _ => false,
        };
        Self { places, by_powers }
    }

    fn at(&self, x: f64) -> f64 {
        let scaled = |x: f64| if self.by_powers { x.log2() } else { x };
        let first = self.places.first().copied().map_or(0.0, scaled);
        let span = self.places.last().copied().map_or(0.0, scaled) - first;
        let share = if span > 0.0 { (scaled(x) - first) / span } else { 0.5 };
        LEFT + 16.0 + share * (WIDTH - RIGHT - MARGIN - LEFT - 32.0)
    }

    /// Those whose numbers have room beside each other.
    fn places(&self) -> Vec<f64> {
        let mut labelled: Vec<f64> = Vec::new();
        for place in &self.places {
            let room = labelled.last().is_none_or(|last| self.at(*place) - self.at(*last) > 42.0);
            if room {
                labelled.push(*place);
            }
        }
        labelled
    }
}

/// Where the names stand: each at its line's end, but no two upon each other.
fn apart(lines: &[Line], up: impl Fn(f64) -> f64) -> Vec<(&Line, f64)> {
    let mut ends: Vec<(&Line, f64)> = lines
        .iter()
        .filter_map(|line| line.points.last().map(|point| (line, up(point.1))))
        .collect();
    // From the bottom up, as there is room above.
    ends.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut below = f64::INFINITY;
    for (_, y) in &mut ends {
        *y = y.min(below - LINE);
        below = *y;
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(runtime: &str, points: &[(f64, f64)]) -> Line {
        Line { runtime: runtime.to_owned(), points: points.to_vec() }
    }

    fn curve(lines: Vec<Line>) -> Curve {
        let text = str::to_owned;
        Curve {
            id: text("c"),
            title: text("t"),
            environment: text("host"),
            x: text("x"),
            y: text("y"),
            lines,
        }
    }

    #[test]
    fn names_do_not_cover_each_other() {
        let lines = [line("a", &[(1.0, 5.0)]), line("b", &[(1.0, 5.0)]), line("c", &[(1.0, 6.0)])];
        let mut ys: Vec<f64> = apart(&lines, |y| 100.0 - y).iter().map(|end| end.1).collect();
        ys.sort_by(f64::total_cmp);
        assert!(ys.windows(2).all(|pair| pair[1] - pair[0] >= LINE), "{ys:?}");
    }

    #[test]
    fn a_curve_without_points_is_drawn() {
        for lines in [vec![], vec![line("hoist", &[])], vec![line("hoist", &[(0.0, 0.0)])]] {
            let svg = super::lines(&curve(lines), "t", "s", str::to_owned);
            assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN"), "{svg}");
        }
    }

    #[test]
    fn doublings_are_equally_far() {
        let points = [(1.0, 1.0), (2.0, 1.0), (4.0, 1.0), (8.0, 1.0)];
        let across = Across::new(&curve(vec![line("hoist", &points)]));
        let (first, second) = (across.at(2.0) - across.at(1.0), across.at(8.0) - across.at(4.0));
        assert!((first - second).abs() < 1e-9);
    }
}
