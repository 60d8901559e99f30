//! Add, delete, modify and modify DN (RFC 4511 sections 4.6 to 4.9).

use super::codec::{self, Change, ModifyDnRequest, tag};
use super::controls::{Controls, PasswordAdvice};
use super::conversation::{Answer, Conversation};
use super::encode::Extra;
use super::frame::MessageId;
use crate::access::Selection;
use crate::directory::{Session, Update, UpdateRequest};
use crate::model::{Dn, Entry, Outcome, Rdn, ResultCode};
use std::sync::Arc;

/// Modify-increment (RFC 4525), listed in the root DSE.
pub const FEATURES: &[&str] = &["1.3.6.1.1.14"];

impl Conversation {
    /// Begins a change; it is answered when it is durable.
    pub(super) fn update(&mut self, id: MessageId, change: Change<'_>, controls: Controls<'_>, session: Arc<Session>) {
        // What is not for the operation was not critical, and is passed over.
        let (added, deleted) = (
            matches!(change, Change::Add(_)),
            matches!(change, Change::Delete { .. }),
        );
        let (response, update) = match change {
            Change::Add(add) => (
                tag::ADD_RESPONSE,
                name(add.dn).map(|dn| {
                    Update::Add(Entry {
                        dn,
                        attributes: add.attributes,
                    })
                }),
            ),
            Change::Delete { dn } => {
                let tree = controls.tree_delete;
                (tag::DELETE_RESPONSE, name(dn).map(|dn| Update::Delete { dn, tree }))
            }
            Change::Modify(modify) => (
                tag::MODIFY_RESPONSE,
                name(modify.dn).map(|dn| Update::Modify {
                    dn,
                    changes: modify.changes,
                }),
            ),
            Change::ModifyDn(rename) => (tag::MODIFY_DN_RESPONSE, modify_dn(&rename)),
        };
        match update {
            Ok(update) => {
                let directory = Arc::clone(&self.directory);
                let compile = |names: Vec<&str>| Selection::compile(names.into_iter(), false, &directory.schema());
                let request = UpdateRequest {
                    update,
                    assertion: controls.assertion.map(|filter| filter.into_owned()),
                    pre_read: controls.pre_read.filter(|_| !added).map(compile),
                    post_read: controls.post_read.filter(|_| !deleted).map(compile),
                    permissive: controls.permissive_modify,
                    relax: controls.relax_rules,
                    no_op: controls.no_op,
                    manage_dsa_it: controls.manage_dsa_it,
                    octets: self.request_octets,
                };
                if let Some(identifier) = controls.transaction {
                    return self.queue((id, response), identifier, request, &session);
                }
                let advised = controls.password_policy;
                self.wait_for(id, async move {
                    let done = directory.update(&session, request).await;
                    let password = PasswordAdvice::of_change(advised, &done.outcome);
                    Answer::Update {
                        response,
                        done,
                        password,
                    }
                });
            }
            Err(outcome) => self.answer(id, response, &outcome, Extra::default()),
        }
    }
}

fn modify_dn(rename: &ModifyDnRequest<'_>) -> Result<Update, Outcome> {
    Ok(Update::ModifyDn {
        dn: name(rename.dn)?,
        new_rdn: rdn(rename.new_rdn)?,
        delete_old_rdn: rename.delete_old_rdn,
        new_superior: rename.new_superior.map(name).transpose()?,
    })
}

fn name(text: &str) -> Result<Dn, Outcome> {
    Dn::parse(text).map_err(|error| Outcome::new(ResultCode::InvalidDnSyntax, error.to_string()))
}

fn rdn(text: &str) -> Result<Rdn, Outcome> {
    let dn = name(text)?;
    match dn.rdns() {
        [rdn] => Ok(rdn.clone()),
        rdns => {
            let error = codec::DecodeError::field("new RDN", "one RDN", rdns.len());
            Err(Outcome::new(ResultCode::InvalidDnSyntax, error.to_string()))
        }
    }
}
