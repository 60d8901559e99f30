//! The password policy control (draft-behera-ldap-password-policy section 6): what a client that asks is told of its secret.

use super::super::ber;
use super::{PASSWORD_POLICY, put_control};
use crate::model::{Outcome, PasswordFault, PasswordWarning};

/// What an answer tells beside its result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PasswordAdvice {
    warning: Option<PasswordWarning>,
    fault: Option<PasswordFault>,
}

impl PasswordAdvice {
    /// Of a bind that came to its end: who asked is answered, though there be nothing to tell.
    pub fn of_bind(asked: bool, outcome: &Outcome, warning: Option<PasswordWarning>) -> Option<PasswordAdvice> {
        let fault = outcome.password;
        asked.then_some(PasswordAdvice { warning, fault })
    }

    /// Of a change: there is one only where there is something to tell.
    pub fn of_change(asked: bool, outcome: &Outcome) -> Option<PasswordAdvice> {
        PasswordAdvice::of_bind(asked, outcome, None).filter(|advice| advice.fault.is_some())
    }
}

/// RFC 4511 section 4.1.1.
pub(super) const MAX_INT: u32 = 0x7fff_ffff;

/// A PasswordPolicyResponseValue (section 6.2).
pub(super) fn put_advice(out: &mut Vec<u8>, advice: PasswordAdvice) {
    put_control(out, PASSWORD_POLICY, |out| {
        ber::put_nested(out, ber::SEQUENCE, |out| {
            if let Some(warning) = advice.warning {
                let (tag, number) = match warning {
                    PasswordWarning::ExpiresIn(seconds) => (0x80, seconds),
                    PasswordWarning::GraceLeft(times) => (0x81, times),
                };
                let number = u32::try_from(number).unwrap_or(MAX_INT).min(MAX_INT);
                ber::put_nested(out, 0xa0, |out| ber::put_integer(out, tag, number));
            }
            if let Some(fault) = advice.fault {
                ber::put_integer(out, 0x81, fault as u32);
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PasswordWarning::{ExpiresIn, GraceLeft};
    use crate::model::ResultCode;

    #[test]
    fn says_what_the_draft_has_and_nothing_to_who_did_not_ask() {
        let plain = Outcome::success();
        let told = Outcome::new(ResultCode::InvalidCredentials, "").telling(PasswordFault::AccountLocked);
        let value = |asked, outcome: &Outcome, warning| {
            let mut out = Vec::new();
            put_advice(&mut out, PasswordAdvice::of_bind(asked, outcome, warning)?);
            let oid = [&[0x04, 25][..], PASSWORD_POLICY.as_bytes()].concat();
            let at = out.windows(oid.len()).position(|window| window == oid).unwrap() + oid.len();
            Some(out[at..].to_vec())
        };
        assert_eq!(value(true, &told, None).unwrap(), [4, 5, 0x30, 3, 0x81, 1, 1]);
        assert_eq!(
            value(true, &plain, Some(ExpiresIn(300))).unwrap(),
            [4, 8, 0x30, 6, 0xa0, 4, 0x80, 2, 1, 44]
        );
        assert_eq!(
            value(
                true,
                &plain.clone().telling(PasswordFault::ChangeAfterReset),
                Some(ExpiresIn(u64::MAX))
            )
            .unwrap(),
            [4, 13, 0x30, 11, 0xa0, 6, 0x80, 4, 0x7f, 0xff, 0xff, 0xff, 0x81, 1, 2]
        );
        assert_eq!(
            value(true, &plain, Some(GraceLeft(0))).unwrap(),
            [4, 7, 0x30, 5, 0xa0, 3, 0x81, 1, 0]
        );
        assert_eq!(value(true, &plain, None).unwrap(), [4, 2, 0x30, 0]);
        assert_eq!(value(false, &told, Some(ExpiresIn(1))), None);
        assert_eq!(PasswordAdvice::of_change(true, &plain), None);
        assert_eq!(PasswordAdvice::of_change(false, &told), None);
        assert!(PasswordAdvice::of_change(true, &told).is_some());
    }
}
