//! One sound on its way from a file, or from an array, into its queue: read, decoded and converted in pieces of a chunk.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringback_audio::wav::{self, Layout, Mono, Scan};
use ringback_audio::{RateConverter, Resampler};
use ringback_media_api::Sound;

/// Read in one go.
const BLOCK: usize = 16_384;

/// What a sound is made of.
pub enum Source {
    /// A WAV file.
    File(PathBuf),
    /// Mono, at `rate` Hz.
    Samples { samples: Box<[i16]>, rate: u32 },
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File(path) => write!(f, "{}", path.display()),
            Source::Samples { samples, rate } => write!(f, "{} samples at {rate} Hz", samples.len()),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Feed {
    sound: Arc<Sound>,
    input: Input,
    looped: bool,
    /// Since the beginning, or the last time round: a source without samples does not go round for ever.
    produced: bool,
    converter: Option<Converter>,
    /// Decoded, not yet converted; converted, not yet a whole chunk.
    decoded: Vec<i16>,
    ready: Vec<i16>,
}

enum Input {
    File { name: String, file: File, layout: Layout, mono: Mono, left: u64, block: Box<[u8]> },
    Samples { samples: Box<[i16]>, rate: u32, at: usize },
}

#[derive(Debug)]
enum Converter {
    Fixed(Resampler),
    Any(RateConverter),
}

impl Feed {
    /// The error is for the program to read.
    pub(super) fn open(source: Source, looped: bool, sound: Arc<Sound>) -> Result<Feed, String> {
        let input = match source {
            Source::Samples { samples, rate } => Input::Samples { samples, rate, at: 0 },
            Source::File(path) => open(&path)?,
        };
        let (decoded, ready) = (Vec::new(), Vec::new());
        Ok(Feed { sound, input, looped, produced: false, converter: None, decoded, ready })
    }

    /// Fills the queue as far as there is room. False: there is nothing left to do.
    pub(super) fn fill(&mut self) -> bool {
        self.sound.looked();
        if self.sound.is_stopped() || Arc::strong_count(&self.sound) == 1 {
            return false;
        }
        let Some(rate) = self.sound.rate() else { return true };
        let chunk = (rate * Sound::CHUNK_MS / 1000).max(1) as usize;
        while self.sound.has_room() {
            let mut more = true;
            while more && self.ready.len() < chunk {
                more = match self.produce(rate) {
                    Ok(more) => more,
                    Err(error) => {
                        tracing::warn!(target: "ringback.media", source = %self.input.name(), %error, "a sound ends early");
                        self.sound.fail(format!("{}: {error}", self.input.name()));
                        false
                    }
                };
            }
            let count = self.ready.len().min(chunk);
            if count > 0 {
                // There is room: nobody else pushes.
                let _ = self.sound.push(self.ready.drain(..count).collect());
            }
            if !more && self.ready.is_empty() {
                self.sound.finish();
                return false;
            }
        }
        true
    }

    pub(super) fn stop(&self) {
        self.sound.stop();
    }

    /// Appends some more to `ready`; false at the end.
    fn produce(&mut self, rate: u32) -> io::Result<bool> {
        self.decoded.clear();
        if self.input.read(&mut self.decoded)? {
            self.produced |= !self.decoded.is_empty();
            self.convert(rate);
            return Ok(true);
        }
        if self.looped && std::mem::take(&mut self.produced) {
            self.input.rewind()?;
            return Ok(true);
        }
        // The filters still hold the end of it.
        match self.converter.take() {
            Some(Converter::Any(mut converter)) => converter.finish(&mut self.ready),
            Some(Converter::Fixed(mut resampler)) => {
                let tail = resampler.latency() * resampler.from_rate() as usize / resampler.to_rate().max(1) as usize;
                resampler.process(&vec![0; tail], &mut self.ready);
            }
            None => {}
        }
        Ok(false)
    }

    fn convert(&mut self, rate: u32) {
        let from = self.input.rate();
        let converter = self.converter.get_or_insert_with(|| match Resampler::new(from, rate) {
            Ok(resampler) => Converter::Fixed(resampler),
            Err(_) => Converter::Any(RateConverter::new(from, rate)),
        });
        match converter {
            Converter::Fixed(resampler) => resampler.process(&self.decoded, &mut self.ready),
            Converter::Any(converter) => converter.process(&self.decoded, &mut self.ready),
        }
    }
}

impl Input {
    fn rate(&self) -> u32 {
        match self {
            Input::File { layout, .. } => layout.format.sample_rate,
            Input::Samples { rate, .. } => *rate,
        }
    }

    fn name(&self) -> &str {
        match self {
            Input::File { name, .. } => name,
            Input::Samples { .. } => "samples",
        }
    }

    /// Appends some samples; false at the end.
    fn read(&mut self, to: &mut Vec<i16>) -> io::Result<bool> {
        match self {
            Input::Samples { samples, at, .. } => {
                let rest = samples.get(*at..).unwrap_or_default();
                let now = rest.get(..rest.len().min(BLOCK / 2)).unwrap_or_default();
                to.extend_from_slice(now);
                *at += now.len();
                Ok(!now.is_empty())
            }
            Input::File { file, mono, left, block, .. } => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX).min(block.len());
                let count = read_some(file, block.get_mut(..most).unwrap_or_default())?;
                *left -= count as u64;
                mono.push(block.get(..count).unwrap_or_default(), to);
                Ok(count > 0)
            }
        }
    }

    fn rewind(&mut self) -> io::Result<()> {
        match self {
            Input::Samples { at, .. } => *at = 0,
            Input::File { file, layout, mono, left, .. } => {
                file.seek(SeekFrom::Start(layout.offset))?;
                *left = layout.length.unwrap_or(u64::MAX);
                *mono = Mono::new(layout.format);
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn read_some(file: &mut File, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Reads the heads of the chunks, and no more: before the samples there may be pictures.
fn find_samples(file: &mut File, name: &str) -> Result<Layout, String> {
    let cannot = |error: wav::WavError| format!("cannot play {name}: {error}");
    let mut scan = Scan::default();
    let mut head = [0; wav::STEP_MOST];
    loop {
        let at = scan.at();
        let count = read_at(file, &mut head, at).map_err(|error| format!("cannot read {name}: {error}"))?;
        if let Some(layout) = scan.take(head.get(..count).unwrap_or_default()).map_err(cannot)? {
            return Ok(layout);
        }
        if scan.at() == at {
            return Err(cannot(scan.ended()));
        }
    }
}

/// Fills `into` from there on, as far as the file goes.
fn read_at(file: &mut File, into: &mut [u8], at: u64) -> io::Result<usize> {
    file.seek(SeekFrom::Start(at))?;
    let mut filled = 0;
    while let Some(rest) = into.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match read_some(file, rest)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

fn open(path: &Path) -> Result<Input, String> {
    let name = path.display().to_string();
    let failed = |error: io::Error| format!("cannot read {name}: {error}");
    // Not to wait for whoever writes to a pipe.
    let mut file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(format!("cannot read {name}: not a regular file"));
    }
    let layout = find_samples(&mut file, &name)?;
    file.seek(SeekFrom::Start(layout.offset)).map_err(failed)?;
    let left = layout.length.unwrap_or(u64::MAX);
    let block = vec![0; BLOCK].into_boxed_slice();
    Ok(Input::File { name, file, layout, mono: Mono::new(layout.format), left, block })
}

#[cfg(test)]
mod tests;
