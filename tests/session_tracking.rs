//! Session tracking (draft-wahl-ldap-session): the audit says whom an application served when it asked.

use crate::server::{BASE, Place, found};
use ldap3::Scope;
use ldap3::controls::RawControl;
use serde_json::{Value, json};

const OID: &str = "1.3.6.1.4.1.21008.108.63.1";
const USER_NAME: &str = "1.3.6.1.4.1.21008.108.63.1.3";

fn tracking(fields: &[&str]) -> RawControl {
    let texts: Vec<u8> = fields
        .iter()
        .flat_map(|text| [&[0x04, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat())
        .collect();
    RawControl {
        ctype: OID.to_owned(),
        crit: false,
        val: Some([&[0x30, u8::try_from(texts.len()).unwrap()], &texts[..]].concat()),
    }
}

fn user(name: &str) -> RawControl {
    tracking(&["192.0.2.7", "ward.example", USER_NAME, name])
}

fn told(name: &str) -> Value {
    json!({"ip": "192.0.2.7", "name": "ward.example", "format": USER_NAME, "id": name})
}

/// Of one request each: neither a bind's nor a search's is told of what comes after it.
#[tokio::test]
async fn the_audit_says_what_a_request_belongs_to() {
    let place = Place::filled();
    let secret = place.account("app", "reader");
    let server = place.serve();
    let mut ldap = server.connect().await;
    // The second bind finds its secret remembered.
    for nurse in ["ann", "ben"] {
        let bound = ldap
            .with_controls(user(nurse))
            .simple_bind("app", &secret)
            .await
            .unwrap();
        assert_eq!(bound.rc, 0);
    }
    let search = |filter| (BASE, Scope::Base, filter, vec!["1.1"]);
    let malformed = tracking(&["192.0.2.7", "ward.example", "RADIUS", "x"]);
    let asked = vec![user("\"zo\u{eb}\"\n"), malformed, user("finn")];
    let (base, scope, filter, names) = search("(o=*)");
    let answer = ldap
        .with_controls(asked)
        .search(base, scope, filter, names)
        .await
        .unwrap();
    assert_eq!((answer.0.len(), answer.1.rc), (1, 0));
    assert_eq!(found(&mut ldap, BASE, Scope::Base, "(o=n*)", &["1.1"]).await.len(), 1);
    let answer = ldap.with_controls(user("gus")).compare(BASE, "o", "nhs").await.unwrap();
    assert!(answer.0.ctrls.is_empty());
    let root = found(&mut ldap, "", Scope::Base, "(objectClass=*)", &["supportedControl"]).await;
    assert!(root[0].attrs["supportedControl"].contains(&OID.to_owned()));

    let (place, _) = server.stop();
    let audit = std::fs::read_to_string(place.data().join("audit/00000001.jsonl")).unwrap();
    let lines: Vec<Value> = audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |name: &str, value: &str| -> Vec<Value> {
        let lines = lines
            .iter()
            .filter(|line| line["account"] == "app" && line[name] == value);
        lines.map(|line| line["sessions"].clone()).collect()
    };
    assert_eq!(of("act", "bind"), [json!([told("ann")]), json!([told("ben")])]);
    assert_eq!(of("filter", "(o=*)"), [json!([told("\"zo\u{eb}\"\n"), told("finn")])]);
    assert_eq!(of("filter", "(o=n*)"), [Value::Null]);
    assert_eq!(of("act", "compare"), [json!([told("gus")])]);
}
