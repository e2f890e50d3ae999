//! LZ4's frame format, decoded straight into the output: a batch of independent blocks is never copied twice.
//!
//! Checksums are passed over: the batch has one of its own, and the broker has looked at it.

use lz4_flex::block::{decompress_into, decompress_into_with_dict};

use super::compression::{CompressionError, Output};

const MAGIC: u32 = 0x184D_2204;
const UNCOMPRESSED: u32 = 1 << 31;
/// How far a block may look back into those before it.
const WINDOW: usize = 64 << 10;

fn corrupt(why: &dyn ToString) -> CompressionError {
    CompressionError::corrupt("lz4", why)
}

fn word(input: &mut &[u8]) -> Result<u32, CompressionError> {
    let (head, rest) = input.split_first_chunk::<4>().ok_or_else(|| corrupt(&"cut short"))?;
    *input = rest;
    Ok(u32::from_le_bytes(*head))
}

fn bytes<'a>(input: &mut &'a [u8], count: usize) -> Result<&'a [u8], CompressionError> {
    let (head, rest) = input.split_at_checked(count).ok_or_else(|| corrupt(&"cut short"))?;
    *input = rest;
    Ok(head)
}

pub(super) fn decompress(mut input: &[u8], out: &mut Output) -> Result<usize, CompressionError> {
    let mut used = 0;
    while !input.is_empty() {
        used = frame(&mut input, out, used)?;
    }
    Ok(used)
}

/// One frame behind the `begin` bytes that are there; where the output ends then.
fn frame(input: &mut &[u8], out: &mut Output, begin: usize) -> Result<usize, CompressionError> {
    if word(input)? != MAGIC {
        return Err(corrupt(&"no frame"));
    }
    let [flags, sizes] = *bytes(input, 2)? else { return Err(corrupt(&"cut short")) };
    if flags >> 6 != 1 || flags & 1 != 0 {
        return Err(corrupt(&"a frame of another version, or with a dictionary"));
    }
    let (linked, block_checksums, has_size, checksum) =
        (flags & 0x20 == 0, flags & 0x10 != 0, flags & 0x08 != 0, flags & 0x04 != 0);
    let most = match sizes >> 4 & 7 {
        size @ 4..=7 => 1_usize << (8 + 2 * size),
        _ => return Err(corrupt(&"a block size that there is not")),
    };
    // the content's size and the header's checksum
    bytes(input, if has_size { 9 } else { 1 })?;
    let mut used = begin;
    loop {
        let header = word(input)?;
        if header == 0 {
            break;
        }
        let block = bytes(input, (header & !UNCOMPRESSED) as usize)?;
        if block_checksums {
            word(input)?;
        }
        if header & UNCOMPRESSED != 0 {
            out.reserve(used, block.len())?;
            out.bytes[used..used + block.len()].copy_from_slice(block);
            used += block.len();
            continue;
        }
        out.reserve(used, most.min(expanded(block.len())))?;
        let (before, room) = out.bytes.split_at_mut(used);
        let result = if linked && used > begin {
            let window = &before[begin.max(used.saturating_sub(WINDOW))..];
            decompress_into_with_dict(block, room, window)
        } else {
            decompress_into(block, room)
        };
        used += result.map_err(|error| corrupt(&error))?;
    }
    if checksum {
        word(input)?;
    }
    Ok(used)
}

/// The most that so many bytes of a block can decompress to: a match's length grows by 255 with each byte.
fn expanded(block: usize) -> usize {
    block.saturating_mul(255).saturating_add(64)
}
