//! Entries with a meaning of their own, over real sockets: referral objects (RFC 3296), aliases (RFC 4512 section 2.6),
//! subentries (RFC 3672). `tests/interop/information_model.py` asks slapd the same and more.

use crate::server::{ANN, BASE, BOB, Place, found, search_code, set, uids};
use ldap3::controls::{Assertion, Control, ManageDsaIt, PagedResults, PostRead, RawControl, ReadEntryResp};
use ldap3::{DerefAliases, Ldap, Mod, Scope, SearchEntry, SearchOptions};

const REFERRAL: u32 = 10;
const NO_SUCH_OBJECT: u32 = 32;
const INVALID_SYNTAX: u32 = 21;
const ALIAS_PROBLEM: u32 = 33;
const OBJECT_CLASS_VIOLATION: u32 = 65;
const AFFECTS_MULTIPLE_DSAS: u32 = 71;

const AWAY: &str = "ou=Away,o=nhs";

async fn add_referral(writer: &mut Ldap) {
    let object = vec![
        ("objectClass", set(&["referral", "extensibleObject"])),
        ("ou", set(&["Away"])),
        ("ref", set(&["ldap://there/ou=Here,dc=there"])),
    ];
    writer
        .with_controls(ManageDsaIt)
        .add(AWAY, object)
        .await
        .unwrap()
        .success()
        .unwrap();
}

/// The names and the references of a search, each ascending.
async fn given(ldap: &mut Ldap, base: &str, scope: Scope, filter: &str) -> (Vec<String>, Vec<String>) {
    let search = ldap.search(base, scope, filter, vec!["1.1"]).await.unwrap();
    let (entries, result) = search.success().unwrap();
    let mut names: Vec<String> = entries
        .into_iter()
        .map(|entry| SearchEntry::construct(entry).dn)
        .collect();
    let mut references = result.refs;
    names.sort();
    references.sort();
    (names, references)
}

/// The writer keeps in mind at which names there is no referral object, until there is one.
#[tokio::test]
async fn a_name_that_was_none_becomes_a_referral_object() {
    let server = Place::filled().serve();
    let mut writer = server.bound("writer").await;
    let below = format!("cn=x,{AWAY}");
    let unit = vec![("objectClass", set(&["organizationalUnit"])), ("ou", set(&["Away"]))];
    let device = vec![("objectClass", set(&["device"])), ("cn", set(&["x"]))];
    let described = || vec![Mod::Replace("description", set(&["New"]))];
    assert_eq!(writer.add(&below, device.clone()).await.unwrap().rc, NO_SUCH_OBJECT);
    writer.add(AWAY, unit).await.unwrap().success().unwrap();
    writer.add(&below, device.clone()).await.unwrap().success().unwrap();
    writer.modify(&below, described()).await.unwrap().success().unwrap();
    for dn in [&below, AWAY] {
        writer.delete(dn).await.unwrap().success().unwrap();
    }
    add_referral(&mut writer).await;
    assert_eq!(writer.add(&below, device.clone()).await.unwrap().rc, REFERRAL);
    assert_eq!(writer.modify(&below, described()).await.unwrap().rc, REFERRAL);
    writer
        .with_controls(ManageDsaIt)
        .delete(AWAY)
        .await
        .unwrap()
        .success()
        .unwrap();
    assert_eq!(writer.add(&below, device).await.unwrap().rc, NO_SUCH_OBJECT);
}

