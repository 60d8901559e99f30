//! A schema that grows while the server runs.

use crate::server::{BASE, Place, found, set, uids};
use ldap3::{Ldap, Mod, Scope};
use std::fs;

const WARD: &str = "\
# Wards of a hospital.
attributetype ( 1.3.6.1.4.1.55555.1.1 NAME 'wardName' EQUALITY caseIgnoreMatch
  SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.3.6.1.4.1.55555.1.2 NAME 'wardBeds' EQUALITY integerMatch
  ORDERING integerOrderingMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
objectclass ( 1.3.6.1.4.1.55555.2.1 NAME 'ward' SUP top STRUCTURAL MUST ( cn $ wardName ) MAY wardBeds )
";

/// The files that the configuration names from now on.
fn configure(place: &Place, files: &[(&str, &str)]) {
    let paths: Vec<String> = files
        .iter()
        .map(|(name, text)| {
            let path = place.folder().join(name);
            fs::write(&path, text).unwrap();
            format!("{path:?}")
        })
        .collect();
    let config = format!(
        "[accounts]\nargon2_memory_kib = 64\nargon2_iterations = 1\n[store]\ntail_entries = 4\n[schema]\nfiles = [{}]\n",
        paths.join(", ")
    );
    fs::write(place.data().join("nhsdir.toml"), config).unwrap();
}

async fn add_ward(ldap: &mut Ldap, name: &str, beds: &str) -> u32 {
    let attributes = vec![
        ("objectClass", set(&["ward"])),
        ("cn", set(&[name])),
        ("wardName", set(&[name])),
        ("wardBeds", set(&[beds])),
    ];
    ldap.add(&format!("cn={name},{BASE}"), attributes).await.unwrap().rc
}

async fn names(ldap: &mut Ldap, filter: &str) -> Vec<String> {
    let entries = found(ldap, BASE, Scope::Subtree, filter, &["cn"]).await;
    let mut names: Vec<String> = entries.into_iter().map(|entry| entry.attrs["cn"][0].clone()).collect();
    names.sort();
    names
}

async fn times(ldap: &mut Ldap) -> [String; 3] {
    let wanted = ["createTimestamp", "modifyTimestamp", "entryCSN"];
    let entry = found(ldap, "cn=Subschema", Scope::Base, "(objectClass=subschema)", &wanted)
        .await
        .remove(0);
    wanted.map(|name| entry.attrs[name][0].clone())
}

async fn look_for_wards(ldap: &mut Ldap) {
    for (filter, expected) in [
        ("(wardName=ASH 7)", vec!["Ash 7"]),
        ("(wardName=*h 1*)", vec!["Ash 1", "Ash 10", "Ash 11"]),
        ("(&(objectClass=ward)(wardBeds>=30))", vec!["Ash 10", "Ash 11"]),
        ("(1.3.6.1.4.1.55555.1.2=3)", vec!["Ash 1"]),
        ("(&(wardBeds=*)(!(wardBeds>=3)))", vec!["Ash 0"]),
    ] {
        assert_eq!(names(ldap, filter).await, expected, "{filter}");
    }
    assert_eq!(names(ldap, "(wardName=ash*)").await.len(), 12);
    assert_eq!(names(ldap, "(wardRoom=*)").await, ["Elm"]);
    assert_eq!(
        uids(ldap, "(sn=Jones)").await.len(),
        1,
        "the entries of before are found as before"
    );
}

#[tokio::test]
async fn what_is_added_is_served_at_once_and_after_every_way_to_start() {
    let place = Place::filled();
    configure(&place, &[]);
    let server = place.serve();
    let mut ldap = server.bound("administrator").await;
    let before = times(&mut ldap).await;
    assert_ne!(add_ward(&mut ldap, "Ash 0", "0").await, 0);
    ldap.modify(
        "uid=000000000001,ou=People,o=nhs",
        vec![Mod::Replace("description", set(&["first"]))],
    )
    .await
    .unwrap()
    .success()
    .unwrap();

    configure(&server.place, &[("ward.schema", WARD)]);
    let log = server.reload();
    assert!(log.contains("the schema was read again and is in force"), "{log}");
    assert!(
        log.contains("new_attribute_types=2") && log.contains("new_object_classes=1"),
        "{log}"
    );
    // On the connection of before, under the view that its profile has by now.
    for number in 0..12 {
        let (name, beds) = (format!("Ash {number}"), (number * 3).to_string());
        assert_eq!(add_ward(&mut ldap, &name, &beds).await, 0, "{name}");
    }
    let after = times(&mut ldap).await;
    assert_eq!(after[0], before[0], "it was made when it was made");
    assert!(after[1] > before[1] && after[2] > before[2], "{before:?} {after:?}");
    let status = server.place.succeed(&["status"], "");
    assert!(status.contains(&format!("changed {}", after[1])), "{status}");

    let more = WARD.replace("MAY wardBeds", "MAY ( wardBeds $ description $ wardRoom )");
    let room = "attributetype ( 1.3.6.1.4.1.55555.1.3 NAME 'wardRoom' SUP wardName )\n";
    configure(
        &server.place,
        &[("room.schema", room), ("ward.schema", &format!("{more}\n"))],
    );
    let log = server.reload();
    assert!(log.contains("is in force"), "{log}");
    let attributes = vec![
        ("objectClass", set(&["ward"])),
        ("cn", set(&["Elm"])),
        ("wardName", set(&["Elm"])),
        ("wardRoom", set(&["12b"])),
    ];
    ldap.add(&format!("cn=Elm,{BASE}"), attributes)
        .await
        .unwrap()
        .success()
        .unwrap();
    look_for_wards(&mut ldap).await;

    // From the journal, whose records were written under three schemas; their numbers are others now.
    let server = server.kill().serve();
    look_for_wards(&mut server.bound("reader").await).await;
    let (place, status) = server.stop();
    assert_eq!(status, Some(0));
    place.succeed(&["check"], "");
    place.succeed(&["compact"], "");
    place.succeed(&["check"], "");
    let server = place.serve();
    let mut ldap = server.bound("writer").await;
    look_for_wards(&mut ldap).await;
    assert_eq!(times(&mut ldap).await[0], before[0]);
}

#[tokio::test]
async fn what_would_make_the_data_wrong_is_refused_as_a_whole() {
    let place = Place::filled();
    configure(&place, &[("ward.schema", WARD)]);
    let server = place.serve();
    let mut ldap = server.bound("administrator").await;
    assert_eq!(add_ward(&mut ldap, "Ash 7", "21").await, 0);
    let before = times(&mut ldap).await;
    let extra = "attributetype ( 1.3.6.1.4.1.55555.1.9 NAME 'wardExtra' SUP wardName )\n";
    for (text, expected) in [
        (
            WARD.replace(
                "SYNTAX 1.3.6.1.4.1.1466.115.121.1.27",
                "SYNTAX 1.3.6.1.4.1.1466.115.121.1.36",
            ),
            "ward.schema:4: ",
        ),
        (
            WARD.replace("MUST ( cn $ wardName )", "MUST ( cn $ wardName $ wardBeds )"),
            "ward.schema:6: object class ward requires",
        ),
        (WARD.replace("'ward' SUP", "'ward' SUP ("), "ward.schema:6: "),
    ] {
        configure(&server.place, &[("ward.schema", &format!("{text}{extra}"))]);
        let log = server.reload();
        assert!(
            log.contains("the schema in force stays") && log.contains(expected),
            "{expected}: {log}"
        );
        assert_eq!(times(&mut ldap).await, before);
        let filter = "(|(wardExtra=*)(wardName=ash*))";
        assert_eq!(names(&mut ldap, filter).await, ["Ash 7"]);
        assert_eq!(add_ward(&mut ldap, "Elm", "x").await, 21);
    }
    configure(&server.place, &[]);
    let log = server.reload();
    assert!(
        log.contains("ward.schema:2: attribute type wardName is no longer in the schema files"),
        "{log}"
    );
    fs::remove_file(server.place.folder().join("ward.schema")).unwrap();
    fs::write(
        server.place.data().join("nhsdir.toml"),
        "[schema]\nfiles = [\"/nowhere.schema\"]\n",
    )
    .unwrap();
    let log = server.reload();
    assert!(log.contains("/nowhere.schema"), "{log}");
    look_again(&mut ldap).await;
}

async fn look_again(ldap: &mut Ldap) {
    assert_eq!(names(ldap, "(wardName=ash 7)").await, ["Ash 7"]);
    assert_eq!(add_ward(ldap, "Oak", "3").await, 0);
}
