//! Compare (RFC 4511 section 4.10).

use super::codec::{CompareRequest, tag};
use super::conversation::Conversation;
use super::encode::Extra;
use super::frame::MessageId;
use crate::directory::Session;

impl Conversation {
    pub(super) fn compare(&mut self, id: MessageId, request: &CompareRequest<'_>, session: &Session) {
        let outcome = self
            .directory
            .compare(session, request.dn, request.attribute, request.value);
        self.answer(id, tag::COMPARE_RESPONSE, &outcome, Extra::default());
    }
}
