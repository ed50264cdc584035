//! A program of threads that send each other what they allocate.

use std::array;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use fastrand::Rng;

use crate::Checksum;

const THREADS: usize = 4;
/// Requests that each thread sends.
const REQUESTS: usize = 40_000;
/// Requests that a thread has under way at a time: this bounds the memory, however the threads are scheduled.
const WINDOW: usize = 256;
/// Bytes of the longest request.
const LONGEST: usize = 600;

/// What goes through the channels.
enum Message {
    /// Asks for an answer.
    Request(Box<Request>),
    /// Answers a request of the receiver's.
    Answer(Vec<u8>),
    /// The sender has all its answers.
    Satisfied,
}

struct Request {
    sender: usize,
    text: Vec<u8>,
    parts: Vec<String>,
}

/// Starts threads, each of which sends requests to the others and answers theirs.
pub(super) fn perform(checksum: &mut Checksum) {
    let channels: [(Sender<Message>, Receiver<Message>); THREADS] = array::from_fn(|_| channel());
    let senders: [Sender<Message>; THREADS] = array::from_fn(|number| channels[number].0.clone());
    let threads = channels.map(|(_, receiver)| receiver);
    let mut number = 0;
    let threads = threads.map(|receiver| {
        let peer = Peer { number, senders: senders.clone(), sum: 0 };
        number += 1;
        thread::spawn(move || peer.work(&receiver))
    });
    for thread in threads {
        checksum.add(thread.join().expect("a peer does not panic"));
    }
}

/// What one of the threads knows.
struct Peer {
    number: usize,
    senders: [Sender<Message>; THREADS],
    /// Sum over all answers. They come in any order, so that nothing but a sum is the same in every run.
    sum: u64,
}

impl Peer {
    /// Sends all requests, then answers the others' until they are satisfied. Returns the sum over the answers.
    fn work(mut self, inbox: &Receiver<Message>) -> u64 {
        let mut random = Rng::with_seed(self.number as u64);
        let (mut sent, mut answered, mut satisfied) = (0, 0, 0);
        while satisfied < THREADS {
            while sent < REQUESTS && sent - answered < WINDOW {
                let request = self.request(&mut random);
                self.send(random.usize(..THREADS), Message::Request(Box::new(request)));
                sent += 1;
            }
            match inbox.recv().expect("every peer holds a sender to every peer") {
                Message::Request(request) => {
                    let sender = request.sender;
                    self.send(sender, Message::Answer(answer(*request)));
                }
                Message::Answer(text) => {
                    self.sum += text.iter().map(|&byte| u64::from(byte)).sum::<u64>();
                    answered += 1;
                    if answered == REQUESTS {
                        (0..THREADS).for_each(|peer| self.send(peer, Message::Satisfied));
                    }
                }
                Message::Satisfied => satisfied += 1,
            }
        }
        self.sum
    }

    fn request(&self, random: &mut Rng) -> Request {
        // Short texts are more frequent than long ones.
        let length = random.usize(..LONGEST).min(random.usize(..LONGEST));
        let text = vec![random.u8(b'a'..=b'z'); length];
        let parts = (0..random.usize(..6)).map(|part| format!("part {part} of {length} bytes")).collect();
        Request { sender: self.number, text, parts }
    }

    /// A peer that has ended needs no more messages: those that are still sent to it are `Satisfied` only.
    fn send(&self, peer: usize, message: Message) {
        let _ = self.senders[peer].send(message);
    }
}

/// The text of the request with its parts behind it.
fn answer(mut request: Request) -> Vec<u8> {
    for part in request.parts {
        request.text.extend_from_slice(part.as_bytes());
    }
    request.text.shrink_to_fit();
    request.text
}
