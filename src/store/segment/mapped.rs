//! A file mapped for reading. The only file of the project that may use `unsafe`.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;

/// A whole file as a byte slice.
pub(super) struct Mapped(memmap2::Mmap);

impl Mapped {
    /// Maps a file that is not written any more.
    pub(super) fn map(file: &File) -> io::Result<Mapped> {
        // SAFETY: a mapping is sound while nobody changes or shortens the file. Segment and spill files are written once, under
        // names of their own, by the process that holds the data directory's lock, and afterwards only deleted.
        unsafe { memmap2::Mmap::map(file) }.map(Mapped)
    }

    pub(super) fn octets(&self) -> &[u8] {
        &self.0
    }
}
