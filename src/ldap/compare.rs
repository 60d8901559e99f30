//! Compare (RFC 4511 section 4.10).

use super::codec::{CompareRequest, tag};
use super::controls::Controls;
use super::conversation::Conversation;
use super::encode::Extra;
use super::frame::MessageId;
use crate::directory::{Guard, Session};

impl Conversation {
    pub(super) fn compare(
        &mut self,
        id: MessageId,
        request: &CompareRequest<'_>,
        controls: &Controls<'_>,
        session: &Session,
    ) {
        let guard = Guard {
            assertion: controls.assertion.as_deref(),
            manage_dsa_it: controls.manage_dsa_it,
        };
        let CompareRequest { dn, attribute, value } = *request;
        let facts = self.facts();
        let outcome = self.directory.compare(session, dn, (attribute, value), guard, facts);
        self.answer(id, tag::COMPARE_RESPONSE, &outcome, Extra::default());
    }
}
