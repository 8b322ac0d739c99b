// SPDX-License-Identifier: GPL-2.0 OR MIT

use std::fs::File;
use std::time::Duration;

use pcap_file::pcapng::{Block, PcapNgReader};
use rustix::event::{poll, PollFd, PollFlags, Timespec};

use super::*;
use crate::spec::Probability;

fn ends(impairments: &str) -> (Wire, Wire) {
    let (a, b) = link::pair().unwrap();
    let impairments = impairments.parse().unwrap();
    (Wire::new(Box::new(a), impairments), Wire::new(Box::new(b), Impairments::default()))
}

fn frame(i: u32) -> Vec<u8> {
    [&i.to_be_bytes()[..], &vec![i as u8; 56 + i as usize % 1400]].concat()
}

fn number(frame: &[u8]) -> u32 {
    u32::from_be_bytes(*frame.first_chunk().unwrap())
}

fn receive_all(wire: &mut Wire) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| wire.receive().unwrap()).collect()
}

/// Sends n frames, one each millisecond, and gives what arrived.
fn run(impairments: &str, n: u32) -> (Vec<Vec<u8>>, Stats) {
    let (mut a, mut b) = ends(impairments);
    let start = Instant::now();
    let mut got = vec![];
    for i in 0..n {
        let now = start + Duration::from_millis(i.into());
        a.send(now, &frame(i));
        a.advance(now).unwrap();
        got.extend(receive_all(&mut b));
    }
    a.advance(start + Duration::from_secs(3600)).unwrap();
    got.extend(receive_all(&mut b));
    (got, a.stats())
}

#[test]
fn a_good_wire_carries_all_in_order() {
    let (got, stats) = run("", 500);
    assert_eq!(got, (0..500).map(frame).collect::<Vec<_>>());
    assert_eq!(stats, Stats { sent: 500, ..Stats::default() });
}

#[test]
fn both_directions() {
    let (mut a, mut b) = ends("");
    let now = Instant::now();
    a.send(now, &frame(1));
    b.send(now, &frame(2));
    a.advance(now).unwrap();
    b.advance(now).unwrap();
    assert_eq!(a.receive().unwrap(), Some(frame(2)));
    assert_eq!(b.receive().unwrap(), Some(frame(1)));
    assert_eq!(b.receive().unwrap(), None);
}

#[test]
fn losses_are_as_many_as_wanted_and_the_seed_decides_which() {
    let (got, stats) = run("loss=10%,seed=1", 2000);
    assert_eq!(got.len() as u64 + stats.lost, 2000);
    assert!((140..260).contains(&stats.lost), "{stats:?}");
    assert_eq!(run("loss=10%,seed=1", 2000).0, got);
    assert_ne!(run("loss=10%,seed=2", 2000).0, got);
    assert_eq!(run("loss=100%", 10).0.len(), 0);
}

#[test]
fn duplicates_and_corruption() {
    let (got, stats) = run("duplicate=10%,corrupt=10%,seed=3", 1000);
    assert!(stats.duplicated > 50 && stats.corrupted > 50, "{stats:?}");
    assert_eq!(got.len() as u64, 1000 + stats.duplicated);
    let spoiled = got.iter().filter(|f| !(0..1000).any(|i| **f == frame(i))).count() as u64;
    assert_eq!(spoiled, stats.corrupted);
}

#[test]
fn reordering_loses_nothing() {
    let (got, stats) = run("reorder=20%,hold=10ms,seed=5", 1000);
    let mut order: Vec<u32> = got.iter().map(|f| number(f)).collect();
    let inversions = order.windows(2).filter(|w| w[0] > w[1]).count();
    assert!(stats.reordered > 100 && inversions > 50, "{inversions}, {stats:?}");
    order.sort_unstable();
    assert_eq!(order, (0..1000).collect::<Vec<_>>());
}

#[test]
fn delay_and_rate() {
    let (mut a, mut b) = ends("delay=5ms,rate=8mbit,queue=3");
    let start = Instant::now();
    // 976 + 24 bytes are a millisecond at this rate.
    for _ in 0..5 {
        a.send(start, &[1; 976]);
    }
    assert_eq!(a.stats().queue_full, 2);
    for (ms, due) in [(5, 6), (6, 7), (7, 8)] {
        let next = a.advance(start + Duration::from_millis(ms)).unwrap().unwrap();
        assert_eq!((next - start).as_micros(), due * 1000);
        assert_eq!(receive_all(&mut b).len(), usize::from(ms > 5));
    }
    assert_eq!(a.advance(start + Duration::from_millis(8)).unwrap(), None);
    assert_eq!(receive_all(&mut b).len(), 1);
}

#[test]
fn a_slow_peer_is_waited_for() {
    let (mut a, mut b) = ends("");
    let now = Instant::now();
    for i in 0..5000 {
        a.send(now, &frame(i));
    }
    a.advance(now).unwrap();
    assert!(a.wants_write());
    let mut got = vec![];
    while got.len() < 5000 {
        let before = got.len();
        got.extend(receive_all(&mut b));
        assert!(got.len() > before);
        a.advance(now).unwrap();
    }
    assert!(!a.wants_write());
    assert_eq!(got.iter().map(|f| number(f)).collect::<Vec<_>>(), (0..5000).collect::<Vec<_>>());
    assert_eq!(a.stats().sent, 5000);
}

