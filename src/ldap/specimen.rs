//! Requests as a client writes them, and seeded random numbers, for the tests of this room.

use super::ber::{BOOLEAN, ENUMERATED, INTEGER, OCTET_STRING, SEQUENCE, SET, put_integer, put_nested, put_octets};
use super::codec::tag;
use super::frame::CONTROLS;

/// A message with an operation of this tag; `body` writes its contents.
pub fn message(id: u32, operation: u8, body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    with_controls(id, operation, body, |_| {})
}

/// The same with controls; `controls` writes each with [`control`].
pub fn with_controls(
    id: u32,
    operation: u8,
    body: impl FnOnce(&mut Vec<u8>),
    controls: impl FnOnce(&mut Vec<u8>),
) -> Vec<u8> {
    let mut out = Vec::new();
    put_nested(&mut out, SEQUENCE, |out| {
        put_integer(out, INTEGER, id);
        if operation & super::ber::CONSTRUCTED == 0 {
            let mut contents = Vec::new();
            body(&mut contents);
            put_octets(out, operation, &contents);
        } else {
            put_nested(out, operation, body);
        }
        let mut list = Vec::new();
        controls(&mut list);
        if !list.is_empty() {
            put_octets(out, CONTROLS, &list);
        }
    });
    out
}

pub fn control(out: &mut Vec<u8>, oid: &str, critical: bool, value: Option<&[u8]>) {
    put_nested(out, SEQUENCE, |out| {
        text(out, oid);
        if critical {
            boolean(out, true);
        }
        if let Some(value) = value {
            put_octets(out, OCTET_STRING, value);
        }
    });
}

/// The value of a paged results control.
pub fn page(size: u32, cookie: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_nested(&mut out, SEQUENCE, |out| {
        put_integer(out, INTEGER, size);
        put_octets(out, OCTET_STRING, cookie);
    });
    out
}

pub fn text(out: &mut Vec<u8>, text: &str) {
    put_octets(out, OCTET_STRING, text.as_bytes());
}

pub fn boolean(out: &mut Vec<u8>, value: bool) {
    put_octets(out, BOOLEAN, &[if value { 0xff } else { 0 }]);
}

pub fn simple_bind(id: u32, name: &str, secret: &[u8]) -> Vec<u8> {
    message(id, tag::BIND_REQUEST, |out| {
        put_integer(out, INTEGER, 3);
        text(out, name);
        put_octets(out, 0x80, secret);
    })
}

pub fn sasl_bind(id: u32, mechanism: &str, credentials: Option<&[u8]>) -> Vec<u8> {
    message(id, tag::BIND_REQUEST, |out| {
        put_integer(out, INTEGER, 3);
        text(out, "");
        put_nested(out, 0xa3, |out| {
            text(out, mechanism);
            if let Some(credentials) = credentials {
                put_octets(out, OCTET_STRING, credentials);
            }
        });
    })
}

pub fn unbind(id: u32) -> Vec<u8> {
    message(id, tag::UNBIND_REQUEST, |_| {})
}

pub fn abandon(id: u32, abandoned: u32) -> Vec<u8> {
    message(id, tag::ABANDON_REQUEST, |out| {
        let mut integer = Vec::new();
        put_integer(&mut integer, INTEGER, abandoned);
        out.extend_from_slice(&integer[2..]);
    })
}

pub fn extended(id: u32, name: &str, value: Option<&[u8]>) -> Vec<u8> {
    message(id, tag::EXTENDED_REQUEST, |out| {
        put_octets(out, 0x80, name.as_bytes());
        if let Some(value) = value {
            put_octets(out, 0x81, value);
        }
    })
}

/// The contents of a search request; `filter` writes one filter.
pub fn search_body(out: &mut Vec<u8>, base: &str, scope: u32, attributes: &[&str], filter: impl FnOnce(&mut Vec<u8>)) {
    text(out, base);
    put_integer(out, ENUMERATED, scope);
    put_integer(out, ENUMERATED, 0);
    put_integer(out, INTEGER, 0);
    put_integer(out, INTEGER, 0);
    boolean(out, false);
    filter(out);
    put_nested(out, SEQUENCE, |out| {
        for attribute in attributes {
            text(out, attribute);
        }
    });
}

