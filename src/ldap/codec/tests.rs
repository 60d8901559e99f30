//! Requests are decoded as they were meant, within the limits; and as ldap3_proto, a decoder of other people, means them.

use super::super::ber::{put_integer, put_nested, put_octets};
use super::super::frame::{self, FrameLimits};
use super::super::specimen;
use super::*;
use bytes::BytesMut;
use ldap3_proto::LdapCodec;
use ldap3_proto::control::LdapControl;
use ldap3_proto::proto::*;
use std::borrow::Cow;
use tokio_util::codec::{Decoder, Encoder};

fn check(message: &[u8], test: impl FnOnce(Result<Request<'_>, DecodeError>)) {
    let limits = WireLimits::default();
    let frame = frame::next(message, &FrameLimits::new(&limits, true))
        .expect("a sound message")
        .expect("a whole message");
    test(decode(&frame, &limits));
}

fn filter_of(message: &[u8], test: impl FnOnce(Filter<'_>)) {
    check(message, |request| match request.expect("a sound request").operation {
        Operation::Search(search) => test(search.filter),
        operation => panic!("expected a search, found {operation:?}"),
    });
}

fn refused(message: &[u8]) -> Outcome {
    let mut outcome = None;
    check(message, |request| {
        outcome = Some(request.expect_err("a refusal").outcome())
    });
    outcome.expect("check calls the test")
}

fn with_filter(filter: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    specimen::search(1, "o=nhs", 2, &[], filter)
}

#[test]
fn every_request_is_decoded() {
    for message in specimen::every_request() {
        check(&message, |request| {
            assert!(request.is_ok(), "{request:?} of {message:02x?}")
        });
    }
}

#[test]
fn assertion_values_are_any_octets() {
    filter_of(&with_filter(|out| specimen::equality(out, "cn", b"\xff\0")), |filter| {
        assert_eq!(
            filter,
            Filter::Equality {
                attribute: "cn".into(),
                value: Cow::Borrowed(b"\xff\0"),
            }
        );
    });
}

#[test]
fn what_is_not_known_is_undefined_and_not_an_error() {
    filter_of(&with_filter(|out| put_octets(out, 0x8b, b"?")), |filter| {
        assert!(matches!(filter, Filter::Extensible { rule: Some(rule), .. } if rule == "unknown-filter"));
    });
    filter_of(&with_filter(|out| put_octets(out, 0x87, b"c\xffn")), |filter| {
        assert_eq!(
            filter,
            Filter::Present {
                attribute: "c\u{fffd}n".into()
            }
        );
    });
}

#[test]
fn a_bind_takes_any_octets_as_a_secret() {
    check(&specimen::simple_bind(1, "cn=app", b"\0\xff"), |request| {
        let Ok(Request {
            operation: Operation::Bind(bind),
            ..
        }) = request
        else {
            panic!("expected a bind");
        };
        assert!(matches!(bind.authentication, Authentication::Simple(b"\0\xff")));
    });
}

#[test]
fn a_not_holds_one_filter() {
    let two = with_filter(|out| {
        put_nested(out, 0xa2, |out| {
            specimen::present(out, "cn");
            specimen::present(out, "sn");
        });
    });
    assert_eq!(refused(&two).code, ResultCode::ProtocolError);
}

fn nested_not(depth: usize) -> Vec<u8> {
    let mut octets = Vec::new();
    specimen::present(&mut octets, "cn");
    for _ in 0..depth {
        let mut outer = Vec::new();
        put_octets(&mut outer, 0xa2, &octets);
        octets = outer;
    }
    with_filter(|out| out.extend_from_slice(&octets))
}

/// T2, T3, T4: depth, width, controls, attributes.
#[test]
fn limits_hold_and_are_said() {
    let wide = |terms: usize| {
        with_filter(|out| {
            put_nested(out, 0xa1, |out| (0..terms).for_each(|_| specimen::present(out, "cn")));
        })
    };
    let parts =
        |count: usize| with_filter(|out| specimen::substrings(out, "cn", &vec![(0x81, b"a".as_slice()); count]));
    let attributes = |count: usize| specimen::search(1, "", 0, &vec!["cn"; count], |out| specimen::present(out, "cn"));
    let controls = |count: usize| {
        specimen::with_controls(
            1,
            tag::SEARCH_REQUEST,
            |out| specimen::search_body(out, "", 0, &[], |out| specimen::present(out, "cn")),
            |out| (0..count).for_each(|_| specimen::control(out, "1.2.3", false, None)),
        )
    };
    for (within, beyond) in [
        (nested_not(32), nested_not(33)),
        (wide(1023), wide(1024)),
        (parts(1023), parts(1024)),
        (attributes(512), attributes(513)),
        (controls(16), controls(17)),
    ] {
        check(&within, |request| assert!(request.is_ok(), "{request:?}"));
        assert_eq!(refused(&beyond).code, ResultCode::AdminLimitExceeded);
    }
}

#[test]
fn faults_of_content_are_protocol_errors() {
    let search = |change: fn(&mut Vec<u8>)| {
        specimen::message(1, tag::SEARCH_REQUEST, |out| {
            specimen::search_body(out, "o=nhs", 2, &[], |out| specimen::present(out, "cn"));
            change(out);
        })
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        (
            "scope",
            specimen::search(1, "", 4, &[], |out| specimen::present(out, "cn")),
        ),
        ("universal filter tag", with_filter(|out| put_octets(out, 0x04, b"cn"))),
        ("NOT of nothing", with_filter(|out| put_octets(out, 0xa2, b""))),
        ("no substring", with_filter(|out| specimen::substrings(out, "cn", &[]))),
        (
            "substrings out of order",
            with_filter(|out| specimen::substrings(out, "cn", &[(0x82, b"a"), (0x81, b"b")])),
        ),
        (
            "two initials",
            with_filter(|out| specimen::substrings(out, "cn", &[(0x80, b"a"), (0x80, b"b")])),
        ),
        (
            "extensible of nothing",
            with_filter(|out| put_nested(out, 0xa9, |out| put_octets(out, 0x83, b"v"))),
        ),
        ("octets behind", search(|out| put_octets(out, 0x04, b"more"))),
        (
            "base not UTF-8",
            specimen::message(1, tag::DELETE_REQUEST, |out| out.push(0xff)),
        ),
        ("empty bind", specimen::message(1, tag::BIND_REQUEST, |_| {})),
        (
            "modification",
            specimen::message(1, tag::MODIFY_REQUEST, |out| {
                specimen::text(out, "cn=a");
                put_nested(out, ber::SEQUENCE, |out| {
                    put_nested(out, ber::SEQUENCE, |out| {
                        put_integer(out, ber::ENUMERATED, 4);
                        specimen::partial_attribute(out, "sn", &[]);
                    });
                });
            }),
        ),
    ];
    for (what, message) in cases {
        let outcome = refused(&message);
        assert_eq!(outcome.code, ResultCode::ProtocolError, "{what}: {outcome:?}");
        assert!(!outcome.message.is_empty(), "{what}");
    }
}

/// RFC 4511 section 4: trailing components whose tags are not recognised are ignored.
#[test]
fn components_of_later_versions_are_passed_over() {
    let message = specimen::message(1, tag::SEARCH_REQUEST, |out| {
        specimen::search_body(out, "o=nhs", 2, &[], |out| specimen::present(out, "cn"));
        put_octets(out, 0x9e, b"later");
    });
    check(&message, |request| assert!(request.is_ok(), "{request:?}"));
}

/// T5: the paging control with everything that can be wrong.
#[test]
fn paging_controls() {
    let paged = |value: Option<&[u8]>, twice: bool| {
        specimen::with_controls(
            1,
            tag::SEARCH_REQUEST,
            |out| specimen::search_body(out, "o=nhs", 2, &[], |out| specimen::present(out, "cn")),
            |out| {
                for _ in 0..=usize::from(twice) {
                    specimen::control(out, controls::PAGED_RESULTS, true, value);
                }
            },
        )
    };
    for (size, cookie) in [(0, b"".as_slice()), (1, b"c"), (0x7fff_ffff, b"cookie")] {
        check(&paged(Some(&specimen::page(size, cookie)), false), |request| {
            let page = request.expect("a sound request").controls.page.expect("a page");
            assert_eq!((page.size, page.cookie), (size, cookie));
        });
    }
    let whole = specimen::page(5, b"cookie");
    let mut cases = vec![
        paged(None, false),
        paged(Some(b""), false),
        paged(Some(&[0x30, 5, 2, 1, 0xff, 4, 0]), false),
        paged(Some(&[0x30, 4, 4, 0, 4, 0]), false),
        paged(Some(&specimen::page(0x8000_0000, b"")), false),
        paged(Some(&whole), true),
    ];
    cases.extend((0..whole.len()).map(|cut| paged(Some(&whole[..cut]), false)));
    for message in cases {
        assert_eq!(refused(&message).code, ResultCode::ProtocolError);
    }
}

#[test]
fn unknown_critical_controls_are_named() {
    let message = specimen::with_controls(
        1,
        tag::DELETE_REQUEST,
        |out| out.extend_from_slice(b"o=nhs"),
        |out| {
            specimen::control(out, "1.2.3", false, None);
            specimen::control(out, "1.2.4", true, Some(b"value"));
        },
    );
    check(&message, |request| {
        let outcome = {
            let request = request.expect("a sound request");
            request.controls.refusal(&request.operation)
        };
        let outcome = outcome.expect("a refusal");
        assert_eq!(outcome.code, ResultCode::UnavailableCriticalExtension);
        assert!(outcome.message.contains("1.2.4"), "{}", outcome.message);
    });
}

#[test]
fn attribute_descriptions_are_checked() {
    let message = specimen::message(1, tag::ADD_REQUEST, |out| {
        specimen::text(out, "cn=a");
        put_nested(out, ber::SEQUENCE, |out| {
            specimen::partial_attribute(out, "c n", &[b"a"])
        });
    });
    assert_eq!(refused(&message).code, ResultCode::UndefinedAttributeType);
}

fn foreign(operation: LdapOp, controls: Vec<LdapControl>) -> Vec<u8> {
    let mut out = BytesMut::new();
    let message = LdapMsg::new_with_ctrls(77, operation, controls);
    LdapCodec::default().encode(message, &mut out).expect("it encodes");
    out.to_vec()
}

/// What ldap3_proto writes is decoded as it was meant.
#[test]
fn requests_of_ldap3_proto_are_understood() {
    let search = LdapSearchRequest {
        base: "ou=People,o=nhs".to_owned(),
        scope: LdapSearchScope::OneLevel,
        aliases: LdapDerefAliases::Always,
        sizelimit: 100,
        timelimit: 300,
        typesonly: true,
        filter: ldap3_proto::parse_ldap_filter_str("(&(|(cn=smi*t*h)(sn>=A))(!(mail=*))(ou:dn:2.5.13.2:=People))")
            .expect("a filter"),
        attrs: vec!["cn".to_owned(), "mail".to_owned()],
    };
    let page = LdapControl::SimplePagedResults {
        size: 1000,
        cookie: b"\xff".to_vec(),
    };
    check(&foreign(LdapOp::SearchRequest(search), vec![page]), |request| {
        let request = request.expect("a sound request");
        assert_eq!(request.id, MessageId(77));
        let page = request.controls.page.expect("a page");
        assert_eq!((page.size, page.cookie), (1000, b"\xff".as_slice()));
        let Operation::Search(search) = request.operation else {
            panic!("expected a search")
        };
        assert_eq!(
            (search.base, search.scope),
            ("ou=People,o=nhs", SearchScope::SingleLevel)
        );
        assert_eq!(
            (search.size_limit, search.time_limit_seconds, search.types_only),
            (100, 300, true)
        );
        assert_eq!(search.attributes.as_slice(), ["cn", "mail"]);
        let expected = Filter::parse("(&(|(cn=smi*t*h)(sn>=A))(!(mail=*))(ou:dn:2.5.13.2:=People))");
        assert_eq!(search.filter, expected.expect("a filter"));
    });
}

/// What this room writes is decoded by ldap3_proto as it was meant.
#[test]
fn answers_are_understood_by_ldap3_proto() {
    use super::super::encode::{self, Extra};
    let mut out = Vec::new();
    encode::entry_with(&mut out, MessageId(5), b"cn=a,o=nhs", |out| {
        specimen::partial_attribute(out, "cn", &[b"a"]);
        specimen::partial_attribute(out, "photo", &[b"\xff", &[b'x'; 300]]);
    });
    let extra = Extra {
        page: Some((b"cookie", 7)),
        ..Extra::default()
    };
    let outcome = Outcome::new(ResultCode::NoSuchObject, "no such entry").matching("o=nhs".to_owned());
    encode::result(&mut out, MessageId(5), tag::SEARCH_RESULT_DONE, &outcome, extra);
    encode::notice_of_disconnection(&mut out, ResultCode::Unavailable, "stopping");
    let mut input = BytesMut::from(out.as_slice());
    let mut read = || LdapCodec::default().decode(&mut input).expect("sound").expect("whole");

    let entry = read();
    let LdapOp::SearchResultEntry(found) = entry.op else {
        panic!("expected an entry, found {entry:?}")
    };
    assert_eq!((entry.msgid, found.dn.as_str()), (5, "cn=a,o=nhs"));
    assert_eq!(found.attributes[1].vals, vec![b"\xff".to_vec(), vec![b'x'; 300]]);

    let done = read();
    let LdapOp::SearchResultDone(result) = &done.op else {
        panic!("expected the end, found {done:?}")
    };
    assert_eq!(result.code, LdapResultCode::NoSuchObject);
    assert_eq!(
        (result.matcheddn.as_str(), result.message.as_str()),
        ("o=nhs", "no such entry")
    );
    let page = LdapControl::SimplePagedResults {
        size: 7,
        cookie: b"cookie".to_vec(),
    };
    assert_eq!(done.ctrl, vec![page]);

    let notice = read();
    let LdapOp::ExtendedResponse(notice) = notice.op else {
        panic!("expected a notice")
    };
    assert_eq!(notice.name.as_deref(), Some(encode::NOTICE_OF_DISCONNECTION));
}

#[test]
fn an_entry_of_no_attributes_is_a_protocol_error() {
    let message = specimen::message(1, tag::ADD_REQUEST, |out| {
        specimen::text(out, "cn=a,o=nhs");
        put_nested(out, ber::SEQUENCE, |_| {});
    });
    let outcome = refused(&message);
    assert_eq!(outcome.code, ResultCode::ProtocolError);
    assert!(outcome.message.contains("at least one"), "{}", outcome.message);
}

/// Text is prepared character by character before it is compared: what is asserted is short, whatever it is compared with.
#[test]
fn long_assertions_are_refused() {
    let limits = WireLimits {
        filter_octets: 1000,
        ..WireLimits::default()
    };
    let code = |message: &[u8]| {
        let frame = frame::next(message, &FrameLimits::new(&limits, true)).unwrap().unwrap();
        decode(&frame, &limits).err().map(|error| error.outcome().code)
    };
    let (short, long) = (vec![b'x'; 900], vec![b'x'; 1100]);
    let search = |value: &[u8]| specimen::search(1, "o=nhs", 2, &[], |out| specimen::equality(out, "cn", value));
    let half = &long[..600];
    let two = specimen::search(1, "o=nhs", 2, &[], |out| {
        ber::put_nested(out, 0xa0, |out| {
            specimen::equality(out, "cn", half);
            specimen::equality(out, "sn", half);
        });
    });
    let compare = |value: &[u8]| {
        specimen::message(1, tag::COMPARE_REQUEST, |out| {
            specimen::text(out, "o=nhs");
            ber::put_nested(out, ber::SEQUENCE, |out| {
                specimen::text(out, "o");
                ber::put_octets(out, ber::OCTET_STRING, value);
            });
        })
    };
    let asserted = |value: &[u8]| {
        let mut filter = Vec::new();
        specimen::equality(&mut filter, "cn", value);
        specimen::with_controls(
            1,
            tag::DELETE_REQUEST,
            |out| out.extend_from_slice(b"o=nhs"),
            |out| specimen::control(out, "1.3.6.1.1.12", true, Some(&filter)),
        )
    };
    assert_eq!(
        [code(&search(&short)), code(&compare(&short)), code(&asserted(&short))],
        [None; 3]
    );
    for refused in [search(&long), two, compare(&long), asserted(&long)] {
        assert_eq!(code(&refused), Some(ResultCode::AdminLimitExceeded));
    }
}