#[tokio::test]
async fn rfc_3296_5_2_what_lies_at_or_below_a_referral_object_is_elsewhere() {
    let server = Place::filled().serve();
    let mut writer = server.bound("writer").await;
    add_referral(&mut writer).await;
    let below = format!("cn=x,{AWAY}");
    let title = || vec![Mod::Replace("title", set(&["New"]))];
    for (dn, url) in [
        (AWAY, "ldap://there/ou=Here,dc=there"),
        (&below, "ldap://there/cn=x,ou=Here,dc=there"),
    ] {
        let answers = [
            writer.modify(dn, title()).await.unwrap(),
            writer.delete(dn).await.unwrap(),
            writer.compare(dn, "ou", "Away").await.unwrap().0,
            writer.modifydn(dn, "cn=new", true, None).await.unwrap(),
        ];
        for answer in answers {
            assert_eq!((answer.rc, answer.matched.as_str()), (REFERRAL, AWAY), "{dn}");
            assert_eq!(answer.refs, [url], "{dn}");
        }
    }
    let entry = vec![("objectClass", set(&["device"])), ("cn", set(&["x"]))];
    for manage in [false, true] {
        let ldap = if manage {
            writer.with_controls(ManageDsaIt)
        } else {
            &mut writer
        };
        assert_eq!(ldap.add(&below, entry.clone()).await.unwrap().rc, REFERRAL, "{manage}");
    }
    let moved = writer
        .modifydn(BOB, "uid=000000000003", true, Some(AWAY))
        .await
        .unwrap();
    assert_eq!(moved.rc, AFFECTS_MULTIPLE_DSAS);
    let managed = writer
        .with_controls(ManageDsaIt)
        .modify(AWAY, vec![Mod::Replace("ref", set(&["ldap://other/"]))]);
    managed.await.unwrap().success().unwrap();
    assert_eq!(writer.delete(AWAY).await.unwrap().refs, ["ldap://other/ou=Away,o=nhs"]);
    writer
        .with_controls(ManageDsaIt)
        .delete(AWAY)
        .await
        .unwrap()
        .success()
        .unwrap();
    assert_eq!(writer.delete(AWAY).await.unwrap().rc, NO_SUCH_OBJECT);
}

#[tokio::test]
async fn rfc_3296_5_3_and_5_4_a_search_is_referred_or_goes_on_elsewhere() {
    let server = Place::filled().serve();
    let mut writer = server.bound("writer").await;
    add_referral(&mut writer).await;
    let mut reader = server.bound("reader").await;
    for (scope, name) in [(Scope::Base, "base"), (Scope::OneLevel, "one"), (Scope::Subtree, "sub")] {
        let answer = reader
            .search(&format!("cn=x,{AWAY}"), scope, "(cn=y)", vec!["1.1"])
            .await
            .unwrap()
            .1;
        assert_eq!(answer.rc, REFERRAL);
        assert_eq!(answer.refs, [format!("ldap://there/cn=x,ou=Here,dc=there??{name}")]);
    }
    let (names, references) = given(&mut reader, BASE, Scope::Subtree, "(uid=000000000001)").await;
    assert_eq!(names, [ANN]);
    assert_eq!(references, ["ldap://there/ou=Here,dc=there??sub"]);
    let (_, references) = given(&mut reader, BASE, Scope::OneLevel, "(cn=nobody)").await;
    assert_eq!(references, ["ldap://there/ou=Here,dc=there??base"]);
    assert!(
        given(&mut reader, BASE, Scope::Base, "(objectClass=*)")
            .await
            .1
            .is_empty()
    );
    assert!(
        given(&mut reader, "ou=People,o=nhs", Scope::Subtree, "(uid=*)")
            .await
            .1
            .is_empty()
    );
    let managed = reader
        .with_controls(ManageDsaIt)
        .search(BASE, Scope::Subtree, "(objectClass=referral)", vec!["ref"]);
    let entry = SearchEntry::construct(managed.await.unwrap().0.remove(0));
    assert_eq!(entry.attrs["ref"], ["ldap://there/ou=Here,dc=there"]);
    // Once, behind the last page.
    let page = |cookie: Vec<u8>| RawControl::from(PagedResults { size: 2, cookie });
    let first = reader
        .with_controls(page(Vec::new()))
        .search(BASE, Scope::Subtree, "(uid=*)", vec!["1.1"]);
    let (entries, first) = first.await.unwrap().success().unwrap();
    assert_eq!((entries.len(), first.refs.len()), (2, 0));
    let cookie = first.ctrls[0].1.parse::<PagedResults>().cookie;
    let second = reader
        .with_controls(page(cookie))
        .search(BASE, Scope::Subtree, "(uid=*)", vec!["1.1"]);
    let (entries, second) = second.await.unwrap().success().unwrap();
    assert_eq!((entries.len(), second.refs.len()), (1, 1));
}

