//! Stacked bars with a table: where the time goes.

use super::{Anchor, Canvas, MARGIN, TOP, WIDTH, plain, ticks, width_of};

/// One bar.
#[derive(Debug)]
pub(in crate::report) struct Stacked {
    pub(in crate::report) label: String,
    /// One for each name in the same order; 0 where it has no such part.
    pub(in crate::report) parts: Vec<f64>,
}

/// Okabe and Ito's, and two greys; neighbours differ in lightness too. Mid-tones, good on white
/// and on black.
const COLOURS: [&str; 9] = [
    "#8b949e", "#cc79a7", "#e69f00", "#d9cc3c", "#0072b2", "#56b4e9", "#009e73", "#d55e00",
    "#5b6570",
];
/// What is written in a part, by how light that is.
const INKS: [&str; 9] =
    ["dark", "dark", "dark", "dark", "light", "dark", "light", "light", "light"];

const ROW: f64 = 48.0;
const BAR: f64 = 32.0;
const LEFT: f64 = 120.0;
const LINE: f64 = 24.0;

pub(in crate::report) fn stack(
    title: &str,
    subtitle: &str,
    names: &[&str],
    bars: &[Stacked],
) -> String {
    let axis = TOP + ROW * bars.len() as f64;
    let table = axis + 56.0;
    let bottom = table + LINE * (names.len() as f64 + 1.0);
    let mut canvas = Canvas::new(bottom + 4.0, title, subtitle);
    let most = bars.iter().map(Stacked::total).fold(0.0, f64::max);
    let steps = ticks(most, 8.0);
    let scale = (WIDTH - LEFT - MARGIN - 70.0) / most.max(1.0);

    for step in steps.iter().filter(|step| **step <= most) {
        let x = LEFT + step * scale;
        canvas.line((x, TOP), (x, axis), "grid");
        let label = if *step == 0.0 { "0 µs" } else { &plain(*step) };
        canvas.text(x, axis + 18.0, "soft small", Anchor::Middle, label);
    }
    for (place, bar) in bars.iter().enumerate() {
        bar.draw(&mut canvas, TOP + ROW * (place as f64 + 0.5), scale);
    }
    columns(&mut canvas, table, names, bars);
    canvas.finish()
}

impl Stacked {
    fn total(&self) -> f64 {
        self.parts.iter().sum()
    }

    fn draw(&self, canvas: &mut Canvas, middle: f64, scale: f64) {
        let class = if self.label == "hoist" { "mine" } else { "strong" };
        canvas.text(LEFT - 12.0, middle + 4.5, class, Anchor::End, &self.label);
        let mut x = LEFT;
        for ((part, colour), ink) in self.parts.iter().zip(COLOURS).zip(INKS) {
            let width = part * scale;
            part_of_bar(canvas, (x, middle), width, colour);
            let label = plain(part.round());
            if width > width_of(&label) + 6.0 {
                canvas.text(x + width / 2.0, middle + 4.5, ink, Anchor::Middle, &label);
            }
            x += width;
        }
        let total = plain(self.total().round());
        canvas.text(x + 9.0, middle + 4.5, class, Anchor::Start, &total);
    }
}

/// Its colour and what is written in it are the same in both schemes.
fn part_of_bar(canvas: &mut Canvas, (x, middle): (f64, f64), width: f64, colour: &str) {
    if width > 0.0 {
        let sides = [("x", x), ("y", middle - BAR / 2.0), ("width", width), ("height", BAR)];
        canvas.filled("rect", "gap", sides, colour);
    }
}

/// The legend is the table: a colour, its part, and the time of each bar.
fn columns(canvas: &mut Canvas, top: f64, names: &[&str], bars: &[Stacked]) {
    let column = |place: usize| LEFT + 420.0 + 100.0 * place as f64;
    for (place, bar) in bars.iter().enumerate() {
        let heading = format!("{}, µs", bar.label);
        canvas.text(column(place), top, "soft small", Anchor::End, &heading);
    }
    for (row, (name, colour)) in names.iter().zip(COLOURS).enumerate() {
        let y = top + LINE * (row as f64 + 1.0);
        let swatch = [("x", LEFT), ("y", y - 11.0), ("width", 14.0), ("height", 14.0), ("rx", 2.0)];
        canvas.filled("rect", "", swatch, colour);
        canvas.text(LEFT + 24.0, y, "", Anchor::Start, name);
        for (place, bar) in bars.iter().enumerate() {
            let part = bar.parts.get(row).copied().unwrap_or_default();
            let figure = if part > 0.0 { plain(part.round()) } else { "–".to_owned() };
            canvas.text(column(place), y, "", Anchor::End, &figure);
        }
    }
}
