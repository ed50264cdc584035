//! What is encoded is decoded, and bytes that are none of a trace are an error and nothing worse.

use super::*;
use proptest::prelude::*;
use std::vec::Vec;

const HEADER: ChunkHeader = ChunkHeader { writer: 3, sequence: 41, time: 5_000, thread: 77 };

fn any_address() -> impl Strategy<Value = u64> {
    // Of processes: 57 bits at most.
    1..1u64 << 57
}

fn any_align() -> impl Strategy<Value = u64> {
    (0..63u32).prop_map(|log2| 1 << log2)
}

fn any_event() -> impl Strategy<Value = Event> {
    let site = prop_oneof![Just(0), any::<u64>()];
    prop_oneof![
        (any::<u64>(), any_align(), any_address(), any::<bool>(), site.clone()).prop_map(
            |(size, align, address, is_zeroed, site)| Event::Allocation {
                size,
                align,
                address,
                is_zeroed,
                site
            }
        ),
        any_address().prop_map(|address| Event::Release { address }),
        (any::<u64>(), any_align(), any_address(), any_address(), site.clone()).prop_map(
            |(new_size, align, old_address, address, site)| Event::Reallocation {
                new_size,
                align,
                old_address,
                address,
                site
            }
        ),
        (any::<u64>(), any_align(), site.clone()).prop_map(|(size, align, site)| Event::Refused {
            size,
            align,
            site
        }),
        (any::<u64>(), any_align(), any_address(), site).prop_map(|(new_size, align, old_address, site)| {
            Event::RefusedReallocation { new_size, align, old_address, site }
        }),
    ]
}

proptest! {
    #[test]
    fn events_are_decoded_as_they_were_encoded(events in prop::collection::vec((1..1u64 << 40, any_event()), 0..50)) {
        let mut encoder = Encoder::new(&HEADER);
        let (mut bytes, mut sequence, mut expected) = (Vec::new(), HEADER.sequence, Vec::new());
        for (step, event) in events {
            sequence += step;
            let mut record = [0; MAX_EVENT];
            let len = encoder.event(sequence, &event, &mut record);
            bytes.extend_from_slice(&record[..len]);
            expected.push(Record::Event { sequence, event });
        }
        let mut decoder = Decoder::new(&HEADER);
        for record in expected {
            prop_assert_eq!(decoder.next(&bytes), Ok(Some(record)));
        }
        prop_assert_eq!(decoder.next(&bytes), Ok(None));
        prop_assert_eq!(decoder.offset(), bytes.len());
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut decoder = Decoder::new(&HEADER);
        while let Ok(Some(_)) = decoder.next(&bytes) {}
        prop_assert!(decoder.offset() <= bytes.len());
        let _ = FileHeader::decode(&bytes);
        let _ = ChunkHeader::decode(&bytes);
    }
}

#[test]
fn notes_are_decoded_as_they_were_encoded() {
    let module = Module { bias: 1 << 46, start: 1 << 46, end: (1 << 46) + 4096, path: b"/usr/bin/program" };
    let notes = [
        Note::Time(7_000),
        Note::Time(9_000),
        Note::Thread(78),
        Note::Site { number: 1, caller: 0, address: 0x5555_5555_1234 },
        Note::Site { number: 2, caller: 1, address: 0x5555_5555_1111 },
        Note::Module(module),
        Note::Program(b"program --with arguments"),
        Note::End(1),
        Note::Sample(524_288),
        Note::ThreadEnd(1 << 40),
    ];
    let mut encoder = Encoder::new(&HEADER);
    let (mut bytes, mut len) = ([0; 1000], 0);
    for note in &notes {
        len += encoder.note(note, &mut bytes[len..]).unwrap();
    }
    let mut decoder = Decoder::new(&HEADER);
    for note in notes {
        assert_eq!(decoder.next(&bytes), Ok(Some(Record::Note(note))));
    }
    assert_eq!(decoder.next(&bytes), Ok(None));
}

#[test]
fn a_note_that_has_no_room_is_not_written() {
    let path = [b'x'; 100];
    let note = Note::Program(&path);
    assert_eq!(Encoder::new(&HEADER).note(&note, &mut [0; MAX_EVENT + 99]), None);
    assert!(Encoder::new(&HEADER).note(&note, &mut [0; MAX_EVENT + 100]).is_some());
}

#[test]
fn the_longest_event_has_room() {
    let event = Event::Reallocation {
        new_size: u64::MAX,
        align: 1 << 63,
        old_address: 1 << 56,
        address: 1,
        site: u64::MAX,
    };
    let mut bytes = [0; MAX_EVENT];
    let len = Encoder::new(&HEADER).event(HEADER.sequence - 1, &event, &mut bytes);
    assert!(len < MAX_EVENT, "{len} bytes");
}

#[test]
fn headers_are_decoded_as_they_were_encoded() {
    let file = FileHeader {
        process: 123,
        pointer_bytes: 8,
        is_sampled: true,
        call_sites: CallSites::Unwound,
        began: 1 << 60,
        sample_interval: 512 << 10,
    };
    assert_eq!(FileHeader::decode(&file.encode()), Ok(file));
    assert_eq!(ChunkHeader::decode(&HEADER.encode()), Ok(Some(HEADER)));
    assert_eq!(ChunkHeader::decode(&[0; CHUNK_HEADER]), Ok(None));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let mut bytes = FileHeader {
        process: 1,
        pointer_bytes: 8,
        is_sampled: false,
        call_sites: CallSites::None,
        began: 0,
        sample_interval: 0,
    }
    .encode();
    bytes[8] = 9;
    let error = FileHeader::decode(&bytes).unwrap_err();
    assert_eq!(error.offset, 8);
    assert_eq!(
        std::string::ToString::to_string(&error),
        "the trace has version 9, and 1 is the one that can be read"
    );
    // A release, of which the address is cut off.
    let error = Decoder::new(&HEADER).next(&[0x03, 0x80]).unwrap_err();
    assert_eq!(std::string::ToString::to_string(&error), "a record goes on behind the end of its chunk");
    assert_eq!(error.offset, 2);
}
