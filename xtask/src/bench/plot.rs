//! Curves as SVG.

use std::path::Path;

use anyhow::{Context, anyhow};
use plotters::{
    prelude::{
        ChartBuilder, Circle, IntoDrawingArea, LineSeries, Palette, Palette99, PathElement,
        SVGBackend, WHITE,
    },
    series::PointSeries,
    style::{BLACK, Color, RGBAColor},
};

pub(super) struct Curve {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

impl Curve {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), points: Vec::new() }
    }
}

/// Curves over the same axes.
pub(super) struct Plot {
    file: &'static str,
    x: &'static str,
    y: &'static str,
    curves: Vec<Curve>,
}

const SIZE: (u32, u32) = (760, 420);

impl Plot {
    pub(super) fn new(
        file: &'static str,
        x: &'static str,
        y: &'static str,
        curves: Vec<Curve>,
    ) -> Self {
        Self { file, x, y, curves }
    }

    /// Writes the plot into `directory`.
    pub(super) fn write(&self, directory: &Path) -> anyhow::Result<()> {
        let path = directory.join(self.file).with_extension("svg");
        self.draw(&path).with_context(|| format!("drawing {}", path.display()))
    }

    fn draw(&self, path: &Path) -> anyhow::Result<()> {
        let area = SVGBackend::new(path, SIZE).into_drawing_area();
        let failed = |error: &dyn std::fmt::Display| anyhow!("{error}");
        area.fill(&WHITE).map_err(|error| failed(&error))?;
        let points = || self.curves.iter().flat_map(|curve| &curve.points);
        let most = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(0.0, f64::max) * 1.05;
        let (x, y) = (most(|point| point.0), most(|point| point.1));
        let mut chart = ChartBuilder::on(&area)
            .margin(16)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..x, 0.0..y)
            .map_err(|error| failed(&error))?;
        chart
            .configure_mesh()
            .x_desc(self.x)
            .y_desc(self.y)
            .draw()
            .map_err(|error| failed(&error))?;
        for (number, curve) in self.curves.iter().enumerate() {
            let colour: RGBAColor = Palette99::pick(number).to_rgba();
            let line = LineSeries::new(curve.points.iter().copied(), colour.stroke_width(2));
            chart.draw_series(line).map_err(|error| failed(&error))?.label(&curve.name).legend(
                move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)),
            );
            let dots = PointSeries::<_, _, Circle<_, _>, _>::new(
                curve.points.iter().copied(),
                3,
                colour.filled(),
            );
            chart.draw_series(dots).map_err(|error| failed(&error))?;
        }
        chart
            .configure_series_labels()
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK)
            .draw()
            .map_err(|error| failed(&error))?;
        area.present().map_err(|error| failed(&error))
    }
}