#[tokio::test]
async fn a_referral_object_says_nothing_to_those_who_may_not_see_it() {
    let place = Place::filled();
    let policy = place.data().join("policy.toml");
    let text = "[profile.reader]\nlike = \"reader\"\nexcluded = [\"ou=Applications,{suffix}\", \"ou=Away,{suffix}\"]\n";
    std::fs::write(&policy, text).unwrap();
    let config = format!("[policy]\nfile = {policy:?}\n[directory]\nreferrals = [\"ldaps://up/\"]\n");
    std::fs::write(place.data().join("nhsdir.toml"), config).unwrap();
    let server = place.serve();
    let mut writer = server.bound("writer").await;
    add_referral(&mut writer).await;
    let mut reader = server.bound("reader").await;
    assert_eq!(
        search_code(&mut reader, AWAY, Scope::Subtree, "(cn=x)").await,
        NO_SUCH_OBJECT
    );
    assert_eq!(reader.compare(AWAY, "ou", "Away").await.unwrap().0.rc, NO_SUCH_OBJECT);
    assert!(given(&mut reader, BASE, Scope::Subtree, "(uid=*)").await.1.is_empty());
    assert_eq!(
        found(&mut reader, BASE, Scope::Subtree, "(ou=Away)", &["ref"])
            .await
            .len(),
        0
    );

    let outside = reader
        .search("cn=a,o=elsewhere", Scope::OneLevel, "(cn=x)", vec!["1.1"])
        .await
        .unwrap()
        .1;
    assert_eq!(
        (outside.rc, outside.refs),
        (REFERRAL, vec!["ldaps://up/cn=a,o=elsewhere??one".to_owned()])
    );
    let outside = writer.delete("cn=a,o=elsewhere").await.unwrap();
    assert_eq!(
        (outside.rc, outside.refs),
        (REFERRAL, vec!["ldaps://up/cn=a,o=elsewhere".to_owned()])
    );
    assert_eq!(
        search_code(&mut reader, "ou=x,o=nhs", Scope::Subtree, "(cn=x)").await,
        NO_SUCH_OBJECT
    );

    let mut nobody = server.connect().await;
    for base in [AWAY, "cn=a,o=elsewhere"] {
        let answer = nobody
            .search(base, Scope::Subtree, "(cn=x)", vec!["1.1"])
            .await
            .unwrap()
            .1;
        assert!(answer.rc != REFERRAL && answer.refs.is_empty(), "{base}");
    }
}

async fn add_alias(writer: &mut Ldap, dn: &str, to: &str) {
    let entry = vec![
        ("objectClass", set(&["alias", "extensibleObject"])),
        ("aliasedObjectName", set(&[to])),
    ];
    writer.add(dn, entry).await.unwrap().success().unwrap();
}

/// What a search finds in each of the four ways, or its result code.
async fn four_ways(ldap: &mut Ldap, base: &str, scope: Scope, filter: &str) -> Vec<Result<Vec<String>, u32>> {
    let ways = [
        DerefAliases::Never,
        DerefAliases::Searching,
        DerefAliases::Finding,
        DerefAliases::Always,
    ];
    let mut answers = Vec::new();
    for way in ways {
        let options = SearchOptions::new().deref(way);
        let search = ldap
            .with_search_options(options)
            .search(base, scope, filter, vec!["1.1"]);
        let answer = search.await.unwrap();
        let mut names: Vec<String> = answer
            .0
            .into_iter()
            .map(|entry| SearchEntry::construct(entry).dn)
            .collect();
        names.sort();
        answers.push(if answer.1.rc == 0 { Ok(names) } else { Err(answer.1.rc) });
    }
    answers
}

