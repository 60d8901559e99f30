//! Request controls this server acts on, and the answers to them (RFC 4511 section 4.1.11).
//!
//! A control that is not known, or not for the operation, refuses the request where it is critical and is passed over where it
//! is not. A value that is not what the control's specification says is a protocol error either way, and so is a control that
//! comes twice; session tracking alone is passed over where it is malformed, and may come more than once.

mod links;
mod policy;
mod read;
mod results;
mod tracking;
mod usability;

use super::ber::{self, Reader};
use super::codec::{Change, DecodeError, Operation, text};
use super::encode::Extra;
use super::limits::WireLimits;
use super::sync;
use crate::access::ReleasedCopy;
use crate::directory::{LinkRequest, PageRequest, PersistentRequest, SortKey, SyncRequest, VirtualListRequest};
use crate::model::{Filter, Outcome, ResultCode, TrackedSession};

pub use links::put_linked;
pub use policy::PasswordAdvice;
pub use usability::put_usability;

/// Simple paged results (RFC 2696).
pub const PAGED_RESULTS: &str = "1.2.840.113556.1.4.319";
/// ManageDsaIT (RFC 3296).
pub const MANAGE_DSA_IT: &str = "2.16.840.1.113730.3.4.2";
/// Assertion (RFC 4528).
pub const ASSERTION: &str = "1.3.6.1.1.12";
/// The entry before an update (RFC 4527 section 3.1).
pub const PRE_READ: &str = "1.3.6.1.1.13.1";
/// The entry after an update (RFC 4527 section 3.2).
pub const POST_READ: &str = "1.3.6.1.1.13.2";
/// Server-side sorting (RFC 2891): the request, and the answer to it.
pub const SORT: &str = "1.2.840.113556.1.4.473";
pub const SORT_RESULT: &str = "1.2.840.113556.1.4.474";
/// Virtual list view (draft-ietf-ldapext-ldapv3-vlv-09): the request, and the answer to it.
pub const VIRTUAL_LIST_VIEW: &str = "2.16.840.1.113730.3.4.9";
pub const VIRTUAL_LIST_VIEW_RESULT: &str = "2.16.840.1.113730.3.4.10";
/// Don't use copy (RFC 6171). There are no copies, so it changes nothing.
pub const DONT_USE_COPY: &str = "1.3.6.1.1.22";
/// Subentries (RFC 3672 section 3).
pub const SUBENTRIES: &str = "1.3.6.1.4.1.4203.1.10.1";
/// Content synchronisation (RFC 4533).
pub const SYNC_REQUEST: &str = "1.3.6.1.4.1.4203.1.9.1.1";
/// Persistent search (draft-ietf-ldapext-psearch-03).
pub const PERSISTENT_SEARCH: &str = "2.16.840.1.113730.3.4.3";
/// Permissive modify, as Active Directory has it.
pub const PERMISSIVE_MODIFY: &str = "1.2.840.113556.1.4.1413";

/// Domain scope, as Active Directory has it: no references to other servers.
pub const DOMAIN_SCOPE: &str = "1.2.840.113556.1.4.1339";
/// Relax Rules (draft-zeilenga-ldap-relax), under the number that OpenLDAP has for it.
pub const RELAX_RULES: &str = "1.3.6.1.4.1.4203.666.5.12";

/// Proxied authorization (RFC 4370).
pub const PROXIED_AUTHORIZATION: &str = "2.16.840.1.113730.3.4.18";

/// Tree Delete, as Active Directory has it (draft-armijo-ldap-treedelete).
pub const TREE_DELETE: &str = "1.2.840.113556.1.4.805";
/// Matched values (RFC 3876).
pub const MATCHED_VALUES: &str = "1.2.826.0.1.3344810.2.3";

/// Transaction specification (RFC 5805 section 2.2).
pub const TRANSACTION: &str = "1.3.6.1.1.21.2";

