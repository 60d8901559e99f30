//! References that follow and values that are unique, as the configuration asks.

use crate::server::{Place, Server, found};
use ldap3::{Ldap, Mod, Scope};
use std::collections::HashSet;

const CONFIG: &str = r#"
[integrity]
references = ["member", "uniqueMember", "manager", "seeAlso"]
unique = [{ attribute = "uid" }, { attribute = "mail", base = "ou=People,o=nhs" }]
"#;

const ENTRIES: &str = "\
dn: ou=Team,ou=People,o=nhs\nobjectClass: organizationalUnit\nou: Team\n\n\
dn: uid=a,ou=Team,ou=People,o=nhs\nobjectClass: inetOrgPerson\nuid: a\ncn: A\nsn: A\nmail: a@nhs.example\nmanager: uid=b,ou=Team,ou=People,o=nhs\n\n\
dn: uid=b,ou=Team,ou=People,o=nhs\nobjectClass: inetOrgPerson\nuid: b\ncn: B\nsn: B\nmail: b@nhs.example\n\n\
dn: cn=g,o=nhs\nobjectClass: groupOfNames\ncn: g\nmember: UID=A, ou=team,ou=People,o=nhs\nmember: uid=b,ou=Team,ou=People,o=nhs\n\n\
dn: cn=u,o=nhs\nobjectClass: groupOfUniqueNames\ncn: u\nuniqueMember: uid=b,ou=Team,ou=People,o=nhs#'01'B\n\n\
dn: cn=d,o=nhs\nobjectClass: device\ncn: d\nseeAlso: uid=b,ou=Team,ou=People,o=nhs\n\n";

async fn directory() -> (Server, Ldap) {
    let place = Place::empty();
    place.succeed(&["import", "-"], ENTRIES);
    let server = place.with(CONFIG).serve();
    let ldap = server.bound("writer").await;
    (server, ldap)
}

async fn values(ldap: &mut Ldap, dn: &str, attribute: &str) -> Vec<String> {
    let mut entries = found(ldap, dn, Scope::Base, "(objectClass=*)", &[attribute]).await;
    entries.remove(0).attrs.remove(attribute).unwrap_or_default()
}

async fn renamed(ldap: &mut Ldap, dn: &str, rdn: &str, superior: Option<&str>) -> u32 {
    ldap.modifydn(dn, rdn, true, superior).await.unwrap().rc
}

#[tokio::test]
async fn references_follow_a_rename_and_end_with_a_delete() {
    let (_server, mut ldap) = directory().await;
    let team = "ou=Team,ou=People,o=nhs";
    // A subtree moves: those who refer from outside and from inside follow, in one change.
    assert_eq!(renamed(&mut ldap, team, "ou=Crew", Some("o=nhs")).await, 0);
    let (a, b) = ("uid=a,ou=Crew,o=nhs", "uid=b,ou=Crew,o=nhs");
    assert_eq!(
        values(&mut ldap, "cn=g,o=nhs", "member").await,
        ["uid=A,ou=Crew,o=nhs", b]
    );
    assert_eq!(
        values(&mut ldap, "cn=u,o=nhs", "uniqueMember").await,
        [format!("{b}#'01'B")]
    );
    assert_eq!(values(&mut ldap, a, "manager").await, [b]);
    let by = values(&mut ldap, "cn=g,o=nhs", "modifiersName").await;
    assert_eq!(by, ["cn=writer,ou=Applications,o=nhs"]);
    // One entry gets another name.
    assert_eq!(renamed(&mut ldap, b, "uid=c", None).await, 0);
    let c = "uid=c,ou=Crew,o=nhs";
    assert_eq!(values(&mut ldap, a, "manager").await, [c]);
    // It is deleted: nothing leads to it but the last member of a group, which has to have one.
    assert_eq!(ldap.delete(c).await.unwrap().rc, 0);
    assert_eq!(values(&mut ldap, a, "manager").await, [] as [&str; 0]);
    assert_eq!(values(&mut ldap, "cn=d,o=nhs", "seeAlso").await, [] as [&str; 0]);
    assert_eq!(values(&mut ldap, "cn=g,o=nhs", "member").await, ["uid=A,ou=Crew,o=nhs"]);
    assert_eq!(
        values(&mut ldap, "cn=u,o=nhs", "uniqueMember").await,
        [format!("{c}#'01'B")]
    );
}

