//! `watch`: a terminal view of a trace that is being written, or that is played back.

use crate::names::Names;
use crate::trace_file::TraceFile;
use crate::trouble::Trouble;
use crate::watch::{Follower, Header, Mode, Model, Playback, draw};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// From one picture to the next.
const FRAME: Duration = Duration::from_millis(100);

/// Reading what was written takes no longer than this before there is a picture.
const READING: Duration = Duration::from_millis(60);

/// Shows a trace that is being written, or plays one back: the arena, figures, and who holds most.
///
/// Keys: q ends it, space pauses. In playback the arrows go back and forth, + and - change the speed.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The trace: the file that a program with `Traced` writes, or wrote
    trace: PathBuf,
    /// Play it back from the beginning, so many times as fast as it happened: 1, 10, 0.01
    #[arg(long, value_name = "TIMES", value_parser = speed)]
    speed: Option<f64>,
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if speed.is_finite() && speed > 0.0 => Ok(speed),
        _ => Err("a speed is a number above zero".to_owned()),
    }
}

/// # Errors
///
/// The trace cannot be read, or there is no terminal.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Trouble> {
    let title =
        arguments.trace.file_name().unwrap_or(arguments.trace.as_os_str()).to_string_lossy().into_owned();
    let header = TraceFile::open(&arguments.trace)?.whole()?;
    let source = match arguments.speed {
        Some(speed) => Source::Playback(Playback::open(&arguments.trace, speed)?),
        None => Source::Follower(Follower::open(&arguments.trace, Instant::now())?),
    };
    if !io::stdout().is_terminal() {
        return Err(Trouble::Terminal(io::Error::other("stdout is no terminal")));
    }
    let mut terminal = ratatui::try_init().map_err(Trouble::Terminal)?;
    let mut view = View { source, model: Model::new(), is_paused: false };
    let outcome = (|| {
        let mut last = Instant::now();
        let mut names = Names::new(&[], header.began);
        let mut modules = 0;
        loop {
            let now = Instant::now();
            view.advance(now, now - last)?;
            last = now;
            // Libraries may come while the program runs, and what was looked up before has no names from them.
            let known = view.model.call_sites().modules();
            if known.len() != modules {
                (names, modules) = (Names::new(known, header.began), known.len());
            }
            let header = Header { title: title.clone(), mode: view.mode() };
            terminal
                .draw(|frame| draw(frame, &header, &view.model, &mut names))
                .map_err(Trouble::Terminal)?;
            while event::poll(FRAME.saturating_sub(now.elapsed())).map_err(Trouble::Terminal)? {
                if let Event::Key(key) = event::read().map_err(Trouble::Terminal)? {
                    if !view.press(key)? {
                        return Ok(());
                    }
                    break;
                }
            }
        }
    })();
    ratatui::restore();
    outcome
}

enum Source {
    Follower(Follower),
    Playback(Playback),
}

/// What is shown, and where it comes from.
struct View {
    source: Source,
    model: Model,
    is_paused: bool,
}

impl View {
    fn advance(&mut self, now: Instant, elapsed: Duration) -> Result<(), Trouble> {
        if self.is_paused {
            return Ok(());
        }
        match &mut self.source {
            Source::Playback(playback) => playback.advance(&mut self.model, elapsed),
            Source::Follower(follower) => {
                follower.poll(now)?;
                let mut count = 0u32;
                while let Some(entry) = follower.next()? {
                    self.model.apply(&entry);
                    count += 1;
                    if count % 1024 == 0 && now.elapsed() > READING {
                        break;
                    }
                }
                Ok(())
            }
        }
    }

    /// What a key does; false if it ends the program.
    fn press(&mut self, key: KeyEvent) -> Result<bool, Trouble> {
        if key.kind == KeyEventKind::Release {
            return Ok(true);
        }
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match (key.code, &mut self.source) {
            (KeyCode::Char('q') | KeyCode::Esc, _) => return Ok(false),
            (KeyCode::Char('c'), _) if is_control => return Ok(false),
            (KeyCode::Char(' '), _) => self.is_paused = !self.is_paused,
            (KeyCode::Left, Source::Playback(playback)) => playback.seek(&mut self.model, -50)?,
            (KeyCode::Right, Source::Playback(playback)) => playback.seek(&mut self.model, 50)?,
            (KeyCode::Down, Source::Playback(playback)) => playback.seek(&mut self.model, -10)?,
            (KeyCode::Up, Source::Playback(playback)) => playback.seek(&mut self.model, 10)?,
            (KeyCode::Home, Source::Playback(playback)) => playback.seek(&mut self.model, -1000)?,
            (KeyCode::End, Source::Playback(playback)) => playback.seek(&mut self.model, 1000)?,
            (KeyCode::Char('+' | '='), Source::Playback(playback)) => playback.accelerate(2.0),
            (KeyCode::Char('-'), Source::Playback(playback)) => playback.accelerate(0.5),
            _ => {}
        }
        Ok(true)
    }

    fn mode(&self) -> Mode {
        match &self.source {
            Source::Follower(_) if self.is_paused => Mode::Paused,
            Source::Follower(_) => Mode::Following,
            Source::Playback(playback) => {
                let (position, duration) = playback.position();
                Mode::Playing { speed: playback.speed(), position, duration, is_paused: self.is_paused }
            }
        }
    }
}
