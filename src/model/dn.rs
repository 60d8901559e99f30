//! Distinguished names as text (RFC 4514).

/// One attribute type and value of an RDN, as given.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Ava {
    /// The attribute type as spelled: a descriptor or a numeric OID.
    pub attribute: String,
    /// The value's octets, unescaped; for the `#hex` form the octets of the decoded BER string value.
    pub value: Vec<u8>,
}

/// One relative distinguished name: one or more AVAs in the order given.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Rdn {
    pub avas: Vec<Ava>,
}

/// A distinguished name, leaf RDN first as RFC 4514 writes it. Empty is the root DSE's name.
///
/// `==` compares spelling, not meaning: compare [`crate::schema::NormalizedDn`]s for that.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Dn {
    rdns: Vec<Rdn>,
}

/// Why a text is no DN. `position` is a byte offset into the text.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected {expected} at byte {position} of the distinguished name, found {found}")]
pub struct DnError {
    pub position: usize,
    pub expected: &'static str,
    pub found: String,
}

impl Dn {
    /// Parses RFC 4514, and the RFC 2253/1779 spellings clients still send: spaces around `,` `+` `=`,
    /// `;` as separator, quoted values, `OID.` prefix.
    pub fn parse(text: &str) -> Result<Dn, DnError> {
        let _ = text;
        todo!()
    }

    pub fn root() -> Dn {
        Dn::default()
    }

    /// Leaf first.
    pub fn from_rdns(rdns: Vec<Rdn>) -> Dn {
        Dn { rdns }
    }

    pub fn is_root(&self) -> bool {
        self.rdns.is_empty()
    }

    /// Leaf first.
    pub fn rdns(&self) -> &[Rdn] {
        &self.rdns
    }

    pub fn rdn(&self) -> Option<&Rdn> {
        self.rdns.first()
    }

    /// The name without its leaf RDN; `None` for the root.
    pub fn parent(&self) -> Option<Dn> {
        self.rdns.get(1..).map(|rest| Dn { rdns: rest.to_vec() })
    }

    pub fn child(&self, rdn: Rdn) -> Dn {
        let mut rdns = Vec::with_capacity(self.rdns.len() + 1);
        rdns.push(rdn);
        rdns.extend_from_slice(&self.rdns);
        Dn { rdns }
    }
}