/// Password policy (draft-behera-ldap-password-policy section 6): the request, and the answer to it.
pub const PASSWORD_POLICY: &str = "1.3.6.1.4.1.42.2.27.8.5.1";
/// Account usability, as Netscape's directory servers and slapd's ppolicy have it. Answered with each entry.
pub const ACCOUNT_USABILITY: &str = "1.3.6.1.4.1.42.2.27.9.5.8";
/// Authorization identity (RFC 3829): the request, and the answer to it.
pub const AUTHORIZATION_IDENTITY: &str = "2.16.840.1.113730.3.4.16";
pub const AUTHORIZATION_IDENTITY_RESULT: &str = "2.16.840.1.113730.3.4.15";

/// Session tracking (draft-wahl-ldap-session): what the client serves when it asks. It may come several times.
pub const SESSION_TRACKING: &str = "1.3.6.1.4.1.21008.108.63.1";

/// Dereference (draft-masarati-ldap-deref), under the number that OpenLDAP has for it. Answered with each entry.
pub const DEREFERENCE: &str = "1.3.6.1.4.1.4203.666.5.16";

/// No-Op (draft-zeilenga-ldap-noop), under the number that OpenLDAP has for it.
pub const NO_OP: &str = "1.3.6.1.4.1.4203.666.5.2";

/// Every control listed in the root DSE.
pub const SUPPORTED: &[&str] = &[
    PAGED_RESULTS,
    MANAGE_DSA_IT,
    ASSERTION,
    PRE_READ,
    POST_READ,
    SORT,
    VIRTUAL_LIST_VIEW,
    DONT_USE_COPY,
    PERMISSIVE_MODIFY,
    RELAX_RULES,
    DOMAIN_SCOPE,
    SUBENTRIES,
    SYNC_REQUEST,
    PERSISTENT_SEARCH,
    PROXIED_AUTHORIZATION,
    TRANSACTION,
    MATCHED_VALUES,
    TREE_DELETE,
    PASSWORD_POLICY,
    ACCOUNT_USABILITY,
    AUTHORIZATION_IDENTITY,
    SESSION_TRACKING,
    DEREFERENCE,
    NO_OP,
];

/// Operations that a control is for, one bit each.
mod on {
    pub const SEARCH: u8 = 1;
    pub const COMPARE: u8 = 2;
    pub const ADD: u8 = 4;
    pub const DELETE: u8 = 8;
    pub const MODIFY: u8 = 16;
    pub const MODIFY_DN: u8 = 32;
    /// Bind, unbind and abandon.
    pub const OTHER: u8 = 64;
    pub const EXTENDED: u8 = 128;
    pub const UPDATES: u8 = ADD | DELETE | MODIFY | MODIFY_DN;
}

/// What a control of [`SUPPORTED`] is for.
fn operations(oid: &str) -> u8 {
    match oid {
        PAGED_RESULTS | SORT | VIRTUAL_LIST_VIEW | SUBENTRIES | SYNC_REQUEST | PERSISTENT_SEARCH | MATCHED_VALUES
        | DOMAIN_SCOPE | DEREFERENCE | ACCOUNT_USABILITY => on::SEARCH,
        ASSERTION => on::SEARCH | on::COMPARE | on::UPDATES,
        PRE_READ => on::DELETE | on::MODIFY | on::MODIFY_DN,
        POST_READ => on::ADD | on::MODIFY | on::MODIFY_DN,
        DONT_USE_COPY => on::SEARCH | on::COMPARE,
        PERMISSIVE_MODIFY => on::MODIFY,
        RELAX_RULES | NO_OP => on::UPDATES,
        TREE_DELETE => on::DELETE,
        PROXIED_AUTHORIZATION => on::SEARCH | on::COMPARE | on::UPDATES | on::EXTENDED,
        TRANSACTION => on::UPDATES | on::EXTENDED,
        AUTHORIZATION_IDENTITY => on::OTHER,
        _ => u8::MAX,
    }
}

