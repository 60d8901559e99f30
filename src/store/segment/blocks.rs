//! A file in blocks of 2 MiB: the size of page that the processor can address a mapped file with.
//!
//! What is written in such pieces the file system may keep in pages of that size, and then a look-up far away costs one miss of
//! memory, not one more for the table of pages. Blocks of which only a little is ever read are written in small pieces: a large page is in
//! memory as a whole.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;

/// Octets of a block.
const BLOCK: usize = 2 << 20;
/// Octets of a piece of a block that is read here and there.
const PIECE: usize = 64 << 10;

/// Writes a file from front to back.
pub(super) struct BlockWriter {
    file: File,
    block: Vec<u8>,
    /// All of the block is read here and there.
    sparse: bool,
}

impl BlockWriter {
    pub(super) fn new(file: File) -> BlockWriter {
        BlockWriter {
            file,
            block: Vec::with_capacity(BLOCK),
            sparse: true,
        }
    }

    /// `sparse`: little of it will be read.
    pub(super) fn write(&mut self, mut octets: &[u8], sparse: bool) -> io::Result<()> {
        while !octets.is_empty() {
            let room = BLOCK - self.block.len();
            let (now, later) = octets.split_at(room.min(octets.len()));
            self.block.extend_from_slice(now);
            self.sparse &= sparse;
            if self.block.len() == BLOCK {
                self.flush()?;
            }
            octets = later;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut pieces = self.block.chunks(if self.sparse { PIECE } else { BLOCK });
        pieces.try_for_each(|piece| self.file.write_all(piece))?;
        self.block.clear();
        self.sparse = true;
        Ok(())
    }

    /// The file, with everything in it.
    pub(super) fn finish(mut self) -> io::Result<File> {
        self.flush()?;
        Ok(self.file)
    }
}

/// The blocks of a file that do not lie within one of the `sparse` ranges, neighbours together. Those ascend.
pub(super) fn dense(len: usize, sparse: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut dense = Vec::new();
    let mut at = 0;
    for range in sparse {
        let (start, end) = (range.start.next_multiple_of(BLOCK), range.end / BLOCK * BLOCK);
        if start < end {
            dense.push(at..start);
            at = end;
        }
    }
    dense.push(at..len);
    dense.retain(|range| !range.is_empty());
    dense
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_in_the_file_whatever_the_pieces() {
        let octets: Vec<u8> = (0..BLOCK * 3 + 17).map(|at| (at % 251) as u8).collect();
        for piece in [1 << 10, 100_003, BLOCK, BLOCK * 2 + 1] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("file");
            let mut writer = BlockWriter::new(File::create_new(&path).unwrap());
            for (number, piece) in octets.chunks(piece).enumerate() {
                writer.write(piece, number % 3 == 0).unwrap();
            }
            writer.finish().unwrap();
            assert!(std::fs::read(&path).unwrap() == octets, "in pieces of {piece}");
        }
    }

    #[test]
    fn a_block_is_sparse_where_all_of_it_is() {
        let at = |blocks: f64| (blocks * BLOCK as f64) as usize;
        let sparse = [at(0.5)..at(1.5), at(2.5)..at(5.0), at(6.0)..at(7.25)];
        assert_eq!(
            dense(at(7.5), &sparse),
            vec![0..at(3.0), at(5.0)..at(6.0), at(7.0)..at(7.5)]
        );
        assert_eq!(dense(100, &[]), vec![0..100]);
        assert!(dense(0, &[]).is_empty());
    }
}