#[test]
fn what_does_not_fit_is_counted() {
    let (mut a, _b) = ends("");
    a.send(Instant::now(), &[]);
    a.send(Instant::now(), &vec![0; MAX_FRAME + 1]);
    assert_eq!(a.stats().undelivered, 2);
    // The peer reads nothing, ever.
    let now = Instant::now();
    for _ in 0..2 * BACKLOG / MAX_FRAME {
        a.send(now, &vec![0; MAX_FRAME]);
    }
    a.advance(now).unwrap();
    assert!(a.stats().undelivered > 2);
}

#[test]
fn processes_meet_at_a_path_and_part() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wire");
    let open = || Wire::new(Endpoint::Unix(path.clone()).open().unwrap(), Impairments::default());
    let send = |w: &mut Wire, i| {
        let now = Instant::now();
        w.send(now, &frame(i));
        w.advance(now).unwrap();
    };

    let mut first = open();
    assert!(!first.carrier());
    send(&mut first, 0);
    assert_eq!(first.stats().undelivered, 1);

    let mut second = open();
    assert!(second.carrier() && !first.carrier());
    assert_eq!(first.receive().unwrap(), None);
    assert!(first.carrier());
    send(&mut first, 1);
    send(&mut second, 2);
    assert_eq!(second.receive().unwrap(), Some(frame(1)));
    assert_eq!(first.receive().unwrap(), Some(frame(2)));

    // Who connected goes, and another comes.
    drop(second);
    assert_eq!(first.receive().unwrap(), None);
    assert!(!first.carrier());
    let mut second = open();
    send(&mut second, 3);
    assert_eq!(first.receive().unwrap(), Some(frame(3)));

    // Who listened goes: the other one listens.
    drop(first);
    assert_eq!(second.receive().unwrap(), None);
    assert!(!second.carrier());
    let mut third = open();
    send(&mut third, 4);
    let mut polled = [PollFd::from_borrowed_fd(second.fd(), PollFlags::IN)];
    poll(&mut polled, Some(&Timespec { tv_sec: 5, tv_nsec: 0 })).unwrap();
    assert_eq!(second.receive().unwrap(), Some(frame(4)));
}

#[test]
fn a_path_that_somebody_left_behind_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wire");
    std::mem::forget(std::os::unix::net::UnixListener::bind(&path).unwrap());
    // A listener of another type: nothing to connect to.
    assert!(link::Unix::new(&path).is_err());
    std::fs::remove_file(&path).unwrap();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    assert!(!link::Unix::new(&path).unwrap().carrier());
}

#[test]
fn a_capture_has_what_was_on_the_wire() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wire.pcapng");
    let (mut a, mut b) = ends("loss=50%,duplicate=20%,seed=9");
    a.set_capture(Capture::create(&path).unwrap());
    let now = Instant::now();
    let mut expected = vec![];
    for i in 0..100 {
        a.send(now, &frame(i));
        a.advance(now).unwrap();
        expected.extend(receive_all(&mut b).into_iter().map(|f| (f, 2)));
        b.send(now, &frame(1000 + i));
        b.advance(now).unwrap();
        a.receive().unwrap();
        expected.push((frame(1000 + i), 1));
    }
    a.flush().unwrap();
    let mut reader = PcapNgReader::new(File::open(path).unwrap()).unwrap();
    let mut got = vec![];
    while let Some(block) = reader.next_block() {
        if let Block::EnhancedPacket(packet) = block.unwrap().into_owned() {
            let flags = packet.options.iter().find_map(|o| match o {
                pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption::Flags(f) => {
                    Some(*f)
                }
                _ => None,
            });
            assert!(packet.timestamp > Duration::from_secs(1_600_000_000));
            got.push((packet.data.into_owned(), flags.unwrap()));
        }
    }
    assert_eq!(got, expected);
}

#[test]
fn options() {
    let i: Impairments =
        "loss=2%,reorder=0.5,hold=3ms,delay=1ms,rate=1gbit,queue=5,seed=7".parse().unwrap();
    assert_eq!(i.loss, Probability::new(0.02).unwrap());
    assert_eq!((i.hold, i.delay), (Duration::from_millis(3), Duration::from_millis(1)));
    assert_eq!((i.rate, i.queue, i.seed), (Some(1_000_000_000), 5, 7));
    assert_eq!("".parse(), Ok(Impairments::default()));
    assert!("los=2%".parse::<Impairments>().is_err());
    assert!("loss".parse::<Impairments>().is_err());

    assert_eq!("unix:/a:b".parse(), Ok(Endpoint::Unix("/a:b".into())));
    assert_eq!("tap:t0".parse(), Ok(Endpoint::Tap("t0".into())));
    assert_eq!("none".parse(), Ok(Endpoint::None));
    for bad in ["", "unix:", "tap:", "udp:1", "nonesuch"] {
        assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
    }
    let mut unplugged = Wire::new(Endpoint::None.open().unwrap(), Impairments::default());
    unplugged.send(Instant::now(), &frame(0));
    assert_eq!(unplugged.receive().unwrap(), None);
    assert!(!unplugged.carrier());
    // Who waits for it sleeps.
    let mut polled = [PollFd::from_borrowed_fd(unplugged.fd(), PollFlags::IN)];
    assert_eq!(poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(0));
}