fn operation_bit(operation: &Operation<'_>) -> u8 {
    match operation {
        Operation::Search(_) => on::SEARCH,
        Operation::Compare(_) => on::COMPARE,
        Operation::Change(Change::Add(_)) => on::ADD,
        Operation::Change(Change::Delete { .. }) => on::DELETE,
        Operation::Change(Change::Modify(_)) => on::MODIFY,
        Operation::Change(Change::ModifyDn(_)) => on::MODIFY_DN,
        Operation::Extended(_) => on::EXTENDED,
        Operation::Bind(_) | Operation::Unbind | Operation::Abandon { .. } => on::OTHER,
    }
}

/// What the controls of one request ask.
#[derive(Debug, Default)]
pub struct Controls<'a> {
    pub page: Option<PageRequest<'a>>,
    pub assertion: Option<Box<Filter<'a>>>,
    /// Attributes to read.
    pub pre_read: Option<Vec<&'a str>>,
    pub post_read: Option<Vec<&'a str>>,
    pub permissive_modify: bool,
    pub relax_rules: bool,
    /// An update is to come to nothing but its result.
    pub no_op: bool,
    pub manage_dsa_it: bool,
    /// Everything below the entry is to go too.
    pub tree_delete: bool,
    pub domain_scope: bool,
    /// Whether subentries are asked for instead of other entries.
    pub subentries: Option<bool>,
    /// What to read of entries that the given ones name.
    pub links: Option<Vec<LinkRequest<'a>>>,
    pub links_are_critical: bool,
    pub sort: Option<Vec<SortKey<'a>>>,
    pub sort_is_critical: bool,
    pub sync: Option<SyncRequest<'a>>,
    pub persistent: Option<PersistentRequest>,
    pub virtual_list: Option<VirtualListRequest<'a>>,
    /// Only values that pass one of these are given.
    pub matched_values: Option<Vec<Filter<'a>>>,
    /// The authorization identity to act as.
    pub proxied: Option<&'a str>,
    /// The identifier of the transaction that an update is part of.
    pub transaction: Option<&'a str>,
    /// What there is to tell of the secret is told.
    pub password_policy: bool,
    /// Whether accounts can be used is told.
    pub account_usability: bool,
    pub account_usability_is_critical: bool,
    /// A bind is to say whom it came to.
    pub authorization_identity: bool,
    /// What the request belongs to, for the audit.
    pub sessions: Vec<TrackedSession>,
    /// The first critical control that this server does not know.
    pub unknown_critical: Option<&'a str>,
    /// By place in [`SUPPORTED`]: which were there, and which of them were critical.
    seen: u64,
    critical: u64,
}

/// Decodes the contents of a message's controls.
pub fn decode<'a>(contents: &'a [u8], limits: &WireLimits) -> Result<Controls<'a>, DecodeError> {
    let mut controls = Controls::default();
    let mut list = Reader::new(contents);
    let mut found = 0;
    while !list.is_empty() {
        found += 1;
        if found > limits.controls {
            return Err(DecodeError::Limit {
                what: "controls",
                limit: limits.controls,
            });
        }
        let mut control = list.enter(ber::SEQUENCE)?;
        let oid = text("control type", control.octets()?)?;
        let critical = match control.optional(ber::BOOLEAN)? {
            Some(contents) => ber::boolean(contents)?,
            None => false,
        };
        let value = control.optional(ber::OCTET_STRING)?;
        control.finish()?;
        match SUPPORTED.iter().position(|known| *known == oid) {
            Some(place) => controls.take(place, critical, value, limits)?,
            None if critical => {
                controls.unknown_critical.get_or_insert(oid);
            }
            None => {}
        }
    }
    Ok(controls)
}

