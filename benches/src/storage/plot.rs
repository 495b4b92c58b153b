//! Throughput against appenders, as a picture.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use super::figures::Figures;

const SIZE: (u32, u32) = (960, 600);

/// Dark enough for thin lines, and told apart without colour vision by their order and marks.
const COLORS: [RGBColor; 8] = [
    RGBColor(0x99, 0x99, 0x99),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x00, 0x00, 0x00),
];

/// Writes the medians of `figures` to the SVG file `path`.
///
/// # Errors
/// Those of the file system.
pub fn write(figures: &Figures, title: &str, path: &Path) -> Result<(), Box<dyn Error>> {
    let of_side = |side| -> Vec<(f64, f64)> {
        let appenders = figures.appenders().into_iter();
        let point = |n: usize| Some(((n as f64).log2(), figures.median(n, side)?.per_second));
        appenders.filter_map(point).collect()
    };
    let lines: Vec<_> = figures.sides.iter().map(|&side| (side, of_side(side))).collect();
    let points = || lines.iter().flat_map(|(_, points)| points.iter().copied());
    let (low, high) = points().fold((f64::MAX, 1.0_f64), |(low, high), (_, y)| (low.min(y), high.max(y)));
    // The axis counts doublings.
    let (first, last) = points().fold((0.0, 1.0_f64), |(first, last), (x, _)| (x.min(first), x.max(last)));

    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(80)
        .build_cartesian_2d(first - 0.2..last + 0.2, (low / 2.0..high * 2.0).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("concurrent appenders")
        .y_desc("entries/s (flushes/s of the disk), each durable")
        .x_labels(11)
        .x_label_formatter(&|x| format!("{:.0}", x.exp2()))
        .y_label_formatter(&|y| thousands(*y))
        .label_style(("sans-serif", 15))
        .axis_desc_style(("sans-serif", 16))
        .light_line_style(RGBColor(0xee, 0xee, 0xee))
        .draw()?;
    for ((side, points), color) in lines.into_iter().zip(COLORS.into_iter().cycle()) {
        let line = LineSeries::new(points, color.stroke_width(2)).point_size(4);
        let legend = move |(x, y)| PathElement::new(vec![(x, y), (x + 20, y)], color.stroke_width(3));
        chart.draw_series(line)?.label(side).legend(legend);
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.9))
        .border_style(RGBColor(0xcc, 0xcc, 0xcc))
        .label_font(("sans-serif", 15))
        .margin(10)
        .draw()?;
    root.present()?;
    Ok(())
}

fn thousands(count: f64) -> String {
    if count >= 1e6 {
        format!("{}M", count / 1e6)
    } else if count >= 1e3 {
        format!("{}k", count / 1e3)
    } else {
        format!("{count}")
    }
}