pub fn search(id: u32, base: &str, scope: u32, attributes: &[&str], filter: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    message(id, tag::SEARCH_REQUEST, |out| {
        search_body(out, base, scope, attributes, filter)
    })
}

pub fn present(out: &mut Vec<u8>, attribute: &str) {
    put_octets(out, 0x87, attribute.as_bytes());
}

pub fn equality(out: &mut Vec<u8>, attribute: &str, value: &[u8]) {
    put_nested(out, 0xa3, |out| {
        text(out, attribute);
        put_octets(out, OCTET_STRING, value);
    });
}

/// `parts` are tags 0x80, 0x81, 0x82 and octets.
pub fn substrings(out: &mut Vec<u8>, attribute: &str, parts: &[(u8, &[u8])]) {
    put_nested(out, 0xa4, |out| {
        text(out, attribute);
        put_nested(out, SEQUENCE, |out| {
            for (tag, octets) in parts {
                put_octets(out, *tag, octets);
            }
        });
    });
}

pub fn partial_attribute(out: &mut Vec<u8>, name: &str, values: &[&[u8]]) {
    put_nested(out, SEQUENCE, |out| {
        text(out, name);
        put_nested(out, SET, |out| {
            for value in values {
                put_octets(out, OCTET_STRING, value);
            }
        });
    });
}

/// One of every request a client may send.
pub fn every_request() -> Vec<Vec<u8>> {
    let filter = |out: &mut Vec<u8>| {
        put_nested(out, 0xa0, |out| {
            substrings(out, "cn", &[(0x80, b"smi"), (0x81, b"t"), (0x82, b"h")]);
            put_nested(out, 0xa1, |out| {
                equality(out, "sn", b"Smith");
                put_nested(out, 0xa2, |out| present(out, "mail"));
            });
            put_nested(out, 0xa9, |out| {
                put_octets(out, 0x81, b"caseIgnoreMatch");
                put_octets(out, 0x82, b"ou");
                put_octets(out, 0x83, b"People");
                put_octets(out, 0x84, &[0xff]);
            });
        });
    };
    vec![
        simple_bind(1, "cn=app,ou=Applications,o=nhs", b"a secret \xff of any octets"),
        sasl_bind(2, "EXTERNAL", Some(b"")),
        search(3, "o=nhs", 2, &["cn", "mail", "*", "+"], filter),
        with_controls(
            4,
            tag::SEARCH_REQUEST,
            |out| search_body(out, "o=nhs", 1, &[], |out| present(out, "objectClass")),
            |out| {
                control(out, super::controls::PAGED_RESULTS, true, Some(&page(500, b"cookie")));
                control(out, super::controls::MANAGE_DSA_IT, false, None);
            },
        ),
        message(5, tag::ADD_REQUEST, |out| {
            text(out, "cn=a,o=nhs");
            put_nested(out, SEQUENCE, |out| {
                partial_attribute(out, "objectClass", &[b"person"]);
                partial_attribute(out, "jpegPhoto;binary", &[b"\0\xff", b""]);
            });
        }),
        message(6, tag::MODIFY_REQUEST, |out| {
            text(out, "cn=a,o=nhs");
            put_nested(out, SEQUENCE, |out| {
                put_nested(out, SEQUENCE, |out| {
                    put_integer(out, ENUMERATED, 2);
                    partial_attribute(out, "sn", &[b"Jones"]);
                });
            });
        }),
        message(7, tag::DELETE_REQUEST, |out| out.extend_from_slice(b"cn=a,o=nhs")),
        message(8, tag::MODIFY_DN_REQUEST, |out| {
            text(out, "cn=a,o=nhs");
            text(out, "cn=b");
            boolean(out, true);
            put_octets(out, 0x80, b"ou=People,o=nhs");
        }),
        message(9, tag::COMPARE_REQUEST, |out| {
            text(out, "cn=a,o=nhs");
            put_nested(out, SEQUENCE, |out| {
                text(out, "sn");
                text(out, "Jones");
            });
        }),
        abandon(10, 3),
        extended(11, super::extended::WHO_AM_I, None),
        unbind(12),
    ]
}