impl<'a> Controls<'a> {
    fn take(
        &mut self,
        place: usize,
        critical: bool,
        value: Option<&'a [u8]>,
        limits: &WireLimits,
    ) -> Result<(), DecodeError> {
        let bit = 1u64 << place;
        let known = SUPPORTED.get(place).copied();
        if self.seen & bit != 0 && known != Some(SESSION_TRACKING) {
            return Err(DecodeError::field("controls", "each control once", "one twice"));
        }
        self.seen |= bit;
        if critical {
            self.critical |= bit;
        }
        match known {
            Some(PAGED_RESULTS) => self.page = Some(results::page(value)?),
            Some(ASSERTION) => self.assertion = Some(Box::new(read::assertion(value, limits)?)),
            Some(PRE_READ) => self.pre_read = Some(read::selection(value, limits)?),
            Some(POST_READ) => self.post_read = Some(read::selection(value, limits)?),
            Some(SORT) => {
                self.sort = Some(results::sort_keys(value)?);
                self.sort_is_critical = critical;
            }
            Some(MANAGE_DSA_IT) => self.manage_dsa_it = no_value("ManageDsaIT", value)?,
            Some(DOMAIN_SCOPE) => self.domain_scope = no_value("domain scope", value)?,
            Some(PROXIED_AUTHORIZATION) => self.proxied = Some(proxied(critical, value)?),
            Some(TRANSACTION) => self.transaction = Some(transaction(critical, value)?),
            Some(MATCHED_VALUES) => self.matched_values = Some(results::matched_values(value, limits)?),
            Some(DEREFERENCE) => {
                self.links = Some(links::requests(value, limits)?);
                self.links_are_critical = critical;
            }
            Some(SUBENTRIES) => self.subentries = Some(visibility(value)?),
            Some(SYNC_REQUEST) => self.sync = Some(sync::sync_request(value)?),
            Some(PERSISTENT_SEARCH) => self.persistent = Some(sync::persistent_request(value)?),
            Some(VIRTUAL_LIST_VIEW) => self.virtual_list = Some(results::virtual_list(value, limits)?),
            Some(TREE_DELETE) => self.tree_delete = no_value("Tree Delete", value)?,
            Some(PASSWORD_POLICY) => self.password_policy = no_value("password policy", value)?,
            Some(ACCOUNT_USABILITY) => {
                self.account_usability = no_value("account usability", value)?;
                self.account_usability_is_critical = critical;
            }
            Some(AUTHORIZATION_IDENTITY) => self.authorization_identity = no_value("authorization identity", value)?,
            Some(SESSION_TRACKING) => self.sessions.extend(tracking::session(value)),
            Some(DONT_USE_COPY) => _ = no_value("don't use copy", value)?,
            Some(PERMISSIVE_MODIFY) => self.permissive_modify = no_value("permissive modify", value)?,
            Some(NO_OP) => self.no_op = no_value("No-Op", value)?,
            Some(RELAX_RULES) => self.relax_rules = no_value("relax rules", value)?,
            Some(_) | None => {}
        }
        Ok(())
    }

    /// What a search asks that goes on with changes.
    ///
    /// # Errors
    /// It asks so in two ways.
    pub fn following(&self) -> Result<Option<SyncRequest<'a>>, Outcome> {
        match (self.sync, self.persistent) {
            (Some(_), Some(_)) => {
                let message = "a search is a content synchronisation or persistent, not both";
                Err(Outcome::new(ResultCode::ProtocolError, message))
            }
            (sync, None) => Ok(sync),
            (None, Some(asked)) => Ok(Some(SyncRequest::persistent(asked))),
        }
    }

    /// The refusal of a critical control that is not known, or not for this operation.
    pub fn refusal(&self, operation: &Operation<'_>) -> Option<Outcome> {
        let bit = operation_bit(operation);
        let mut known = SUPPORTED.iter().enumerate();
        let misplaced = known.find(|(place, oid)| self.critical >> place & 1 == 1 && operations(oid) & bit == 0);
        let oid = self.unknown_critical.or(misplaced.map(|(_, oid)| *oid))?;
        Some(Outcome::new(
            ResultCode::UnavailableCriticalExtension,
            format!("expected controls this server knows for the operation, found critical control {oid}"),
        ))
    }
}

/// The authorization identity of RFC 4370 section 3. Passed over it would be done by somebody else, so it must be critical.
fn proxied(critical: bool, value: Option<&[u8]>) -> Result<&str, DecodeError> {
    const NAME: &str = "proxied authorization";
    if !critical {
        return Err(DecodeError::field(NAME, "a critical control", "one that is not"));
    }
    let value = value.ok_or_else(|| DecodeError::field(NAME, "an authorization identity", "no value"))?;
    text(NAME, value)
}

