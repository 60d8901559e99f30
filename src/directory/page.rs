//! Paging (RFC 2696): cookies that need no memory on the server.
//!
//! A cookie is the key of the last entry given, how many were given so far, and a seal over those, the account and the
//! question. So it survives writes and compaction between pages, and serves nobody else and no other search.

use crate::schema::NormalizedDn;
use sha2::{Digest, Sha256};

/// RFC 2696, decoded.
#[derive(Clone, Copy, Debug)]
pub struct PageRequest<'a> {
    /// Entries wanted; 0 ends the paged search.
    pub size: u32,
    /// Empty for the first page.
    pub cookie: &'a [u8],
}

const SEAL_BYTES: usize = 16;

/// Seals cookies with a key of this process: a restart makes old cookies void.
pub(super) struct CookieSeal {
    key: [u8; 32],
}

/// Where a paged search goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resume {
    pub after: NormalizedDn,
    pub given: u32,
}

impl CookieSeal {
    pub(super) fn new() -> CookieSeal {
        let mut key = [0; 32];
        getrandom::fill(&mut key).expect("the operating system gives random octets");
        CookieSeal { key }
    }

    /// `question` identifies account and search.
    pub(super) fn seal(&self, resume: &Resume, question: &[u8]) -> Vec<u8> {
        let body = [resume.given.to_be_bytes().as_slice(), &resume.after.0].concat();
        self.seal_octets(&body, question)
    }

    /// `None` for a cookie that this process did not make for this question.
    pub(super) fn open(&self, cookie: &[u8], question: &[u8]) -> Option<Resume> {
        let (given, after) = self.open_octets(cookie, question)?.split_first_chunk()?;
        Some(Resume {
            after: NormalizedDn(after.to_vec()),
            given: u32::from_be_bytes(*given),
        })
    }

    pub(super) fn seal_octets(&self, body: &[u8], question: &[u8]) -> Vec<u8> {
        [self.digest(body, question).as_slice(), body].concat()
    }

    pub(super) fn open_octets<'c>(&self, sealed: &'c [u8], question: &[u8]) -> Option<&'c [u8]> {
        let (seal, body) = sealed.split_at_checked(SEAL_BYTES)?;
        let same: bool = subtle::ConstantTimeEq::ct_eq(seal, self.digest(body, question).as_slice()).into();
        same.then_some(body)
    }

    fn digest(&self, body: &[u8], question: &[u8]) -> [u8; SEAL_BYTES] {
        let length = u64::try_from(body.len()).unwrap_or(u64::MAX).to_be_bytes();
        let whole = Sha256::new()
            .chain_update(self.key)
            .chain_update(length)
            .chain_update(body)
            .chain_update(question)
            .finalize();
        let mut seal = [0; SEAL_BYTES];
        seal.copy_from_slice(&whole[..SEAL_BYTES]);
        seal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_serves_only_its_own_question_and_process() {
        let seal = CookieSeal::new();
        let resume = Resume {
            after: NormalizedDn(b"o=nhs\0".to_vec()),
            given: 7,
        };
        let cookie = seal.seal(&resume, b"question");
        assert_eq!(seal.open(&cookie, b"question"), Some(resume));
        assert_eq!(seal.open(&cookie, b"another"), None);
        assert_eq!(CookieSeal::new().open(&cookie, b"question"), None);
        for at in 0..cookie.len() {
            let mut forged = cookie.clone();
            forged[at] ^= 1;
            assert_eq!(seal.open(&forged, b"question"), None, "byte {at}");
            assert_eq!(seal.open(&cookie[..at], b"question"), None, "cut at {at}");
        }
    }
}
