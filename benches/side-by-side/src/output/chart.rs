//! Horizontal bar charts in SVG.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// A chart of grouped bars.
#[derive(Clone, Debug)]
pub struct Chart {
    /// Name of the file, without its ending.
    pub name: String,
    /// The line above the bars; says what is shown and whether less is better.
    pub title: String,
    /// Bars that belong together.
    pub groups: Vec<Group>,
    /// Values above this are cut off, so that one outlier does not flatten the rest. Their label tells them.
    pub limit: f64,
}

/// Bars under one heading.
#[derive(Clone, Debug)]
pub struct Group {
    /// The heading.
    pub heading: String,
    /// The bars.
    pub bars: Vec<Bar>,
}

/// One bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// What it stands for.
    pub label: String,
    /// Its length; none for what could not be measured.
    pub value: Option<f64>,
    /// The value as text.
    pub text: String,
    /// Whether it is this project's own.
    pub ours: bool,
}

const WIDTH: i32 = 860;
const LABELS: i32 = 150;
const VALUES: i32 = 90;
const LINE: i32 = 18;
const TITLE: i32 = 44;

const OURS: RGBColor = RGBColor(200, 80, 30);
const OTHERS: RGBColor = RGBColor(110, 130, 160);
const INK: RGBColor = RGBColor(40, 40, 40);

impl Chart {
    /// Draws the chart into a file.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn draw(&self, file: &Path) -> Result<()> {
        let lines: usize = self.groups.iter().map(|group| group.bars.len() + 2).sum();
        let height = TITLE + LINE * lines as i32;
        let area = SVGBackend::new(file, (WIDTH as u32, height as u32)).into_drawing_area();
        let failed = |error| anyhow!("cannot draw {}: {error}", file.display());
        area.fill(&WHITE).map_err(failed)?;
        let text = |size: i32, side: HPos| {
            TextStyle::from(("sans-serif", size).into_font()).color(&INK).pos(Pos::new(side, VPos::Center))
        };
        let title = Text::new(self.title.clone(), (12, TITLE / 2), text(16, HPos::Left));
        area.draw(&title).map_err(failed)?;
        let longest = self
            .groups
            .iter()
            .flat_map(|group| &group.bars)
            .filter_map(|bar| bar.value)
            .fold(f64::MIN_POSITIVE, f64::max)
            .min(self.limit);
        let mut y = TITLE;
        for group in &self.groups {
            let heading = Text::new(group.heading.clone(), (12, y + LINE / 2), text(13, HPos::Left));
            area.draw(&heading).map_err(failed)?;
            y += LINE;
            for bar in &group.bars {
                let middle = y + LINE / 2;
                let label = Text::new(bar.label.clone(), (LABELS - 8, middle), text(12, HPos::Right));
                area.draw(&label).map_err(failed)?;
                let share = bar.value.map_or(0.0, |value| value.min(longest) / longest);
                let end = LABELS + (share * f64::from(WIDTH - LABELS - VALUES)) as i32;
                let colour = if bar.ours { OURS } else { OTHERS };
                let shape = Rectangle::new([(LABELS, y + 3), (end, y + LINE - 3)], colour.filled());
                area.draw(&shape).map_err(failed)?;
                let value = Text::new(bar.text.clone(), (end + 6, middle), text(12, HPos::Left));
                area.draw(&value).map_err(failed)?;
                y += LINE;
            }
            y += LINE;
        }
        area.present().map_err(failed)
    }
}