#[tokio::test]
async fn rfc_4511_4_5_1_3_aliases_are_dereferenced_as_asked() {
    let server = Place::filled().serve();
    let mut writer = server.bound("writer").await;
    let (to_ann, to_people) = ("cn=To Ann,ou=Lists,o=nhs", "cn=To people,ou=Lists,o=nhs");
    add_alias(&mut writer, to_ann, ANN).await;
    add_alias(&mut writer, to_people, "ou=People,o=nhs").await;
    add_alias(&mut writer, "cn=Circle,ou=Lists,o=nhs", "cn=Circle,ou=Lists,o=nhs").await;
    add_alias(&mut writer, "cn=Lost,ou=Lists,o=nhs", "uid=9,ou=People,o=nhs").await;
    let mut reader = server.bound("reader").await;
    let one = |dn: &str| Ok(vec![dn.to_owned()]);

    let base = four_ways(&mut reader, to_ann, Scope::Base, "(objectClass=*)").await;
    assert_eq!(base, [one(to_ann), one(to_ann), one(ANN), one(ANN)]);
    let below = four_ways(
        &mut reader,
        &format!("uid=000000000001,{to_people}"),
        Scope::Base,
        "(uid=*)",
    )
    .await;
    assert_eq!(below, [Err(NO_SUCH_OBJECT), Err(NO_SUCH_OBJECT), one(ANN), one(ANN)]);
    // Ann is reached twice, and comes once.
    let subtree = four_ways(&mut reader, "ou=Lists,o=nhs", Scope::Subtree, "(uid=000000000001)").await;
    assert_eq!(subtree, [Ok(vec![]), one(ANN), Ok(vec![]), one(ANN)]);
    let level = four_ways(&mut reader, "ou=Lists,o=nhs", Scope::OneLevel, "(uid=*)").await;
    assert_eq!(level, [Ok(vec![]), one(ANN), Ok(vec![]), one(ANN)]);
    let alias = four_ways(&mut reader, "ou=Lists,o=nhs", Scope::Subtree, "(objectClass=alias)").await;
    assert_eq!(
        alias
            .iter()
            .map(|found| found.as_ref().unwrap().len())
            .collect::<Vec<_>>(),
        [4, 0, 4, 0]
    );
    for lost in ["cn=Circle,ou=Lists,o=nhs", "cn=x,cn=Lost,ou=Lists,o=nhs"] {
        assert_eq!(
            four_ways(&mut reader, lost, Scope::Base, "(cn=*)").await[3],
            Err(ALIAS_PROBLEM),
            "{lost}"
        );
    }
    // Updates do not dereference, and nothing lies below an alias.
    let below = format!("cn=x,{to_ann}");
    let device = vec![("objectClass", set(&["device"])), ("cn", set(&["x"]))];
    assert_eq!(writer.add(&below, device).await.unwrap().rc, ALIAS_PROBLEM);
    assert_eq!(
        writer
            .modifydn(BOB, "uid=000000000003", true, Some(to_people))
            .await
            .unwrap()
            .rc,
        ALIAS_PROBLEM
    );
    writer.delete(to_ann).await.unwrap().success().unwrap();
    assert_eq!(uids(&mut reader, "(uid=000000000001)").await, ["000000000001"]);
}

#[tokio::test]
async fn an_alias_leads_nowhere_that_the_view_does_not() {
    let server = Place::filled().serve();
    let mut writer = server.bound("writer").await;
    let account = "cn=writer,ou=Applications,o=nhs";
    add_alias(&mut writer, "cn=Account,ou=Lists,o=nhs", account).await;
    add_alias(&mut writer, "cn=Accounts,ou=Lists,o=nhs", "ou=Applications,o=nhs").await;
    let mut reader = server.bound("reader").await;
    for scope in [Scope::OneLevel, Scope::Subtree] {
        let found = four_ways(
            &mut reader,
            "ou=Lists,o=nhs",
            scope,
            "(|(cn=writer)(ou=Applications)(cn=reader))",
        )
        .await;
        assert!(found.iter().all(|found| *found == Ok(vec![])), "{found:?}");
    }
    for base in ["cn=Account,ou=Lists,o=nhs", "cn=writer,cn=Accounts,ou=Lists,o=nhs"] {
        let answers = four_ways(&mut reader, base, Scope::Base, "(objectClass=*)").await;
        assert_eq!(answers[3], Err(ALIAS_PROBLEM), "{base}");
    }
}

