use super::*;

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("ringback-{}-{name}", std::process::id()))
}

fn tape(stereo: bool) -> Arc<Tape> {
    Arc::new(Tape::new(stereo, || {}))
}

fn at(seconds: u64) -> Mono {
    Mono::ZERO + Duration::from_secs(seconds)
}

/// What a player would find: layout and samples, by the header's own word.
fn read(path: &Path) -> (wav::Layout, Vec<i16>) {
    let bytes = std::fs::read(path).expect("a file");
    let layout = wav::parse(&bytes).expect("a WAV file").expect("a header");
    let data = &bytes[layout.offset as usize..];
    let length = layout.length.map_or(data.len(), |length| length as usize);
    (layout, data[..length].chunks(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect())
}

#[test]
fn a_recording_is_valid_at_any_time_and_complete_at_its_end() {
    let path = path("reel.wav");
    let tape = tape(true);
    let mut reel = Reel::open(&path, Arc::clone(&tape)).expect("a file");
    assert_eq!(reel.write(at(1), false), Left::More);
    tape.begin(16_000);
    for second in 1..4 {
        for _ in 0..10 {
            tape.push(vec![second as i16; 3200].into());
        }
        assert_eq!(reel.write(at(second), false), Left::More);
    }
    // As a kill would leave it: the header of a second before.
    let (layout, samples) = read(&path);
    assert_eq!((layout.format.channels, layout.format.sample_rate), (2, 16_000));
    assert!(samples.len() >= 32_000 * 2);
    tape.end();
    assert_eq!(reel.write(at(4), false), Left::Nothing);
    let (_, samples) = read(&path);
    assert_eq!(samples.len(), 96_000);
    assert_eq!((samples[0], samples[95_999]), (1, 3));
    assert_eq!(tape.written_seconds(), 3.0);
    assert!(tape.is_complete() && tape.failure().is_none());
    std::fs::remove_file(path).expect("removed");
}

#[test]
fn what_was_lost_is_silence_of_its_length() {
    let path = path("lost.wav");
    let tape = tape(false);
    let mut reel = Reel::open(&path, Arc::clone(&tape)).expect("a file");
    tape.begin(8000);
    for _ in 0..70 {
        tape.push(vec![5; 800].into());
    }
    assert_eq!(reel.write(at(1), false), Left::More);
    tape.push(vec![6; 800].into());
    tape.end();
    assert_eq!(reel.write(at(2), false), Left::Nothing);
    let (_, samples) = read(&path);
    assert_eq!(samples.len(), 71 * 800);
    assert_eq!(samples.iter().filter(|sample| **sample == 0).count(), 20 * 800);
    assert_eq!(samples.last(), Some(&6));
    std::fs::remove_file(path).expect("removed");
}

#[test]
fn what_never_begins_leaves_the_disk_as_it_was() {
    let path = path("never.wav");
    let never = tape(false);
    let mut reel = Reel::open(&path, Arc::clone(&never)).expect("a file");
    assert!(path.exists());
    never.stop();
    reel.look();
    assert_eq!(reel.write(at(1), false), Left::Nothing);
    assert!(!path.exists());
    std::fs::write(&path, b"precious").expect("a file");
    let never = tape(false);
    let mut reel = Reel::open(&path, Arc::clone(&never)).expect("a file");
    never.stop();
    reel.look();
    assert_eq!(reel.write(at(1), false), Left::Nothing);
    assert_eq!(std::fs::read(&path).expect("still there"), b"precious");
    std::fs::remove_file(path).expect("removed");
}

#[test]
fn what_cannot_be_written_is_named() {
    for (path, why) in [
        (PathBuf::from("/nonexistent/x.wav"), "No such file"),
        (PathBuf::from("/dev/full"), "not a regular file"),
        (std::env::temp_dir(), "directory"),
    ] {
        let error = Reel::open(&path, tape(false)).expect_err("no such recording");
        assert!(error.contains(why) && error.contains(&path.display().to_string()), "{error}");
    }
}

#[test]
fn who_waits_for_a_recording_that_never_began_has_an_empty_one() {
    let path = path("nothing.wav");
    for waits in [true, false] {
        for before in [None, Some("what was recorded before")] {
            let _ = std::fs::remove_file(&path);
            if let Some(before) = before {
                std::fs::write(&path, before).expect("written");
            }
            let tape = tape(true);
            let mut reel = Reel::open(&path, Arc::clone(&tape)).expect("a file");
            if waits {
                reel.waiting.push(Token(1));
            }
            tape.stop();
            reel.look();
            assert_eq!(reel.write(at(1), false), Left::Nothing);
            match waits {
                true => assert_eq!((read(&path).0.format.channels, read(&path).1.len()), (2, 0)),
                false => assert_eq!(std::fs::read_to_string(&path).ok().as_deref(), before),
            }
            assert!(tape.is_complete());
        }
    }
    let _ = std::fs::remove_file(path);
}

/// The program stops it, and waits, in the middle of a round: after it was looked who waits.
#[test]
fn who_stops_a_recording_that_has_not_begun_while_it_is_looked_after_is_not_overlooked() {
    let path = path("overtaken.wav");
    std::fs::write(&path, "what was recorded before").expect("written");
    let tape = tape(false);
    let mut reel = Reel::open(&path, Arc::clone(&tape)).expect("a file");
    reel.look();
    tape.stop();
    assert_eq!(reel.write(at(1), false), Left::More);
    assert!(reel.is_overtaken(), "it is looked at again soon");
    reel.look();
    reel.waiting.push(Token(1));
    assert_eq!(reel.write(at(1), false), Left::Nothing);
    assert_eq!(read(&path).1.len(), 0);
    std::fs::remove_file(path).expect("removed");
}
