//! Bars of ratios to one runtime, with the targets: one row for each thing measured.

use super::{Anchor, Canvas, MARGIN, TOP, WIDTH, plain};

/// One thing measured, as ratios.
#[derive(Debug)]
pub(in crate::report) struct Row {
    pub(in crate::report) label: String,
    pub(in crate::report) hoist: Option<f64>,
    /// The faster build of the runtime that everything is compared with.
    pub(in crate::report) rival: Option<f64>,
    /// The slow one is a number in the margin, or it would dwarf the rest.
    pub(in crate::report) far: Option<f64>,
    pub(in crate::report) target: Option<f64>,
}

const ROW: f64 = 40.0;
const LEFT: f64 = 215.0;
const RIGHT: f64 = 100.0;
const LEGEND: f64 = 26.0;

pub(in crate::report) fn ratios(title: &str, subtitle: &str, rows: &[Row]) -> String {
    let top = TOP + LEGEND;
    let bottom = top + ROW * rows.len() as f64;
    let mut canvas = Canvas::new(bottom + 42.0, title, subtitle);
    let most = rows.iter().flat_map(|row| [row.hoist, row.rival]).flatten().fold(1.0, f64::max);
    let scale = (WIDTH - LEFT - RIGHT - MARGIN) / (most * 1.06);
    let at = |ratio: f64| LEFT + ratio * scale;

    legend(&mut canvas, rows);
    for step in super::ticks(most, 5.0).into_iter().filter(|step| *step <= most * 1.06) {
        let class = if step == 1.0 { "limit" } else { "grid" };
        canvas.line((at(step), top), (at(step), bottom), class);
        let label = if step == 1.0 { "crun" } else { &plain(step) };
        canvas.text(at(step), bottom + 19.0, "soft small", Anchor::Middle, label);
    }
    // hoist's bar has another one below it, or the row for itself.
    let below = if rows.iter().any(|row| row.rival.is_some()) { 0.0 } else { 6.0 };
    for (place, row) in rows.iter().enumerate() {
        let middle = top + ROW * (place as f64 + 0.5);
        let hoist_at = middle + below;
        canvas.text(LEFT - 12.0, middle + 4.5, "", Anchor::End, &row.label);
        match row.hoist {
            Some(hoist) => {
                canvas.bar(LEFT, hoist_at - 14.0, hoist * scale, 16.0, "hoist");
                let label = format!("{hoist:.2}");
                // Beyond the target's mark where the bar ends just before it.
                let close = row.target.filter(|target| (0.0..0.09).contains(&(target - hoist)));
                let x = at(close.unwrap_or(hoist)) + 8.0;
                canvas.text(x, hoist_at - 1.5, "mine halo", Anchor::Start, &label);
            }
            None => canvas.text(
                LEFT + 8.0,
                hoist_at - 1.5,
                "soft small",
                Anchor::Start,
                "hoist: not measured",
            ),
        }
        if let Some(rival) = row.rival {
            canvas.bar(LEFT, middle + 4.0, rival * scale, 8.0, "peer");
            let label = format!("{rival:.2}");
            canvas.text(at(rival) + 8.0, middle + 13.0, "soft small halo", Anchor::Start, &label);
        }
        if let Some(target) = row.target {
            mark(&mut canvas, at(target), hoist_at - 6.0);
        }
        if let Some(far) = row.far {
            let label = format!("{far:.2}");
            canvas.text(WIDTH - MARGIN, middle + 4.5, "soft", Anchor::End, &label);
        }
    }
    canvas.line((LEFT, top), (LEFT, bottom), "axis");
    canvas.finish()
}

/// Of what there is.
fn legend(canvas: &mut Canvas, rows: &[Row]) {
    let y = TOP - 4.0;
    canvas.bar(LEFT, y, 18.0, 10.0, "hoist");
    canvas.text(LEFT + 25.0, y + 9.0, "mine small", Anchor::Start, "hoist");
    if rows.iter().any(|row| row.target.is_some()) {
        mark(canvas, LEFT + 90.0, y + 5.0);
        canvas.text(LEFT + 99.0, y + 9.0, "soft small", Anchor::Start, "hoist's target");
    }
    if rows.iter().any(|row| row.rival.is_some()) {
        canvas.bar(LEFT + 215.0, y + 1.0, 18.0, 8.0, "peer");
        canvas.text(LEFT + 240.0, y + 9.0, "soft small", Anchor::Start, "crun, static build");
    }
    if rows.iter().any(|row| row.far.is_some()) {
        canvas.text(WIDTH - MARGIN, y + 9.0, "soft small", Anchor::End, "runc");
    }
}

fn mark(canvas: &mut Canvas, x: f64, middle: f64) {
    let sides = [("x", x - 1.25), ("y", middle - 11.0), ("width", 2.5), ("height", 22.0)];
    canvas.element("rect", "target", sides);
}
