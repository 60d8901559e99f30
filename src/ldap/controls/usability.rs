//! The account usability control: whether the account of an entry can be used.

use super::super::ber;
use super::policy::MAX_INT;
use super::{ACCOUNT_USABILITY, put_control};
use crate::account::{Unavailable, Usability};

/// `CHOICE { available [0] INTEGER, unavailable [1] SEQUENCE { inactive [0] BOOLEAN, reset [1] BOOLEAN, expired [2] BOOLEAN,
/// remainingGrace [3] INTEGER OPTIONAL, secondsBeforeUnlock [4] INTEGER OPTIONAL } }`. Seconds that never end are -1.
pub fn put_usability(out: &mut Vec<u8>, usability: Usability) {
    put_control(out, ACCOUNT_USABILITY, |out| match usability {
        Usability::Available { ends_in: None } => ber::put_octets(out, 0x80, &[0xff]),
        Usability::Available { ends_in: Some(seconds) } => put_number(out, 0x80, seconds),
        Usability::Unavailable(why) => put_unavailable(out, why),
    });
}

fn put_unavailable(out: &mut Vec<u8>, why: Unavailable) {
    ber::put_nested(out, 0xa1, |out| {
        for (tag, flag) in [(0x80, why.inactive), (0x81, why.must_change), (0x82, why.expired)] {
            ber::put_octets(out, tag, &[if flag { 0xff } else { 0 }]);
        }
        for (tag, number) in [(0x83, why.grace), (0x84, why.unlocks_in)] {
            if let Some(number) = number {
                put_number(out, tag, number);
            }
        }
    });
}

fn put_number(out: &mut Vec<u8>, tag: u8, number: u64) {
    ber::put_integer(out, tag, u32::try_from(number).unwrap_or(MAX_INT).min(MAX_INT));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_clients_read() {
        let value = |usability| {
            let mut out = Vec::new();
            put_usability(&mut out, usability);
            let oid = ACCOUNT_USABILITY.as_bytes();
            let at = out.windows(oid.len()).position(|window| window == oid).unwrap() + oid.len();
            out[at + 2..].to_vec()
        };
        assert_eq!(value(Usability::Available { ends_in: None }), [0x80, 1, 0xff]);
        assert_eq!(value(Usability::Available { ends_in: Some(300) }), [0x80, 2, 1, 44]);
        let why = Unavailable {
            inactive: true,
            ..Unavailable::default()
        };
        assert_eq!(
            value(Usability::Unavailable(why)),
            [0xa1, 9, 0x80, 1, 0xff, 0x81, 1, 0, 0x82, 1, 0]
        );
        let why = Unavailable {
            expired: true,
            grace: Some(2),
            unlocks_in: Some(u64::MAX),
            ..Unavailable::default()
        };
        assert_eq!(
            value(Usability::Unavailable(why)),
            [
                0xa1, 18, 0x80, 1, 0, 0x81, 1, 0, 0x82, 1, 0xff, 0x83, 1, 2, 0x84, 4, 0x7f, 0xff, 0xff, 0xff
            ]
        );
    }
}
