use super::*;
use crate::trace_file::Entry;
use mem_alloc_rust::trace::Event;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

/// A program with two call sites: every fourth block of the first one was released, and the last request was refused.
fn model() -> Model {
    let mut model = Model::new();
    model.apply(&Entry::Module {
        bias: 0x5500_0000,
        start: 0x5500_0000,
        end: 0x5600_0000,
        path: "/home/someone/program".into(),
    });
    for (number, caller, address) in [(1, 0, 0x5500_1000), (2, 1, 0x5500_2340), (3, 1, 0x5500_4560)] {
        model.apply(&Entry::Site { number, caller, address });
    }
    let mut sequence = 0;
    let mut event = |event| {
        sequence += 1;
        model.apply(&Entry::Event { sequence, thread: 1, time: sequence * 5_000_000, event, weight: None });
    };
    let address = |block: u64| 0x7000_0000 + block * 1024;
    let allocate = |block: u64, site| Event::Allocation {
        size: 1024,
        align: 8,
        address: address(block),
        is_zeroed: false,
        site,
    };
    (0..400).for_each(|block| event(allocate(block, 2)));
    (0..400).step_by(4).for_each(|block| event(Event::Release { address: address(block) }));
    (0..100).for_each(|block| event(Event::Release { address: address(block) }));
    (900..1000).for_each(|block| event(allocate(block, 3)));
    event(Event::Refused { size: 700_000, align: 8, site: 3 });
    model
}

/// The characters of the screen.
fn drawn(width: u16, height: u16, mode: Mode, model: &Model) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let header = Header { title: "program.trace".to_owned(), mode };
    let mut names = Names::new(model.call_sites.modules(), 0);
    terminal.draw(|frame| draw(frame, &header, model, &mut names)).unwrap();
    let buffer = terminal.backend().buffer();
    let rows = buffer.content().chunks(width.into());
    rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned() + "\n")
        .collect()
}

#[track_caller]
fn assert_drawn(actual: &str, expected: &str) {
    assert!(actual == expected, "drawn was:\n{actual}\nexpected:\n{expected}");
}

#[test]
fn a_screen_of_80_by_24() {
    assert_drawn(&drawn(80, 24, Mode::Following, &model()), include_str!("80x24.txt"));
}

#[test]
fn a_screen_of_120_by_40() {
    let mode =
        Mode::Playing { speed: 4.0, position: 2_000_000_000, duration: 3_005_000_000, is_paused: true };
    assert_drawn(&drawn(120, 40, mode, &model()), include_str!("120x40.txt"));
}

#[test]
fn any_size_can_be_drawn() {
    for (width, height) in [(1, 1), (10, 3), (40, 10), (80, 5), (300, 100)] {
        drawn(width, height, Mode::Paused, &model());
        drawn(width, height, Mode::Following, &Model::new());
    }
}

#[test]
fn times_and_speeds_are_short() {
    assert_eq!(
        [0, 1_500_000, 2_345_000_000, 345_000_000_000].map(seconds),
        ["0.0 ms", "1.5 ms", "2.35 s", "345 s"]
    );
    assert_eq!([4.0, 1.0, 0.25, 1.0 / 1024.0].map(times), ["4×", "1×", "0.25×", "0.001×"]);
}