#[tokio::test]
async fn rfc_3672_subentries_are_found_where_they_are_asked_for() {
    let server = Place::filled().serve();
    let mut writer = server.bound("writer").await;
    let subentry = "cn=Rules,ou=People,o=nhs";
    let entry = vec![
        ("objectClass", set(&["subentry"])),
        ("cn", set(&["Rules"])),
        ("subtreeSpecification", set(&["{}"])),
    ];
    writer.add(subentry, entry).await.unwrap().success().unwrap();
    let mut reader = server.bound("reader").await;
    let flag = |shown: u8| RawControl {
        ctype: "1.3.6.1.4.1.4203.1.10.1".to_owned(),
        crit: true,
        val: Some(vec![1, 1, shown]),
    };
    for (base, scope, plain, shown, hidden) in [
        ("ou=People,o=nhs", Scope::Subtree, 4, 1, 4),
        ("ou=People,o=nhs", Scope::OneLevel, 3, 1, 3),
        (subentry, Scope::Base, 1, 1, 0),
        (subentry, Scope::Subtree, 0, 1, 0),
        (ANN, Scope::Base, 1, 0, 1),
    ] {
        for (control, expected) in [(None, plain), (Some(flag(0xff)), shown), (Some(flag(0)), hidden)] {
            let ldap = match control {
                Some(control) => reader.with_controls(control),
                None => &mut reader,
            };
            let search = ldap.search(base, scope, "(objectClass=*)", vec!["1.1"]).await.unwrap();
            assert_eq!(search.success().unwrap().0.len(), expected, "{base} {scope:?}");
        }
    }
    let device = vec![("objectClass", set(&["device"])), ("cn", set(&["x"]))];
    let below = writer.add(&format!("cn=x,{subentry}"), device).await.unwrap();
    assert_eq!(below.rc, OBJECT_CLASS_VIOLATION);
}

#[tokio::test]
async fn rfc_3671_a_subentry_gives_attributes_to_the_entries_of_a_subtree() {
    let server = Place::filled().serve();
    let mut writer = server.bound("writer").await;
    let site = "cn=Site,ou=People,o=nhs";
    let subentry = |specification| {
        vec![
            (
                "objectClass",
                set(&["subentry", "collectiveAttributeSubentry", "extensibleObject"]),
            ),
            ("cn", set(&["Site"])),
            ("c-l", set(&["Leeds", "York"])),
            ("subtreeSpecification", set(&[specification])),
        ]
    };
    assert_eq!(
        writer.add(site, subentry("{ minimum one }")).await.unwrap().rc,
        INVALID_SYNTAX
    );
    let specification = "{ minimum 1, specificExclusions { chopBefore:\"uid=000000000002\" } }";
    writer
        .add(site, subentry(specification))
        .await
        .unwrap()
        .success()
        .unwrap();
    let own = writer.modify(ANN, vec![Mod::Add("c-l", set(&["Hull"]))]).await.unwrap();
    assert_eq!(own.rc, OBJECT_CLASS_VIOLATION);

    let mut reader = server.bound("reader").await;
    for asked in ["*", "l", "c-l"] {
        let mut ann = found(&mut reader, ANN, Scope::Base, "(objectClass=*)", &[asked]).await;
        let mut given = ann.remove(0).attrs.remove("c-l").unwrap_or_default();
        given.sort();
        assert_eq!(given, ["Leeds", "York"], "{asked}");
    }
    let people = found(&mut reader, "ou=People,o=nhs", Scope::Base, "(objectClass=*)", &["*"]).await;
    assert!(!people[0].attrs.contains_key("c-l"), "it is nearer than the minimum");
    let named = found(&mut writer, ANN, Scope::Base, "(objectClass=*)", &["+"]).await;
    assert_eq!(named[0].attrs["collectiveAttributeSubentries"], [site]);
    let both = ["000000000001", "000000000003"];
    for (filter, expected) in [
        ("(c-l=leeds)", &both[..]),
        ("(l=LEEDS)", &both),
        ("(&(uid=*)(c-l=*))", &both),
        ("(&(uid=*)(!(l=Leeds)))", &["000000000002"]),
        ("(c-l=L*)", &both),
        ("(c-l=Hull)", &[]),
        ("(&(uid=000000000001)(l~=york))", &["000000000001"]),
    ] {
        assert_eq!(uids(&mut reader, filter).await, expected, "{filter}");
    }
    assert!(reader.compare(ANN, "c-l", "york").await.unwrap().equal().unwrap());
    // What an update asserts and reads has them too.
    for (filter, code) in [("(l=hull)", 122), ("(l=leeds)", 0)] {
        let asserting = RawControl {
            crit: true,
            ..Assertion::new(filter)
        };
        let changed = writer.with_controls(vec![asserting, PostRead::new(vec!["l"])]);
        let changed = changed
            .modify(ANN, vec![Mod::Replace("title", set(&["Porter"]))])
            .await
            .unwrap();
        assert_eq!(changed.rc, code, "{filter}");
        if let Some(Control(_, read)) = changed.ctrls.first() {
            let mut given = read.parse::<ReadEntryResp>().attrs.remove("c-l").unwrap_or_default();
            given.sort();
            assert_eq!(given, ["Leeds", "York"]);
        }
        assert_eq!(changed.ctrls.len(), usize::from(code == 0));
    }
    let exclude = vec![Mod::Replace("collectiveExclusions", set(&["c-l"]))];
    writer.modify(BOB, exclude).await.unwrap().success().unwrap();
    assert_eq!(uids(&mut reader, "(l=Leeds)").await, ["000000000001"]);

    // Who may not see the subentry has nothing of it.
    let hide = vec![Mod::Replace("nhsdirExDirectory", set(&["TRUE"]))];
    writer.modify(site, hide).await.unwrap().success().unwrap();
    assert!(uids(&mut reader, "(l=Leeds)").await.is_empty());
    let ann = found(&mut reader, ANN, Scope::Base, "(objectClass=*)", &["*"]).await;
    assert!(!ann[0].attrs.contains_key("c-l"));
    assert_eq!(uids(&mut writer, "(l=Leeds)").await, ["000000000001"]);
}

