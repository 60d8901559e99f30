//! Pages of a search (RFC 2696): where one goes on, and what its cookie is bound to.

use super::super::page::{PageRequest, Resume};
use super::super::{Directory, Session};
use super::limits::Page;
use super::{Entries, Search, SearchRequest};
use crate::model::{Outcome, ResultCode};
use crate::schema::NormalizedDn;
use std::io::Write;

impl Directory {
    pub(super) fn resume(
        &self,
        session: &Session,
        base: &NormalizedDn,
        request: &SearchRequest<'_>,
        asked: PageRequest<'_>,
    ) -> Result<(Option<Page>, Option<NormalizedDn>), Outcome> {
        let quotas = &session.view.quotas;
        if !quotas.may_page {
            let message = "the account's release profile does not allow paged results";
            return Err(Outcome::new(ResultCode::UnwillingToPerform, message));
        }
        let question = question(session, base, request);
        let size = if quotas.page_size == 0 {
            asked.size
        } else {
            asked.size.min(quotas.page_size)
        };
        // A page of a sorted search that cannot be put in order has no place to go on from.
        let size = match request.sort {
            Some(_) => size.min(
                u32::try_from(self.sort_limits.sorted_entries)
                    .unwrap_or(u32::MAX)
                    .max(2)
                    - 1,
            ),
            None => size,
        };
        if asked.cookie.is_empty() {
            return Ok((
                Some(Page {
                    size,
                    given_before: 0,
                    question,
                    last: None,
                }),
                None,
            ));
        }
        let Some(resume) = self.cookies.open(asked.cookie, &question) else {
            let message = "the paged results cookie is not one of this search; begin again without a cookie";
            return Err(Outcome::new(ResultCode::UnwillingToPerform, message));
        };
        Ok((
            Some(Page {
                size,
                given_before: resume.given,
                question,
                last: None,
            }),
            Some(resume.after),
        ))
    }
}

impl Search {
    pub(super) fn cookie(&self, page: &Page, complete: bool) -> Vec<u8> {
        let (Entries::Directory { snapshot, .. }, Some(at), false) = (&self.entries, page.last, complete) else {
            return Vec::new();
        };
        let sorted = self.sorting().and_then(|sorting| sorting.last(snapshot, at));
        let resume = Resume {
            after: sorted.map_or_else(|| snapshot.key(at), NormalizedDn),
            given: page.given_before.saturating_add(self.given),
        };
        self.directory.cookies.seal(&resume, &page.question)
    }
}

/// What a cookie is bound to: the account and the search.
pub(in crate::directory) fn question(session: &Session, base: &NormalizedDn, request: &SearchRequest<'_>) -> Vec<u8> {
    let account = &session.identity.account.facts.key.0;
    let mut question = Vec::with_capacity(256);
    question.extend_from_slice(&account.len().to_be_bytes());
    question.extend_from_slice(account);
    append_search(&mut question, base, request);
    question
}

/// What is searched for, and in which order.
pub(in crate::directory) fn append_search(question: &mut Vec<u8>, base: &NormalizedDn, request: &SearchRequest<'_>) {
    question.extend_from_slice(&base.0.len().to_be_bytes());
    question.extend_from_slice(&base.0);
    question.push(request.scope as u8);
    question.push(request.aliases as u8);
    question.push(request.subentries.map_or(2, u8::from));
    question.push(u8::from(request.manage_dsa_it));
    write!(question, "{}", request.filter).expect("writing to memory succeeds");
    for key in request.sort.iter().flat_map(|sort| sort.keys) {
        write!(question, "\0{key:?}").expect("writing to memory succeeds");
    }
}
