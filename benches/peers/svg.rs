//! Growth as a picture: wall time by number of rows, both axes logarithmic, a panel for each kind of cycle.

use std::fmt::Write as _;

use crate::peer::Kind;
use crate::report::Row;

const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 62.0;
const TOP: f64 = 56.0;
const GAP: f64 = 26.0;

/// Colours that people with any eyes can tell apart, on white and on black.
fn colour(kind: Kind) -> &'static str {
    match kind {
        Kind::Ours => "#0072b2",
        Kind::Shell => "#d55e00",
        Kind::ShellOneCurl => "#e69f00",
        Kind::Python => "#009e73",
    }
}

/// The picture of these rows.
pub(crate) fn growth(rows: &[Row]) -> String {
    let scenarios = ["first sync", "no change", "1 % churn"];
    let log = |value: f64| value.log10();
    let sizes = || rows.iter().map(|row| row.rows);
    let walls = || rows.iter().map(|row| row.usage.wall.as_secs_f64() * 1_000.0);
    let (x0, x1) = (decade(sizes().min(), f64::floor), decade(sizes().max(), f64::ceil));
    let x1 = x1.max(x0 + 1.0);
    let y0 = log(walls().fold(f64::INFINITY, f64::min)).floor();
    let y1 = log(walls().fold(0.0, f64::max)).ceil().max(y0 + 1.0);
    let total = LEFT + 3.0 * WIDTH + 2.0 * GAP + 16.0;

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {total} {:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>Wall time of one cycle by number of rows</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        TOP + HEIGHT + 52.0
    );
    let mut x = LEFT;
    for kind in Kind::ALL {
        let _ = writeln!(
            svg,
            "<line x1=\"{x}\" y1=\"16\" x2=\"{:.0}\" y2=\"16\" stroke=\"{colour}\" stroke-width=\"3\"/>\
             <text x=\"{:.0}\" y=\"20\">{}</text>",
            x + 22.0,
            x + 28.0,
            kind.name(),
            colour = colour(kind)
        );
        x += 205.0;
    }
    for (panel, scenario) in scenarios.iter().enumerate() {
        let left = LEFT + f64::from(u8::try_from(panel).unwrap_or(0)) * (WIDTH + GAP);
        let at_x = |value: f64| left + (log(value) - x0) / (x1 - x0) * WIDTH;
        let at_y = |value: f64| TOP + HEIGHT - (log(value) - y0) / (y1 - y0) * HEIGHT;
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\" font-weight=\"bold\">{scenario}</text>",
            left + WIDTH / 2.0,
            TOP - 10.0
        );
        for value in decades(y0, y1) {
            let y = at_y(value);
            let _ = writeln!(svg, "<path d=\"M{left:.1} {y:.1}h{WIDTH}\" stroke=\"#ddd\"/>");
            if panel == 0 {
                let text = if value < 1_000.0 {
                    format!("{value} ms")
                } else {
                    format!("{} s", value / 1_000.0)
                };
                let _ = writeln!(
                    svg,
                    "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                    left - 6.0,
                    y + 4.0
                );
            }
        }
        for value in decades(x0, x1) {
            let x = at_x(value);
            let _ = writeln!(
                svg,
                "<path d=\"M{x:.1} {TOP}v{HEIGHT}\" stroke=\"#ddd\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                TOP + HEIGHT + 18.0,
                short(whole(value))
            );
        }
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\" fill=\"#555\">rows</text>",
            left + WIDTH / 2.0,
            TOP + HEIGHT + 38.0
        );
        for kind in Kind::ALL {
            let line = rows.iter().filter(|row| row.peer == kind && row.scenario == *scenario);
            let points: Vec<(f64, f64)> = line
                .map(|row| (at_x(float(row.rows)), at_y(row.usage.wall.as_secs_f64() * 1_000.0)))
                .collect();
            let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let (path, colour) = (path.join(" "), colour(kind));
            let width = if kind == Kind::Ours { 3 } else { 2 };
            let _ = writeln!(
                svg,
                "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"/>"
            );
            for (x, y) in points {
                let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>");
            }
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn decade(value: Option<usize>, round: fn(f64) -> f64) -> f64 {
    round(float(value.unwrap_or(1)).log10())
}

/// 1, 10, 100… between two exponents.
fn decades(from: f64, to: f64) -> impl Iterator<Item = f64> {
    let mut exponent = from;
    std::iter::from_fn(move || {
        let value = (exponent <= to).then(|| 10_f64.powf(exponent));
        exponent += 1.0;
        value
    })
}

#[expect(clippy::cast_precision_loss, reason = "a picture is less precise than that")]
fn float(number: usize) -> f64 {
    number as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is a power of ten above zero"
)]
fn whole(number: f64) -> usize {
    number.round() as usize
}

/// `1k`, `1M`: the labels of two panels stand close to each other.
fn short(number: usize) -> String {
    match number {
        0..1_000 => number.to_string(),
        1_000..1_000_000 => format!("{}k", number / 1_000),
        _ => format!("{}M", number / 1_000_000),
    }
}
