//! blosclz, the default inner format of blosc: literals and matches of bytes.
//!
//! An instruction c < 32 is followed by c + 1 literal bytes. Else it is a match: length (c >> 5) + 2, lengthened, when
//! c >> 5 is 7, by bytes up to and with the first that is not 255; then the low byte of the distance − 1, whose high bits
//! are c & 31. A distance of all ones is followed by 16 more bits, big-endian, to be added to 8191. The upper bits of the
//! very first instruction do not count.

const MAX_SHORT_DISTANCE: usize = 8191;

/// Decodes a stream to at most `limit` bytes.
pub(super) fn decode(stream: &[u8], limit: usize) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(limit);
    let mut rest = stream;
    let mut mask = 31;
    while !rest.is_empty() {
        let instruction = usize::from(next(&mut rest)? & mask);
        mask = 255;
        let room = limit - out.len();
        if instruction < 32 {
            let (literals, after) = rest.split_at_checked(instruction + 1).ok_or_else(cut)?;
            if literals.len() > room {
                return Err(too_long(limit));
            }
            out.extend_from_slice(literals);
            rest = after;
            continue;
        }
        let mut length = (instruction >> 5) + 2;
        if instruction >> 5 == 7 {
            loop {
                let more = next(&mut rest)?;
                length += usize::from(more);
                if more != 255 {
                    break;
                }
            }
        }
        let mut distance = ((instruction & 31) << 8) + usize::from(next(&mut rest)?);
        if distance == MAX_SHORT_DISTANCE {
            distance += usize::from(u16::from_be_bytes([next(&mut rest)?, next(&mut rest)?]));
        }
        let begin = out.len().checked_sub(distance + 1).ok_or("a blosclz match lies before its stream")?;
        if length > room {
            return Err(too_long(limit));
        }
        // A match may reach into itself: it repeats what it has just written.
        for at in begin..begin + length {
            out.push(out[at]);
        }
    }
    Ok(out)
}

fn next(rest: &mut &[u8]) -> Result<u8, String> {
    let (first, after) = rest.split_first().ok_or_else(cut)?;
    *rest = after;
    Ok(*first)
}

fn cut() -> String {
    "a blosclz stream is cut".to_owned()
}

fn too_long(limit: usize) -> String {
    format!("a blosclz stream decodes to more than the {limit} bytes of its block")
}
