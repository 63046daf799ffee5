use super::*;

fn sound() -> Arc<Sound> {
    Arc::new(Sound::new(|| {}))
}

/// All that comes of a source at `rate`, and the most chunks that were held.
fn all(source: Source, looped: bool, rate: u32, most: usize) -> Vec<i16> {
    let sound = sound();
    let mut feed = Feed::open(source, looped, Arc::clone(&sound)).expect("a source");
    assert!(feed.fill(), "waits for the rate");
    sound.begin(rate);
    let mut samples = Vec::new();
    while samples.len() < most {
        let more = feed.fill();
        while let Some(chunk) = sound.take() {
            samples.extend(chunk);
        }
        if !more {
            break;
        }
    }
    samples
}

fn temporary(name: &str, bytes: &[u8]) -> PathBuf {
    let path = std::env::temp_dir().join(format!("ringback-{}-{name}", std::process::id()));
    std::fs::write(&path, bytes).expect("a file");
    path
}

#[test]
fn samples_come_as_they_are_and_the_queue_stays_bounded() {
    let samples: Vec<i16> = (0..100_000).map(|i| (i % 3000) as i16).collect();
    let source = || Source::Samples { samples: samples.clone().into(), rate: 8000 };
    assert_eq!(all(source(), false, 8000, usize::MAX), samples);
    let twice = all(source(), true, 8000, 200_000);
    assert_eq!(twice[..100_000], samples);
    assert_eq!(twice[100_000..200_000], samples);
    let sound = sound();
    let mut feed = Feed::open(source(), false, Arc::clone(&sound)).expect("a source");
    sound.begin(8000);
    assert!(feed.fill() && !sound.has_room());
    let held: usize = std::iter::from_fn(|| sound.take()).map(|chunk| chunk.len()).sum();
    assert_eq!(held, 8000, "a second");
    sound.stop();
    assert!(!feed.fill());
}

#[test]
fn nothing_goes_round_for_ever() {
    assert!(all(Source::Samples { samples: Box::default(), rate: 8000 }, true, 8000, usize::MAX).is_empty());
    let path = temporary("empty.wav", &wav::header(1, 8000, 0));
    assert!(all(Source::File(path.clone()), true, 8000, usize::MAX).is_empty());
    std::fs::remove_file(path).expect("removed");
}

#[test]
fn a_file_is_converted_and_may_be_cut_off() {
    let mut bytes = wav::header(2, 44_100, 4 * 44_100).to_vec();
    bytes.extend((0..44_100_u32).flat_map(|i| {
        let sample = ((f64::from(i) * 0.1).sin() * 8000.0) as i16;
        [sample.to_le_bytes(), sample.to_le_bytes()].concat()
    }));
    let path = temporary("stereo.wav", &bytes);
    let heard = all(Source::File(path.clone()), false, 8000, usize::MAX);
    assert_eq!(heard.len(), 8000);
    assert!(heard.iter().any(|sample| *sample > 7000));
    std::fs::write(&path, &bytes[..bytes.len() / 2 - 1]).expect("cut");
    assert!((3990..4010).contains(&all(Source::File(path.clone()), false, 8000, usize::MAX).len()));
    std::fs::remove_file(path).expect("removed");
}

#[test]
fn a_picture_before_the_samples_is_passed_over() {
    let header = wav::header(1, 8000, 4);
    let (format, data) = header.split_at(36);
    let picture = [b"id3 ".as_slice(), &2_000_000_u32.to_le_bytes(), &[7; 2_000_000]].concat();
    let path = temporary("picture.wav", &[format, &picture, data, &[1, 0, 2, 0], b"LIST"].concat());
    assert_eq!(all(Source::File(path.clone()), false, 8000, usize::MAX), [1, 2]);
    std::fs::remove_file(path).expect("removed");
}

#[test]
fn what_cannot_be_opened_is_named() {
    let text = temporary("text.wav", b"hello");
    let cut = temporary("cut.wav", &wav::header(1, 8000, 4)[..40]);
    for (path, why) in [
        (PathBuf::from("/nonexistent/x.wav"), "No such file"),
        (std::env::temp_dir(), "not a regular file"),
        (text.clone(), "not a WAV file"),
        (cut.clone(), "without format or samples"),
    ] {
        let error = Feed::open(Source::File(path.clone()), false, sound()).expect_err("no such sound");
        assert!(error.contains(why) && error.contains(&path.display().to_string()), "{error}");
    }
    std::fs::remove_file(text).expect("removed");
    std::fs::remove_file(cut).expect("removed");
}
