//! The table of who may ask what: state times operation.

use super::super::codec;
use super::super::controls;
use super::super::frame::{self, FrameLimits};
use super::super::limits::WireLimits;
use super::super::specimen;
use super::*;
use crate::access::View;
use crate::account::{Account, AccountFacts, Identity, Role, SecretTerm};
use crate::model::{Address, Source};
use crate::schema::NormalizedDn;
use ResultCode::*;

/// What an admission comes to, in short.
#[derive(PartialEq, Eq, Debug)]
enum Said {
    Bound,
    Facts,
    Open,
    Silent,
    End,
    Refused(ResultCode),
}

fn session() -> Session {
    let facts = AccountFacts {
        key: NormalizedDn::default(),
        dn: "cn=app,ou=Applications,o=nhs".to_owned(),
        name: "app".to_owned(),
        mails: Vec::new(),
        role: Role::Reader,
        profile: None,
        disabled: false,
        expires: None,
        certificates: Vec::new(),
        general: false,
    };
    let account = Account::new(facts);
    let identity = Identity {
        account: Arc::new(account),
        bound_as: "app".to_owned(),
        secret: SecretTerm::NONE,
        warning: None,
    };
    let source = Source {
        address: Address::Local {
            uid: 1,
            gid: 1,
            pid: None,
        },
        tls: None,
        connection: 1,
        sessions: Vec::new(),
    };
    Session::new(identity, Arc::new(source), Arc::new(View::default()))
}

fn say(state: &SessionState, message: &[u8]) -> Said {
    let limits = WireLimits::default();
    let frame = frame::next(message, &FrameLimits::new(&limits, true)).unwrap().unwrap();
    let request = codec::decode(&frame, &limits).unwrap();
    match state.admit(&request) {
        Admission::Bound(_) => Said::Bound,
        Admission::ProtocolFacts => Said::Facts,
        Admission::Open => Said::Open,
        Admission::Silent => Said::Silent,
        Admission::End => Said::End,
        Admission::Refused(outcome) => {
            assert!(!outcome.message.is_empty());
            Said::Refused(outcome.code)
        }
    }
}

fn states() -> [SessionState; 4] {
    let plain = SessionState::new(Transport::Plain);
    let anonymous = SessionState::new(Transport::Tls);
    let mut sasl = SessionState::new(Transport::Tls);
    sasl.sasl_in_progress();
    let mut bound = SessionState::new(Transport::Tls);
    bound.bound(session());
    [plain, anonymous, sasl, bound]
}

#[test]
fn every_state_times_every_operation() {
    use Said::{Bound, End, Facts, Open, Refused, Silent};
    let root = specimen::search(1, "", 0, &[], |out| specimen::present(out, "objectClass"));
    let below_root = specimen::search(1, "", 2, &[], |out| specimen::present(out, "objectClass"));
    let subschema = specimen::search(1, "cn=Subschema", 0, &[], |out| specimen::present(out, "objectClass"));
    let secret = || Refused(StrongerAuthRequired);
    let clear = || Refused(ConfidentialityRequired);
    let midway = || Refused(OperationsError);
    let mut table: Vec<(&str, Vec<u8>, [Said; 4])> = vec![
        ("root DSE", root, [clear(), Facts, midway(), Bound]),
        ("below the root", below_root, [clear(), secret(), midway(), Bound]),
        ("subschema", subschema, [clear(), secret(), midway(), Bound]),
        (
            "who am I",
            specimen::extended(1, extended::WHO_AM_I, None),
            [clear(), secret(), midway(), Bound],
        ),
        (
            "password modify",
            specimen::extended(1, extended::PASSWORD_MODIFY, None),
            [clear(), secret(), midway(), Bound],
        ),
        (
            "unknown extension",
            specimen::extended(1, "1.2.3", None),
            [clear(), Open, midway(), Bound],
        ),
        (
            "StartTLS",
            specimen::extended(1, extended::START_TLS, None),
            [Open, Refused(OperationsError), midway(), Refused(OperationsError)],
        ),
        (
            "bind",
            specimen::simple_bind(1, "cn=app", b"secret"),
            [clear(), Open, Open, Open],
        ),
        (
            "anonymous bind",
            specimen::simple_bind(1, "", b""),
            [clear(), Open, Open, Open],
        ),
        ("unbind", specimen::unbind(1), [End, End, End, End]),
        ("abandon", specimen::abandon(1, 2), [Silent, Silent, Silent, Bound]),
    ];
    for message in specimen::every_request() {
        // Add, modify, delete, modify DN, compare, and searches of the directory.
        if [0x63, 0x68, 0x66, 0x4a, 0x6c, 0x6e].contains(&message[if message[1] & 0x80 == 0 { 5 } else { 6 }]) {
            table.push(("of the directory", message, [clear(), secret(), midway(), Bound]));
        }
    }
    assert_eq!(table.len(), 11 + 7);
    for (name, message, expected) in table {
        for (state, expected) in states().iter().zip(expected) {
            let standing = state.is_bound();
            assert_eq!(
                say(state, &message),
                expected,
                "{name}, bound: {standing}, {:?}",
                state.transport
            );
        }
    }
}

#[test]
fn unknown_critical_controls_are_refused_but_on_unbind_and_abandon() {
    let bound = &states()[3];
    let with = |operation, oid, body: &dyn Fn(&mut Vec<u8>)| {
        specimen::with_controls(1, operation, body, |out| {
            let value = (oid == controls::PAGED_RESULTS).then(|| specimen::page(1, b""));
            specimen::control(out, oid, true, value.as_deref());
        })
    };
    let name: &dyn Fn(&mut Vec<u8>) = &|out| out.extend_from_slice(b"cn=a,o=nhs");
    let delete = codec::tag::DELETE_REQUEST;
    let refused = Said::Refused(UnavailableCriticalExtension);
    assert_eq!(say(bound, &with(delete, "1.2.3", name)), refused);
    assert_eq!(say(bound, &with(delete, controls::PAGED_RESULTS, name)), refused);
    assert_eq!(say(bound, &with(delete, controls::MANAGE_DSA_IT, name)), Said::Bound);
    assert_eq!(
        say(bound, &with(codec::tag::UNBIND_REQUEST, "1.2.3", &|_| {})),
        Said::End
    );
    assert_eq!(
        say(bound, &with(codec::tag::ABANDON_REQUEST, "1.2.3", &|out| out.push(2))),
        Said::Bound
    );
}

/// T12: whatever comes of a bind, the identity before it is gone.
#[test]
fn a_bind_takes_the_old_identity_away() {
    let search = specimen::search(1, "o=nhs", 2, &[], |out| specimen::present(out, "cn"));
    let mut state = states()[3].clone();
    assert_eq!(say(&state, &search), Said::Bound);
    state.forget();
    assert_eq!(say(&state, &search), Said::Refused(StrongerAuthRequired));
    state.sasl_in_progress();
    assert_eq!(say(&state, &search), Said::Refused(OperationsError));
}

#[test]
fn a_unix_socket_needs_a_bind_too_and_takes_tls_where_there_is_a_certificate() {
    let start_tls = specimen::extended(1, extended::START_TLS, None);
    let search = specimen::search(1, "o=nhs", 2, &[], |out| specimen::present(out, "cn"));
    for (transport, said) in [
        (Transport::Local, Said::Open),
        (Transport::Within, Said::Refused(ProtocolError)),
    ] {
        let state = SessionState::new(transport);
        assert_eq!(say(&state, &start_tls), said);
        assert_eq!(say(&state, &search), Said::Refused(StrongerAuthRequired));
    }
}