/// The identifier of RFC 5805 section 2.2. Passed over, the update would be done at once, so it must be critical.
fn transaction(critical: bool, value: Option<&[u8]>) -> Result<&str, DecodeError> {
    const NAME: &str = "transaction specification";
    if !critical {
        return Err(DecodeError::field(NAME, "a critical control", "one that is not"));
    }
    let value = value.ok_or_else(|| DecodeError::field(NAME, "a transaction identifier", "no value"))?;
    // Every identifier of this server is text: others are unknown.
    Ok(std::str::from_utf8(value).unwrap_or_default())
}

/// The visibility flag of RFC 3672 section 3.
fn visibility(value: Option<&[u8]>) -> Result<bool, DecodeError> {
    let value = value.ok_or_else(|| DecodeError::field("subentries", "a visibility flag", "no value"))?;
    let mut value = Reader::new(value);
    let flag = value.boolean(ber::BOOLEAN)?;
    nothing_behind("subentries", value)?;
    Ok(flag)
}

fn nothing_behind(field: &'static str, value: Reader<'_>) -> Result<(), DecodeError> {
    match value.peek() {
        None => Ok(()),
        Some(found) => Err(DecodeError::field(
            field,
            "the end of the value",
            format_args!("tag 0x{found:02x}"),
        )),
    }
}

/// True, for the flag of a control that has no value. Netscape's Java SDK writes an empty one then; there is no other way to read that.
fn no_value(field: &'static str, value: Option<&[u8]>) -> Result<bool, DecodeError> {
    match value {
        None | Some([]) => Ok(true),
        Some(found) => Err(DecodeError::field(
            field,
            "no value",
            format_args!("{} octets", found.len()),
        )),
    }
}

/// Appends the response controls that an answer carries, if any: a message's controls element, tag included.
pub fn put_responses(out: &mut Vec<u8>, extra: &Extra<'_>) {
    let of_search = extra.page.is_some() || extra.sort.is_some() || extra.virtual_list.is_some();
    let of_update = extra.pre_read.is_some() || extra.post_read.is_some();
    let of_bind = extra.password.is_some() || extra.authorization_identity.is_some();
    if !of_search && !of_update && !of_bind && extra.synced.is_none() {
        return;
    }
    ber::put_nested(out, super::frame::CONTROLS, |out| {
        if let Some(page) = extra.page {
            results::put_page(out, page);
        }
        if let Some((cookie, deletes)) = extra.synced {
            sync::put_done(out, cookie, deletes);
        }
        if let Some(sort) = extra.sort {
            results::put_sort_result(out, sort);
        }
        if let Some(list) = extra.virtual_list {
            results::put_virtual_list(out, list);
        }
        put_read_entries(out, extra.pre_read, extra.post_read);
        if let Some(advice) = extra.password {
            policy::put_advice(out, advice);
        }
        if let Some(identity) = extra.authorization_identity {
            put_control(out, AUTHORIZATION_IDENTITY_RESULT, |out| {
                out.extend_from_slice(identity.as_bytes());
            });
        }
    });
}

/// The entry before an update and after it.
pub(super) fn put_read_entries(out: &mut Vec<u8>, before: Option<&ReleasedCopy>, after: Option<&ReleasedCopy>) {
    for (oid, entry) in [(PRE_READ, before), (POST_READ, after)] {
        if let Some(entry) = entry {
            put_control(out, oid, |out| read::put_entry(out, entry));
        }
    }
}

pub(super) fn put_control(out: &mut Vec<u8>, oid: &str, value: impl FnOnce(&mut Vec<u8>)) {
    ber::put_nested(out, ber::SEQUENCE, |out| {
        ber::put_octets(out, ber::OCTET_STRING, oid.as_bytes());
        ber::put_nested(out, ber::OCTET_STRING, value);
    });
}
