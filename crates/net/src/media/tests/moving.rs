//! Legs that move between threads that run.

use super::*;

/// Packets that a phone got, without what is not of a G.711 frame.
fn receive_all(phone: &UdpSocket) -> Vec<Vec<u8>> {
    phone.set_nonblocking(true).expect("set");
    let mut buffer = [0; 2048];
    let mut all = Vec::new();
    while let Ok((count, _)) = phone.recv_from(&mut buffer) {
        if count == 172 {
            all.push(buffer[..count].to_vec());
        }
    }
    phone.set_nonblocking(false).expect("set");
    all
}

fn sequence(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[2], packet[3]])
}

#[test]
fn an_echo_that_moves_thousands_of_times_loses_nothing() {
    const MOVES: u16 = 3000;
    let mut fixture = fixture_with((31_002, 32_767), 3);
    let (phone, peer) = phone();
    let port = fixture.open(Some(peer));
    hear(&phone, |packet| packet.len() == 172);
    fixture.send(Command::Echo { leg: port.leg, on: true });
    fixture.statistics(port.leg);
    let (mut echoed, mut sent) = (Vec::new(), 0_u16);
    for number in 0..MOVES {
        let to = (number % 3 + u16::from(number % 7 == 0)) as u8 % 3;
        fixture.links.send(ToMedia::Command(Command::Move { leg: port.leg, to }));
        // Sent before it has left, while it is on its way, and after.
        phone.send_to(&packet(sent, 0x2a), port.rtp).expect("sent");
        fixture.links.flush(clock::mono());
        sent += 1;
        if number % 2 == 0 {
            // A command that follows at once comes where it is by then.
            assert!(fixture.statistics(port.leg).packets_sent > 0, "it is open");
        }
        echoed.extend(receive_all(&phone));
    }
    let end = Instant::now() + PATIENCE;
    loop {
        let statistics = fixture.statistics(port.leg);
        if statistics.packets_received == u64::from(MOVES) {
            assert_eq!((statistics.packets_lost, statistics.packets_discarded), (0, 0));
            break;
        }
        assert!(Instant::now() < end, "{statistics:?}");
    }
    echoed.extend(receive_all(&phone));
    let ours = echoed.iter().filter(|packet| packet[12..].iter().all(|byte| *byte == 0x2a)).count();
    assert_eq!(ours, usize::from(MOVES), "each came back");
    assert!(echoed.windows(2).all(|pair| pair[0][8..12] == pair[1][8..12]), "one SSRC");
    for pair in echoed.windows(2) {
        assert_eq!(sequence(&pair[1]), sequence(&pair[0]).wrapping_add(1), "one stream");
    }
    fixture.close(port.leg);
}

#[test]
fn two_that_meet_hear_each_other_and_all_come_back_to_the_pool() {
    let mut fixture = fixture_with((31_002, 32_767), 2);
    for round in 0..50 {
        let ((phone_a, peer_a), (phone_b, peer_b)) = (phone(), phone());
        let a = fixture.open_on(0, Some(peer_a));
        let b = fixture.open_on(1, Some(peer_b));
        // None of this waits for what was done before.
        fixture.links.send(ToMedia::Command(Command::Move { leg: b.leg, to: 0 }));
        fixture.send(Command::Bridge { a: a.leg, b: b.leg });
        let mut number = 0;
        let end = Instant::now() + PATIENCE;
        let mut heard = |from: &UdpSocket, by: SocketAddr, at: &UdpSocket, fill: u8| {
            while !receive_all(at).iter().any(|packet| packet[12..].iter().all(|byte| *byte == fill)) {
                from.send_to(&packet(number, fill), by).expect("sent");
                number += 1;
                std::thread::sleep(Duration::from_millis(1));
                fixture.links.flush(clock::mono());
                while let Some(news) = fixture.events.pop() {
                    if let FromMedia::Departed(leg) = news {
                        fixture.links.departed(leg);
                    }
                }
                assert!(Instant::now() < end, "round {round}: not heard");
            }
        };
        heard(&phone_a, a.rtp, &phone_b, 0x2a);
        heard(&phone_b, b.rtp, &phone_a, 0x15);
        // And one is closed while it is on its way back.
        fixture.links.send(ToMedia::Command(Command::Move { leg: b.leg, to: 1 }));
        assert!(fixture.close(b.leg).packets_received > 0, "with what it has counted");
        fixture.close(a.leg);
        assert!(fixture.links.is_settled());
        fixture.pool.lock().rest_is_over();
    }
}

#[test]
fn threads_end_with_legs_on_their_way() {
    let mut fixture = fixture_with((31_002, 32_767), 2);
    let legs: Vec<LegId> = (0..30).map(|number| fixture.open_on(number % 2, None).leg).collect();
    for (number, leg) in legs.iter().enumerate() {
        fixture.links.send(ToMedia::Command(Command::Move { leg: *leg, to: 1 - (number % 2) as u8 }));
        fixture.links.send(ToMedia::Command(Command::Close { leg: *leg }));
    }
    let mut closed: Vec<LegId> = (0..30)
        .map(|_| match fixture.news() {
            FromMedia::Closed(event, pair) => {
                fixture.pool.lock().take_back(clock::mono(), event.leg(), pair);
                event.leg()
            }
            other => panic!("{other:?}"),
        })
        .collect();
    closed.sort_unstable();
    let mut opened = legs;
    opened.sort_unstable();
    assert_eq!(closed, opened);
    assert!(fixture.links.is_settled());
    let again: Vec<LegId> = (0..10).map(|number| fixture.open_on(number % 2, None).leg).collect();
    for leg in again {
        fixture.links.send(ToMedia::Command(Command::Move { leg, to: 1 - leg.thread() }));
    }
}
