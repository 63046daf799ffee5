//! Where in a file the samples stand: chunk by chunk, so that what stands between them need not be read.

use super::{Encoding, Format, Layout, WavError};

/// Bytes that one step looks at: a chunk's head and the longest format that there is.
pub const STEP_MOST: usize = 48;
/// Chunks before the samples.
const CHUNKS_MOST: u32 = 1_000;
const RIFF: u64 = 12;
const CHUNK: u64 = 8;

/// Goes through the head of a file: [`Scan::take`] what stands [`at`](Scan::at), until that is the samples.
#[derive(Debug, Default)]
pub struct Scan {
    at: u64,
    /// Where the file ends by its own word.
    end: Option<u64>,
    chunks: u32,
    format: Option<Format>,
}

impl Scan {
    /// Where the next step looks.
    pub const fn at(&self) -> u64 {
        self.at
    }

    /// What stands there, [`STEP_MOST`] bytes where the file has as many. It does not go on where they are too few.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Option<Layout>, WavError> {
        if self.at == 0 {
            self.begin(bytes)?;
            return Ok(None);
        }
        let Some((&[a, b, c, d, l0, l1, l2, l3], content)) = bytes.split_first_chunk::<8>() else { return Ok(None) };
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        let offset = self.at + CHUNK;
        match &[a, b, c, d] {
            b"data" => {
                let format = self.format.ok_or(WavError::Incomplete)?;
                return Ok(Some(Layout { format, offset, length: self.data_length(length, offset) }));
            }
            b"fmt " => {
                let whole = (length as usize).min(STEP_MOST - CHUNK as usize);
                let Some(content) = content.get(..whole) else { return Ok(None) };
                self.format = Some(read_format(content)?);
            }
            _ => {}
        }
        self.chunks += 1;
        if self.chunks > CHUNKS_MOST {
            return Err(WavError::Unsupported(format!("more than {CHUNKS_MOST} chunks before the samples")));
        }
        // Chunks are padded to an even length.
        self.at = offset + u64::from(length) + u64::from(length & 1);
        Ok(None)
    }

    /// What it means that the file ends where the next step would look.
    pub const fn ended(&self) -> WavError {
        if self.at == 0 { WavError::NotWav } else { WavError::Incomplete }
    }

    fn begin(&mut self, bytes: &[u8]) -> Result<(), WavError> {
        let Some((&[r, i, f, f2, l0, l1, l2, l3, form @ ..], _)) = bytes.split_first_chunk::<{ RIFF as usize }>()
        else {
            return Ok(());
        };
        if [r, i, f, f2] != *b"RIFF" || form != *b"WAVE" {
            return Err(WavError::NotWav);
        }
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        self.end = (length != 0 && length != u32::MAX).then_some(u64::from(length) + 8);
        self.at = RIFF;
        Ok(())
    }

    /// `None`: nobody filled it in, because the file was written to a pipe, or cut off.
    fn data_length(&self, length: u32, offset: u64) -> Option<u64> {
        match length {
            u32::MAX => None,
            // A file whose end is known to be behind this chunk was finished: it holds no samples, and what follows is none.
            0 if self.end.is_none_or(|end| end <= offset) => None,
            length => Some(u64::from(length)),
        }
    }
}

fn read_format(content: &[u8]) -> Result<Format, WavError> {
    let word = |at: usize| match content.get(at..at + 2) {
        Some(&[low, high]) => Ok(u16::from_le_bytes([low, high])),
        _ => Err(WavError::Incomplete),
    };
    let mut tag = word(0)?;
    if tag == 0xfffe {
        // WAVE_FORMAT_EXTENSIBLE: the tag is the beginning of the sub-format's GUID. `bits` are those of the containers; of which the
        // valid ones are the upper.
        tag = word(24)?;
    }
    let bits = word(14)?;
    let encoding = match (tag, bits) {
        (1, 8) => Encoding::Unsigned8,
        (1, 16) => Encoding::Signed16,
        (1, 24) => Encoding::Signed24,
        (1, 32) => Encoding::Signed32,
        (3, 32) => Encoding::Float32,
        (3, 64) => Encoding::Float64,
        (6, 8) => Encoding::ALaw,
        (7, 8) => Encoding::MuLaw,
        _ => return Err(WavError::Unsupported(format!("WAV encoding {tag} of {bits} bits is not supported"))),
    };
    let channels = word(2)?;
    if !(1..=2).contains(&channels) {
        return Err(WavError::Unsupported(format!("{channels} channels: only mono and stereo are supported")));
    }
    let sample_rate = u32::from(word(4)?) | u32::from(word(6)?) << 16;
    if !(8_000..=48_000).contains(&sample_rate) {
        return Err(WavError::Unsupported(format!("{sample_rate} Hz: only 8000 to 48000 Hz are supported")));
    }
    let format = Format { encoding, channels, sample_rate };
    // Longer containers than the samples need: writers differ in whether the upper or the lower bits are the sample's.
    let block = word(12)?;
    if tag == 1 && usize::from(block) > format.frame_bytes() {
        let container = f64::from(block) / f64::from(channels);
        return Err(WavError::Unsupported(format!(
            "samples of {bits} bits in {container} bytes each are not supported"
        )));
    }
    Ok(format)
}