#[tokio::test]
async fn an_export_has_every_kind_of_entry_as_it_is_stored() {
    let server = Place::filled().serve();
    let mut writer = server.bound("writer").await;
    add_referral(&mut writer).await;
    add_alias(&mut writer, "cn=To Ann,ou=Lists,o=nhs", ANN).await;
    let site = vec![
        ("objectClass", set(&["subentry", "collectiveAttributeSubentry"])),
        ("cn", set(&["Site"])),
        ("c-l", set(&["Leeds"])),
        ("subtreeSpecification", set(&["{}"])),
    ];
    writer
        .add("cn=Site,ou=People,o=nhs", site)
        .await
        .unwrap()
        .success()
        .unwrap();
    let running = server.place.succeed(&["export"], "");
    for line in [
        "\nref: ldap://there/",
        "\nsubtreeSpecification: {}",
        "\naliasedObjectName: ",
    ] {
        assert_eq!(running.matches(line).count(), 1, "{line}");
    }
    assert_eq!(running.matches("\nc-l: Leeds").count(), 1);
    let (place, _) = server.stop();
    assert_eq!(place.succeed(&["export"], ""), running);
}

/// What slapd answers. No equality rule is defined for most attributes of the root DSE (RFC 4512 section 5.1).
#[tokio::test]
async fn rfc_4511_4_10_compare_answers_for_the_root_dse_and_the_subschema() {
    let server = Place::filled().serve();
    let mut reader = server.bound("reader").await;
    let (no, yes, no_attribute): (u32, u32, u32) = (5, 6, 16);
    for (dn, attribute, value, expected) in [
        ("", "objectClass", "TOP", yes),
        ("", "vendorName", "nhsdir", yes),
        ("", "vendorName", "another", no),
        ("", "sn", "x", no_attribute),
        ("", "noSuchType", "x", 17),
        ("", "supportedLDAPVersion", "3", 18),
        ("cn=Subschema", "objectClass", "subschema", yes),
        ("CN = subSchema", "cn", "SUBSCHEMA", yes),
        ("cn=Subschema", "cn", "x", no),
        ("cn=Subschema", "attributeTypes", "2.5.4.3", yes),
        ("cn=Subschema", "attributeTypes", "1.2.3.4.5.6", no),
        ("cn=Subschema", "objectClasses", "person", yes),
        ("cn=Subschema", "objectClass", "noSuchClass", 21),
        ("cn=Subschema", "userPassword", "x", no_attribute),
        ("cn=Subschema", "entryDN", "cn=SUBSCHEMA", yes),
    ] {
        let compared = reader.compare(dn, attribute, value).await.unwrap();
        assert_eq!(compared.0.rc, expected, "{dn} {attribute}={value}");
    }
    for (filter, expected) in [("(objectClass=subschema)", yes), ("(cn=x)", 122)] {
        let asserting = RawControl {
            crit: true,
            ..Assertion::new(filter)
        };
        let compared = reader
            .with_controls(asserting)
            .compare("cn=Subschema", "cn", "subschema")
            .await;
        assert_eq!(compared.unwrap().0.rc, expected, "{filter}");
    }
    let mut nobody = server.connect().await;
    let compared = nobody.compare("", "objectClass", "top").await.unwrap();
    assert!(![no, yes].contains(&compared.0.rc), "{compared:?}");
}
