//! How an operation ended (RFC 4511 section 4.1.9), and the scope of a search (section 4.5.1.2).

/// The result codes of RFC 4511 appendix A that this server sends, and those of the RFCs it implements.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u32)]
#[non_exhaustive]
pub enum ResultCode {
    Success = 0,
    OperationsError = 1,
    ProtocolError = 2,
    TimeLimitExceeded = 3,
    SizeLimitExceeded = 4,
    CompareFalse = 5,
    CompareTrue = 6,
    AuthMethodNotSupported = 7,
    StrongerAuthRequired = 8,
    Referral = 10,
    AdminLimitExceeded = 11,
    UnavailableCriticalExtension = 12,
    ConfidentialityRequired = 13,
    SaslBindInProgress = 14,
    NoSuchAttribute = 16,
    UndefinedAttributeType = 17,
    InappropriateMatching = 18,
    ConstraintViolation = 19,
    AttributeOrValueExists = 20,
    InvalidAttributeSyntax = 21,
    NoSuchObject = 32,
    AliasProblem = 33,
    InvalidDnSyntax = 34,
    AliasDereferencingProblem = 36,
    InappropriateAuthentication = 48,
    InvalidCredentials = 49,
    InsufficientAccessRights = 50,
    Busy = 51,
    Unavailable = 52,
    UnwillingToPerform = 53,
    /// Of a virtual list view alone, as is the next.
    SortControlMissing = 60,
    OffsetRangeError = 61,
    NamingViolation = 64,
    ObjectClassViolation = 65,
    NotAllowedOnNonLeaf = 66,
    NotAllowedOnRdn = 67,
    EntryAlreadyExists = 68,
    ObjectClassModsProhibited = 69,
    AffectsMultipleDsas = 71,
    VirtualListViewError = 76,
    Other = 80,
    Canceled = 118,
    NoSuchOperation = 119,
    TooLate = 120,
    CannotCancel = 121,
    AssertionFailed = 122,
    AuthorizationDenied = 123,
    /// RFC 4533 section 2.6.
    SyncRefreshRequired = 4096,
    /// draft-zeilenga-ldap-noop, under the number that OpenLDAP has for it.
    NoOperation = 16654,
}

/// The scope of a search, and of a release profile's bases.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum SearchScope {
    BaseObject,
    SingleLevel,
    WholeSubtree,
    /// The subtree without its base object, as OpenLDAP's clients ask for it (draft-sermersheim-ldap-subordinate-scope).
    Subordinates,
}

/// Where a search dereferences aliases (RFC 4511 section 4.5.1.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub enum DerefAliases {
    #[default]
    Never,
    InSearching,
    FindingBase,
    Always,
}

impl DerefAliases {
    pub fn in_searching(self) -> bool {
        matches!(self, DerefAliases::InSearching | DerefAliases::Always)
    }

    pub fn in_finding_base(self) -> bool {
        matches!(self, DerefAliases::FindingBase | DerefAliases::Always)
    }
}

/// What is wrong with a secret or its account, beside the result code (draft-behera-ldap-password-policy section 6.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum PasswordFault {
    PasswordExpired = 0,
    AccountLocked = 1,
    ChangeAfterReset = 2,
    PasswordModNotAllowed = 3,
    MustSupplyOldPassword = 4,
    InsufficientPasswordQuality = 5,
    PasswordTooShort = 6,
    PasswordTooYoung = 7,
    PasswordInHistory = 8,
    PasswordTooLong = 9,
}

/// What a successful bind is warned of (draft-behera-ldap-password-policy section 6.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PasswordWarning {
    /// Seconds until the secret, or its account, ends.
    ExpiresIn(u64),
    /// The secret has expired, and binds so often again.
    GraceLeft(u64),
}

/// How an operation ended: what goes into an LDAPResult.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    pub code: ResultCode,
    /// The matched DN in string form; empty unless the code is one that carries it.
    pub matched_dn: String,
    /// For people. Lower case, no full stop, never a secret and never data of an entry.
    pub message: String,
    /// Where else to ask, with `referral` alone: URLs.
    pub referrals: Vec<String>,
    /// For clients that ask for it; of a bind, known only to who brought the right secret.
    pub password: Option<PasswordFault>,
}

impl Outcome {
    pub fn success() -> Self {
        Self::new(ResultCode::Success, String::new())
    }

    pub fn new(code: ResultCode, message: impl Into<String>) -> Self {
        Self {
            code,
            matched_dn: String::new(),
            message: message.into(),
            referrals: Vec::new(),
            password: None,
        }
    }

    /// The same with what is wrong with a secret.
    pub fn telling(mut self, fault: PasswordFault) -> Self {
        self.password = Some(fault);
        self
    }

    /// Go on at one of these URLs.
    pub fn referral(urls: Vec<String>) -> Self {
        Self {
            referrals: urls,
            ..Self::new(ResultCode::Referral, "")
        }
    }

    pub fn matching(mut self, matched_dn: String) -> Self {
        self.matched_dn = matched_dn;
        self
    }

    pub fn is_success(&self) -> bool {
        self.code == ResultCode::Success
    }
}
