//! The screen: arena, figures, live bytes over time, and who holds them.

use super::model::Model;
use crate::bytes::{grouped, percent, rough, shade};
use crate::names::Names;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Sparkline, Table};

/// What the screen says beside what the model knows.
pub(crate) struct Header {
    /// The trace's name.
    pub(crate) title: String,
    /// What goes on.
    pub(crate) mode: Mode,
}

/// What goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mode {
    /// What is written is shown.
    Following,
    /// It is not shown any more, but read.
    Paused,
    /// A trace is played back.
    Playing {
        /// How many times as fast as it happened.
        speed: f64,
        /// Nanoseconds since the recording began.
        position: u64,
        /// And how many there are.
        duration: u64,
        /// Whether it stands still.
        is_paused: bool,
    },
}

/// Draws the whole screen.
pub(crate) fn draw(frame: &mut Frame, header: &Header, model: &Model, names: &mut Names) {
    let area = frame.area();
    // The map has a quarter of the screen, the figures what they need, the holders the rest.
    let map_height = (area.height / 4).clamp(3, 16) + 2;
    let [top, map, middle, holders, bottom] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(map_height),
        Constraint::Length(8),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(area);
    let [figures, over_time] =
        Layout::horizontal([Constraint::Length(38), Constraint::Min(10)]).areas(middle);
    frame.render_widget(title_line(header), top);
    draw_map(frame, model, map);
    draw_figures(frame, model, figures);
    draw_over_time(frame, model, over_time);
    draw_holders(frame, model, names, holders);
    frame.render_widget(key_line(header.mode), bottom);
}

fn title_line(header: &Header) -> Line<'_> {
    let mode = match header.mode {
        Mode::Following => "following".to_owned(),
        Mode::Paused => "paused".to_owned(),
        Mode::Playing { speed, position, duration, is_paused } => {
            let state = if is_paused { "paused" } else { "playing" };
            format!("{state} at {}, {} of {}", times(speed), seconds(position), seconds(duration))
        }
    };
    Line::from(vec![
        Span::styled(" insight ", Style::new().add_modifier(Modifier::REVERSED)),
        Span::styled(format!(" {} ", header.title), Style::new().add_modifier(Modifier::BOLD)),
        Span::raw(mode),
    ])
}

fn key_line(mode: Mode) -> Line<'static> {
    let keys: &[(&str, &str)] = match mode {
        Mode::Following | Mode::Paused => &[("q", "quit"), ("space", "pause")],
        Mode::Playing { .. } => {
            &[("q", "quit"), ("space", "pause"), ("← →", "5 %"), ("↑ ↓", "1 %"), ("+ -", "speed")]
        }
    };
    let key = |&(key, what): &(&'static str, &'static str)| {
        [
            Span::styled(format!(" {key} "), Style::new().add_modifier(Modifier::REVERSED)),
            Span::raw(format!(" {what}  ")),
        ]
    };
    Line::from(keys.iter().flat_map(key).collect::<Vec<_>>())
}

fn draw_map(frame: &mut Frame, model: &Model, area: Rect) {
    let block = Block::bordered();
    let inner = block.inner(area);
    let count = usize::from(inner.width) * usize::from(inner.height);
    let title = match model.arena() {
        Some((low, high)) => format!(
            " Arena as far as it was used: {low:#x} + {}, {} a character ",
            rough(high - low),
            rough((high - low).div_ceil(count.max(1) as u64))
        ),
        None => " Arena ".to_owned(),
    };
    frame.render_widget(block.title(title), area);
    let cells = model.cells(count);
    let rows = cells.chunks(usize::from(inner.width).max(1)).map(|row| {
        let stretches = row.chunk_by(|a, b| drawn(*a) == drawn(*b));
        Line::from_iter(stretches.map(|stretch| {
            let (character, style) = drawn(stretch[0]);
            Span::styled(character.to_string().repeat(stretch.len()), style)
        }))
    });
    frame.render_widget(Paragraph::new(rows.collect::<Vec<_>>()), inner);
}

fn draw_figures(frame: &mut Frame, model: &Model, area: Rect) {
    let bytes = |bytes: u64| format!("{:>13}  {}", grouped(bytes), rough(bytes));
    let number = |number: u64| format!("{:>13}", grouped(number));
    let refusals = match model.refused {
        Some(size) => format!("{}  last {}", number(model.refusals), rough(size)),
        None => number(0),
    };
    let line = |name: &'static str, figure: String| Line::from(format!("{name:9}{figure}"));
    let lines = vec![
        line("live", bytes(model.live_bytes())),
        line("peak", bytes(model.peak)),
        line("blocks", number(model.live_blocks() as u64)),
        line("calls/s", number(model.calls_per_second())),
        line("calls", number(model.events)),
        line("refused", refusals),
    ];
    let title = match model.end {
        Some(1) => " The recording ended: disk full ",
        Some(_) => " The recording ended early ",
        None => " Figures ",
    };
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(title)), area);
}

fn draw_over_time(frame: &mut Frame, model: &Model, area: Rect) {
    let block = Block::bordered().title(format!(
        " Live bytes: {}, up to {} ",
        seconds(model.time),
        rough(model.peak)
    ));
    let columns = model.live_over_time.columns(usize::from(block.inner(area).width));
    let line = Sparkline::default().data(&columns).max(model.peak.max(1)).style(Style::new().fg(Color::Cyan));
    frame.render_widget(line.block(block), area);
}

fn draw_holders(frame: &mut Frame, model: &Model, names: &mut Names, area: Rect) {
    let block = Block::bordered().title(" Who holds most ");
    let count = usize::from(block.inner(area).height.saturating_sub(1));
    let live = model.live_bytes();
    let rows = model.holders(count).into_iter().map(|(site, holding)| {
        Row::new([
            Cell::from(format!("{:>15}", grouped(holding.bytes))),
            Cell::from(format!("{:>7}", percent(holding.bytes, live))),
            Cell::from(format!("{:>9}", grouped(holding.blocks))),
            Cell::from(names.of(&model.call_sites, site).line(FRAMES)),
        ])
    });
    let widths = [Constraint::Length(15), Constraint::Length(7), Constraint::Length(9), Constraint::Min(10)];
    let header = Row::new(["          bytes", "  share", "   blocks", "asked for by"]);
    let header = header.style(Style::new().add_modifier(Modifier::BOLD));
    frame.render_widget(Table::new(rows, widths).header(header).block(block), area);
}

/// Frames of a stack that are shown.
const FRAMES: usize = 6;

/// How a cell is drawn of which so many percent are in use.
fn drawn(percent: u8) -> (char, Style) {
    let used = Style::new().fg(Color::Cyan);
    let style = match percent {
        0 => Style::new().add_modifier(Modifier::DIM),
        1..=99 => used,
        _ => used.add_modifier(Modifier::BOLD),
    };
    (shade(percent), style)
}

/// A time in seconds, as precise as it needs to be.
fn seconds(nanos: u64) -> String {
    let seconds = nanos as f64 / 1e9;
    match nanos {
        0..1_000_000_000 => format!("{:.1} ms", nanos as f64 / 1e6),
        1_000_000_000..100_000_000_000 => format!("{seconds:.2} s"),
        _ => format!("{seconds:.0} s"),
    }
}

/// A speed: `4×`, `0.25×`.
fn times(speed: f64) -> String {
    if speed >= 1.0 {
        format!("{speed:.0}×")
    } else {
        format!("{speed:.4}").trim_end_matches('0').to_owned() + "×"
    }
}

#[cfg(test)]
mod tests;
