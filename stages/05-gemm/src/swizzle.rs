//! Where TMA and wgmma expect a byte of an operand's tile in shared memory.
//!
//! A tile is a stack of rows of `span` bytes. Eight threads of `ldmatrix` or `stmatrix` touch the same 16-byte chunk of eight rows, and 16
//! bytes lie in the same four banks in every line of 128. Unswizzled, the eight would take turns. Swizzled, chunk `c` of a row moves
//! to chunk `c XOR row`, so that a column of chunks meets every bank once and a row still holds the same bytes, in another order.
//!
//! Invariant: the function is its own inverse and moves whole chunks within their line. (PTX ISA, "Shared memory matrix layout";
//! CUTLASS calls the three cases `Swizzle<3,4,3>`, `<2,4,3>` and `<1,4,3>`.)

/// Bytes that shared memory delivers in a clock: 32 banks of 4.
pub const LINE: usize = 128;
/// Bytes that stay together.
pub const CHUNK: usize = 16;

/// The byte of shared memory that holds byte `offset` of a tile with rows of `span` bytes: 32, 64 or 128.
///
/// The tile begins at a multiple of 8 lines. The chunk's number within its row is combined, by exclusive or, with the number of the
/// *line* of 128 bytes that it lies in, as far as a row has chunks: a row of 64 bytes has four, so two rows, one line, are
/// turned alike.
pub fn swizzle(offset: usize, span: usize) -> usize {
    // ANCHOR: solve-swizzle
    let chunks = span / CHUNK;
    let line = offset / LINE;
    offset ^ ((line % chunks) * CHUNK)
    // ANCHOR_END: solve-swizzle
}
