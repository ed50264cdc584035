//! A trace that is complete, played back as if it happened now.

use super::model::Model;
use crate::progress::Progress;
use crate::trace_file::{Entry, TraceFile};
use crate::trouble::Trouble;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How many entries are read between two looks at the progress bar.
const ENTRIES_BETWEEN_UPDATES: u64 = 1 << 16;

/// The slowest and the fastest playback.
const SPEEDS: (f64, f64) = (1.0 / 1024.0, 1024.0);

/// A trace that is played back.
pub(crate) struct Playback {
    path: PathBuf,
    trace: TraceFile,
    /// What is next, and happens after the position.
    next: Option<Entry>,
    /// Nanoseconds since the recording began.
    position: u64,
    /// When the last event happened.
    duration: u64,
    speed: f64,
}

impl Playback {
    /// Opens a trace, and reads through it to find out how long it is.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is none.
    pub(crate) fn open(path: &Path, speed: f64) -> Result<Self, Trouble> {
        let mut trace = TraceFile::open(path)?;
        let mut progress = Progress::new(format!("reading {}", path.display()));
        let (mut duration, mut entries) = (0, 0u64);
        while let Some(entry) = trace.next()? {
            if let Entry::Event { time, .. } = entry {
                duration = duration.max(time);
            }
            entries += 1;
            if entries % ENTRIES_BETWEEN_UPDATES == 0 {
                let (whole, done) = trace.progress();
                progress.update(done, whole);
            }
        }
        let speed = speed.clamp(SPEEDS.0, SPEEDS.1);
        Ok(Self {
            path: path.to_owned(),
            trace: TraceFile::open(path)?,
            next: None,
            position: 0,
            duration,
            speed,
        })
    }

    /// Nanoseconds since the recording began, and how many there are.
    pub(crate) fn position(&self) -> (u64, u64) {
        (self.position, self.duration)
    }

    /// How many times as fast as it happened.
    pub(crate) fn speed(&self) -> f64 {
        self.speed
    }

    /// Makes it that many times as fast as it is.
    pub(crate) fn accelerate(&mut self, factor: f64) {
        self.speed = (self.speed * factor).clamp(SPEEDS.0, SPEEDS.1);
    }

    /// Goes on as far as it gets in that time.
    ///
    /// # Errors
    ///
    /// The trace cannot be read any more.
    pub(crate) fn advance(&mut self, model: &mut Model, elapsed: Duration) -> Result<(), Trouble> {
        let nanos = (elapsed.as_nanos() as f64 * self.speed) as u64;
        self.play_to(model, self.position.saturating_add(nanos))
    }

    /// Goes to another place: by that many thousandths of all, forwards or backwards.
    ///
    /// # Errors
    ///
    /// The trace cannot be read any more.
    pub(crate) fn seek(&mut self, model: &mut Model, thousandths: i64) -> Result<(), Trouble> {
        let distance = (i128::from(self.duration) * i128::from(thousandths) / 1000) as i64;
        let position = self.position.saturating_add_signed(distance).min(self.duration);
        if position < self.position {
            self.trace = TraceFile::open(&self.path)?;
            (self.next, self.position) = (None, 0);
            *model = Model::new();
        }
        self.play_to(model, position)
    }

    fn play_to(&mut self, model: &mut Model, position: u64) -> Result<(), Trouble> {
        self.position = position.min(self.duration);
        loop {
            let entry = match self.next.take() {
                Some(entry) => entry,
                None => match self.trace.next()? {
                    Some(entry) => entry,
                    None => return Ok(()),
                },
            };
            if matches!(entry, Entry::Event { time, .. } if time > self.position) {
                self.next = Some(entry);
                return Ok(());
            }
            model.apply(&entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::Synthetic;
    use mem_alloc_rust::trace::Note;

    #[test]
    fn a_trace_is_played_at_a_speed_and_can_be_sought_in() {
        let second = Duration::from_secs(1);
        let mut trace = Synthetic::new();
        for n in 0..=10 {
            trace.note(1, &Note::Time(n * second.as_nanos() as u64));
            trace.allocation(1, n + 1, 0x1000 * (n + 1), 10, 0);
        }
        let path = trace.write("playback");
        let (mut model, mut playback) = (Model::new(), Playback::open(&path, 2.0).unwrap());
        playback.advance(&mut model, Duration::ZERO).unwrap();
        assert_eq!(model.events, 1);
        playback.advance(&mut model, second).unwrap();
        assert_eq!((model.events, playback.position()), (3, (2_000_000_000, 10_000_000_000)));
        playback.accelerate(0.5);
        playback.advance(&mut model, second).unwrap();
        assert_eq!(model.events, 4);
        playback.seek(&mut model, 500).unwrap();
        assert_eq!((model.events, model.live_bytes()), (9, 90));
        playback.seek(&mut model, -600).unwrap();
        assert_eq!((model.events, model.live_bytes()), (3, 30));
        playback.seek(&mut model, 5000).unwrap();
        assert_eq!((model.events, playback.position().0), (11, 10_000_000_000));
        playback.seek(&mut model, -5000).unwrap();
        assert_eq!((model.events, playback.position().0), (1, 0));
        playback.accelerate(1e9);
        assert_eq!(playback.speed(), SPEEDS.1);
    }
}
