//! A file mapped for reading. The only file of the project that may use `unsafe`.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Range;

/// A whole file as a byte slice.
pub(super) struct Mapped(memmap2::Mmap);

impl Mapped {
    /// Maps a file that is not written any more.
    pub(super) fn map(file: &File) -> io::Result<Mapped> {
        // SAFETY: a mapping is sound while nobody changes or shortens the file. Segment and spill files are written once, under
        // names of their own, by the process that holds the data directory's lock, and afterwards only deleted.
        unsafe { memmap2::Mmap::map(file) }.map(Mapped)
    }

    /// Asks for a part in pages as large as there are. A kernel that has none says so, and nothing is lost.
    pub(super) fn in_large_pages(&self, part: Range<usize>) {
        #[cfg(target_os = "linux")]
        let _ = self.0.advise_range(memmap2::Advice::HugePage, part.start, part.len());
        #[cfg(not(target_os = "linux"))]
        let _ = part;
    }

    pub(super) fn octets(&self) -> &[u8] {
        &self.0
    }
}

/// Asks the processor for the first cache lines of some octets and does not wait for them.
#[inline]
pub(in crate::store) fn prefetch(octets: &[u8], lines: usize) {
    const LINE: usize = 64;
    #[cfg(target_arch = "x86_64")]
    for line in octets.chunks(LINE).take(lines) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch is a hint. It reads nothing and faults nowhere, and the address lies within the slice.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    crate::index::octets::touch(octets, 0, lines * LINE);
}
