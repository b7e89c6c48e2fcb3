//! Undoing blosc's shuffles: a block of n items of s bytes is stored as s planes of n bytes, or as 8·s planes of n bits.

/// Puts the bytes of each item together again; what does not fill an item is as it was.
pub(super) fn undo_bytes(block: &[u8], item_bytes: usize, out: &mut Vec<u8>) {
    let items = block.len() / item_bytes;
    for item in 0..items {
        out.extend((0..item_bytes).map(|byte| block[byte * items + item]));
    }
    out.extend_from_slice(&block[items * item_bytes..]);
}

/// Puts the bits of each item together again. Blocks whose items are not a multiple of eight were never shuffled.
pub(super) fn undo_bits(block: &[u8], item_bytes: usize, out: &mut Vec<u8>) {
    let items = block.len() / item_bytes;
    if !items.is_multiple_of(8) {
        out.extend_from_slice(block);
        return;
    }
    let plane = items / 8;
    let first = out.len();
    out.resize(first + items * item_bytes, 0);
    let target = &mut out[first..];
    for byte in 0..item_bytes {
        for group in 0..plane {
            // Row r holds bit r of this byte of eight items: an 8×8 transpose of bits.
            let rows: [u8; 8] = std::array::from_fn(|bit| block[(byte * 8 + bit) * plane + group]);
            let columns = transpose(u64::from_le_bytes(rows)).to_le_bytes();
            for (item, column) in columns.into_iter().enumerate() {
                target[(group * 8 + item) * item_bytes + byte] = column;
            }
        }
    }
    out.extend_from_slice(&block[items * item_bytes..]);
}

/// Transpose of an 8×8 matrix of bits, row r in byte r, column c in bit c, by exchanging ever larger squares.
fn transpose(mut matrix: u64) -> u64 {
    for (mask, shift) in
        [(0x00aa_00aa_00aa_00aa, 7), (0x0000_cccc_0000_cccc, 14), (0x0000_0000_f0f0_f0f0, 28)]
    {
        let exchange = (matrix ^ (matrix >> shift)) & mask;
        matrix ^= exchange ^ (exchange << shift);
    }
    matrix
}

#[cfg(test)]
mod tests {
    use super::transpose;

    #[test]
    fn a_bit_matrix_is_transposed() {
        for row in 0..8 {
            for column in 0..8 {
                assert_eq!(transpose(1 << (8 * row + column)), 1 << (8 * column + row));
            }
        }
    }
}
