//! What a batch's records were compressed with, and the way back. In: the bytes of a batch behind its header. Out: its
//! records in a buffer that is used again and again.
//!
//! A buffer only ever grows, so that it is zeroed once; how much of it counts is returned. No output beyond [`MAX_BATCH`].

use std::io::Read;

use flate2::bufread::MultiGzDecoder;
use zstd::stream::raw::{Decoder, Operation};

use super::lz4;

/// Bytes that a batch may decompress to. The broker's limit for one is a megabyte, compressed.
pub(super) const MAX_BATCH: usize = 64 << 20;
/// A zstd frame may ask for this much memory to look back in: 2^26 bytes.
const ZSTD_WINDOW: u32 = 26;
/// How a buffer begins to grow.
const STEP: usize = 64 << 10;

const XERIAL: &[u8] = b"\x82SNAPPY\0";

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CompressionError {
    #[error("decompresses to more than {MAX_BATCH} bytes")]
    TooLarge,
    #[error("compressed with codec {0}, which is none we know")]
    UnknownCodec(u8),
    #[error("decompress {codec}: {why}")]
    Corrupt { codec: &'static str, why: String },
}

impl CompressionError {
    pub(super) fn corrupt(codec: &'static str, why: &dyn ToString) -> Self {
        Self::Corrupt { codec, why: why.to_string() }
    }
}

/// A buffer that grows by what is needed.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) bytes: Vec<u8>,
}

impl Output {
    /// Makes room for `more` bytes behind the first `used`.
    pub(super) fn reserve(&mut self, used: usize, more: usize) -> Result<(), CompressionError> {
        let needed = used.checked_add(more).filter(|n| *n <= MAX_BATCH).ok_or(CompressionError::TooLarge)?;
        if needed > self.bytes.len() {
            let grown = needed.max((2 * self.bytes.len()).min(MAX_BATCH));
            // what is behind `used` need not be copied
            self.bytes.truncate(used);
            self.bytes.reserve_exact(grown - used);
            self.bytes.resize(grown, 0);
        }
        Ok(())
    }
}

/// The codecs' own state, kept from batch to batch.
#[derive(Default)]
pub(super) struct Decompressor {
    snappy: snap::raw::Decoder,
    zstd: Option<Decoder<'static>>,
}

impl std::fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decompressor").finish_non_exhaustive()
    }
}

impl Decompressor {
    /// Decompresses to the beginning of `out`; how many bytes that are.
    pub(super) fn decompress(
        &mut self,
        codec: u8,
        input: &[u8],
        out: &mut Output,
    ) -> Result<usize, CompressionError> {
        match codec {
            0 => {
                out.reserve(0, input.len())?;
                out.bytes[..input.len()].copy_from_slice(input);
                Ok(input.len())
            }
            1 => gzip(input, out),
            2 => self.snappy(input, out),
            3 => lz4::decompress(input, out),
            4 => self.zstd(input, out),
            other => Err(CompressionError::UnknownCodec(other)),
        }
    }

    /// Raw, or in the blocks that the Java client writes.
    fn snappy(&mut self, input: &[u8], out: &mut Output) -> Result<usize, CompressionError> {
        if !input.starts_with(XERIAL) {
            return self.snappy_block(input, out, 0);
        }
        let mut rest = input.get(16..).unwrap_or_default();
        let mut used = 0;
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let block = tail.get(..u32::from_be_bytes(*length) as usize);
            let block = block.ok_or_else(|| CompressionError::corrupt("snappy", &"a block is cut short"))?;
            used += self.snappy_block(block, out, used)?;
            rest = &tail[block.len()..];
        }
        if rest.is_empty() { Ok(used) } else { Err(CompressionError::corrupt("snappy", &"half a length")) }
    }

    fn snappy_block(
        &mut self,
        input: &[u8],
        out: &mut Output,
        used: usize,
    ) -> Result<usize, CompressionError> {
        let corrupt = |error| CompressionError::corrupt("snappy", &error);
        out.reserve(used, snap::raw::decompress_len(input).map_err(corrupt)?)?;
        self.snappy.decompress(input, &mut out.bytes[used..]).map_err(corrupt)
    }

    fn zstd(&mut self, mut input: &[u8], out: &mut Output) -> Result<usize, CompressionError> {
        let corrupt = |error| CompressionError::corrupt("zstd", &error);
        let decoder = match &mut self.zstd {
            Some(decoder) => decoder,
            none => {
                let mut decoder = Decoder::new().map_err(corrupt)?;
                decoder
                    .set_parameter(zstd::zstd_safe::DParameter::WindowLogMax(ZSTD_WINDOW))
                    .map_err(corrupt)?;
                none.insert(decoder)
            }
        };
        // whatever a batch before this one ended with
        decoder.reinit().map_err(corrupt)?;
        let mut used = 0;
        loop {
            out.reserve(used, STEP.min(MAX_BATCH - used).max(1))?;
            let status = decoder.run_on_buffers(input, &mut out.bytes[used..]).map_err(corrupt)?;
            input = &input[status.bytes_read..];
            used += status.bytes_written;
            if status.remaining == 0 && input.is_empty() {
                return Ok(used);
            }
            if status.bytes_read == 0 && status.bytes_written == 0 {
                return Err(CompressionError::corrupt("zstd", &"cut short"));
            }
        }
    }
}

fn gzip(input: &[u8], out: &mut Output) -> Result<usize, CompressionError> {
    let mut decoder = MultiGzDecoder::new(input);
    let mut used = 0;
    loop {
        out.reserve(used, STEP.min(MAX_BATCH - used).max(1))?;
        match decoder.read(&mut out.bytes[used..]) {
            Ok(0) => return Ok(used),
            Ok(count) => used += count,
            Err(error) => return Err(CompressionError::corrupt("gzip", &error)),
        }
    }
}