#[tokio::test]
async fn a_value_that_is_to_be_unique_is_given_once() {
    let (_server, mut ldap) = directory().await;
    let a = "uid=a,ou=Team,ou=People,o=nhs";
    let one = |value| HashSet::from([value]);
    let taken = ldap
        .modify(a, vec![Mod::Add("mail", one("B@nhs.example"))])
        .await
        .unwrap();
    assert_eq!(taken.rc, 19);
    assert!(
        taken.text.contains("mail") && !taken.text.contains("uid="),
        "{}",
        taken.text
    );
    let own = ldap
        .modify(a, vec![Mod::Replace("mail", one("A@nhs.example"))])
        .await
        .unwrap();
    assert_eq!(own.rc, 0, "{}", own.text);
    let person = |mail: &'static str| {
        vec![
            ("objectClass", one("inetOrgPerson")),
            ("cn", one("X")),
            ("sn", one("X")),
            ("mail", one(mail)),
        ]
    };
    assert_eq!(ldap.add("uid=A,o=nhs", person("x@nhs.example")).await.unwrap().rc, 19);
    // Outside of the base the same mail may be there again, but not come in.
    assert_eq!(ldap.add("uid=x,o=nhs", person("a@nhs.example")).await.unwrap().rc, 0);
    assert_eq!(
        renamed(&mut ldap, "uid=x,o=nhs", "uid=x", Some("ou=People,o=nhs")).await,
        19
    );
    assert_eq!(renamed(&mut ldap, "uid=x,o=nhs", "uid=b", None).await, 19);
    assert_eq!(renamed(&mut ldap, "ou=Team,ou=People,o=nhs", "ou=Crew", None).await, 0);
    assert_eq!(ldap.delete("uid=b,ou=Crew,ou=People,o=nhs").await.unwrap().rc, 0);
    assert_eq!(renamed(&mut ldap, "uid=x,o=nhs", "uid=b", None).await, 0);
    // However many have it outside of the base.
    for n in 0..20 {
        let dn = format!("cn=n{n},o=nhs");
        assert_eq!(ldap.add(&dn, person("many@nhs.example")).await.unwrap().rc, 0, "{dn}");
    }
    let inside = |n| format!("cn={n},ou=People,o=nhs");
    assert_eq!(ldap.add(&inside(1), person("many@nhs.example")).await.unwrap().rc, 0);
    assert_eq!(ldap.add(&inside(2), person("many@nhs.example")).await.unwrap().rc, 19);
}

#[test]
fn what_cannot_be_kept_is_said_at_start() {
    for keys in [
        "references = [\"cn\"]",
        "unique = [{ attribute = \"nosuch\" }]",
        "placeholder = \"nobody\"",
        "unique = [{ attribute = \"userPassword\" }]",
    ] {
        let place = Place::empty();
        std::fs::write(place.data().join("nhsdir.toml"), format!("[integrity]\n{keys}\n")).unwrap();
        let line = place.refuse(2, &["serve", "--listen", "127.0.0.1:0"]);
        assert!(line.contains("integrity."), "{line}");
    }
}

/// What is loaded in bulk is asked too, and told by file and line.
#[tokio::test]
async fn an_import_says_where_a_value_came_before() {
    let (server, _) = directory().await;
    let (place, _) = server.stop();
    let file = place.folder().join("more.ldif");
    let person = |cn: &str, uid: &str| {
        format!("dn: cn={cn},ou=People,o=nhs\nobjectClass: inetOrgPerson\ncn: {cn}\nsn: X\nuid: {uid}\n\n")
    };
    std::fs::write(
        &file,
        person("one", "new") + &person("two", "NEW") + &person("three", "a"),
    )
    .unwrap();
    let output = place.run(&["import", file.to_str().unwrap()], "");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    let file = file.display();
    for line in [
        format!("{file}:7: cn=two,ou=People,o=nhs: uid is to be unique, and a value of it is at {file}:1 already"),
        format!(
            "{file}:13: cn=three,ou=People,o=nhs: uid is to be unique, and a value of it is in the directory already"
        ),
    ] {
        assert!(told.lines().any(|told| told == line), "expected {line:?} in\n{told}");
    }
    assert!(!told.contains("cn=one"), "{told}");
}
