//! One recording on its way from its queue into a WAV file.
//!
//! The header says once a second how much there is, so that what a kill leaves behind can be played. A file that was there before is
//! touched only once the recording has really begun; one that was made for a recording that never began is taken away again. Whoever
//! waits for the file to be complete has one in any case, be it without a sample.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ringback_audio::wav;
use ringback_media_api::{Tape, Token};
use ringback_time::Mono;

/// The header is never older.
const HEADER_EVERY: Duration = Duration::from_secs(1);
/// Hz, in the header of a file without a sample.
const RATE_OF_NOTHING: u32 = 8000;
/// Written in one go.
const BLOCK: usize = 65_536;

/// See the module.
#[derive(Debug)]
pub(super) struct Reel {
    pub(super) tape: Arc<Tape>,
    path: PathBuf,
    file: File,
    /// Device and inode: two recordings never share a file.
    pub(super) identity: (u64, u64),
    /// It was not there before.
    created: bool,
    begun: bool,
    /// Its tape was stopped when the round began, before it was looked who waits for it.
    stopped: bool,
    /// Bytes of samples in the file.
    data: u64,
    header_at: Mono,
    /// Bytes on their way.
    bytes: Vec<u8>,
    /// Who waits for the file to be complete.
    pub(super) waiting: Vec<Token>,
}

/// What is left to do after a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    More,
    /// The file is closed, or never came about.
    Nothing,
}

impl Reel {
    /// The error is for the program to read.
    pub(super) fn open(path: &Path, tape: Arc<Tape>) -> Result<Reel, String> {
        let name = path.display();
        let failed = |error: io::Error| format!("cannot record to {name}: {error}");
        let mut options = OpenOptions::new();
        // Not to wait for whoever reads a pipe.
        options.write(true).custom_flags(libc::O_NONBLOCK);
        let (file, created) = match options.clone().create_new(true).open(path) {
            Ok(file) => (file, true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => (options.open(path).map_err(failed)?, false),
            Err(error) => return Err(failed(error)),
        };
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(format!("cannot record to {name}: not a regular file"));
        }
        let reel = Reel {
            tape,
            path: path.to_owned(),
            file,
            identity: (metadata.dev(), metadata.ino()),
            created,
            begun: false,
            stopped: false,
            data: 0,
            header_at: Mono::ZERO,
            bytes: Vec::new(),
            waiting: Vec::new(),
        };
        // A disk that is full already is found out now.
        if created && let Err(error) = reel.file.write_all_at(&wav::header(reel.tape.channels(), RATE_OF_NOTHING, 0), 0)
        {
            let _ = std::fs::remove_file(path);
            return Err(failed(error));
        }
        Ok(reel)
    }

    /// To be called before it is looked who waits for the file: whoever stops a tape says first that they do.
    pub(super) fn look(&mut self) {
        self.stopped = self.tape.is_stopped();
    }

    /// Whether it was stopped since, so that it needs another look soon.
    pub(super) fn is_overtaken(&self) -> bool {
        !self.begun && !self.stopped && self.tape.is_stopped()
    }

    /// Writes what has come. `last`: nothing more will.
    pub(super) fn write(&mut self, now: Mono, last: bool) -> Left {
        self.tape.looked();
        let result = self.work(now, last);
        let ended = match result {
            Ok(Left::More) => return Left::More,
            Ok(Left::Nothing) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            tracing::warn!(target: "ringback.media", path = %self.path.display(), %error, "a recording ends early");
            self.tape.fail(format!("recording to {} failed: {error}", self.path.display()));
            // As far as it came it can be played; the write that failed may have come half-way.
            if self.begun
                && let Ok(metadata) = self.file.metadata()
            {
                let data = metadata.len().saturating_sub(wav::HEADER_LEN as u64);
                self.data = data / self.frame_bytes() * self.frame_bytes();
            }
            let _ = self.write_header();
        }
        self.tape.complete();
        Left::Nothing
    }

    fn work(&mut self, now: Mono, last: bool) -> io::Result<Left> {
        let Some(rate) = self.tape.rate() else {
            if last || self.stopped || Arc::strong_count(&self.tape) == 1 {
                if !self.waiting.is_empty() {
                    self.file.set_len(0)?;
                    self.file.write_all_at(&wav::header(self.tape.channels(), RATE_OF_NOTHING, 0), 0)?;
                } else if self.created {
                    let _ = std::fs::remove_file(&self.path);
                }
                return Ok(Left::Nothing);
            }
            return Ok(Left::More);
        };
        if !self.begun {
            self.begun = true;
            self.file.set_len(0)?;
            self.file.write_all(&wav::header(self.tape.channels(), rate, 0))?;
            self.header_at = now;
        }
        // Looked at before the queue: nothing comes after the end.
        let ended = last || self.tape.is_ended();
        while let Some(block) = self.tape.take() {
            self.silence(block.lost)?;
            self.bytes.extend(block.samples.iter().flat_map(|sample| sample.to_le_bytes()));
            if self.bytes.len() >= BLOCK {
                self.flush()?;
            }
        }
        if ended {
            self.silence(self.tape.take_lost())?;
        }
        self.flush()?;
        if ended || now.since(self.header_at) >= HEADER_EVERY {
            self.header_at = now;
            self.write_header()?;
        }
        Ok(if ended { Left::Nothing } else { Left::More })
    }

    /// In place of sample frames that were lost.
    fn silence(&mut self, frames: u64) -> io::Result<()> {
        let mut left = frames * self.frame_bytes();
        while left > 0 {
            let now = left.min(BLOCK as u64);
            self.bytes.resize(self.bytes.len() + now as usize, 0);
            left -= now;
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let bytes = std::mem::take(&mut self.bytes);
        // As one write at its place, so that a part that fails is written over by nothing.
        self.file.write_all_at(&bytes, wav::HEADER_LEN as u64 + self.data)?;
        self.data += bytes.len() as u64;
        self.tape.wrote(bytes.len() as u64 / self.frame_bytes());
        self.bytes = bytes;
        self.bytes.clear();
        Ok(())
    }

    fn write_header(&self) -> io::Result<()> {
        let Some(rate) = self.tape.rate() else { return Ok(()) };
        self.file.write_all_at(&wav::header(self.tape.channels(), rate, self.data), 0)
    }

    fn frame_bytes(&self) -> u64 {
        u64::from(self.tape.channels()) * 2
    }
}

#[cfg(test)]
mod tests;
