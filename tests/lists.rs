//! Virtual list views over real sockets, with controls made by hand.

use crate::binds::element;
use crate::server::{ANN, BASE, Place, ZOE};
use ldap3::controls::{Control, RawControl};
use ldap3::{Ldap, Mod, Scope};
use std::collections::{BTreeMap, HashSet};

const SORT: &str = "1.2.840.113556.1.4.473";
const LIST: &str = "2.16.840.1.113730.3.4.9";
const LIST_RESULT: &str = "2.16.840.1.113730.3.4.10";
const VIRTUAL_LIST_VIEW_ERROR: u32 = 76;
const SORT_CONTROL_MISSING: u64 = 60;
const OFFSET_RANGE_ERROR: u64 = 61;

fn integer(value: u32) -> Vec<u8> {
    let octets = u64::from(value).to_be_bytes();
    let from = octets.iter().position(|octet| *octet != 0).unwrap_or(7);
    let from = if octets[from] > 0x7f { from - 1 } else { from };
    element(2, &octets[from..])
}

#[derive(Clone, Copy, Debug)]
enum Target {
    Offset(u32, u32),
    Value(&'static str),
}

fn by_surname(reverse: bool) -> RawControl {
    let mut key = element(4, b"sn");
    if reverse {
        key.extend(element(0x81, &[0xff]));
    }
    RawControl {
        ctype: SORT.to_owned(),
        crit: true,
        val: Some(element(0x30, &element(0x30, &key))),
    }
}

fn window(before: u32, after: u32, target: Target, context: Option<&[u8]>) -> RawControl {
    let mut value = [integer(before), integer(after)].concat();
    value.extend(match target {
        Target::Offset(offset, count) => element(0xa0, &[integer(offset), integer(count)].concat()),
        Target::Value(value) => element(0x81, value.as_bytes()),
    });
    value.extend(context.iter().flat_map(|context| element(4, context)));
    RawControl {
        ctype: LIST.to_owned(),
        crit: true,
        val: Some(element(0x30, &value)),
    }
}

/// The last digits of uids, the result code, and position, content count and code of the response control.
type Window = (String, u32, Option<(u64, u64, u64)>);

async fn view(ldap: &mut Ldap, controls: Vec<RawControl>) -> Window {
    view_in_context(ldap, controls).await.0
}

/// The window and its context id.
async fn view_in_context(ldap: &mut Ldap, controls: Vec<RawControl>) -> (Window, Vec<u8>) {
    let search = ldap.with_controls(controls);
    let answer = search
        .search(BASE, Scope::Subtree, "(uid=*)", vec!["uid"])
        .await
        .unwrap();
    let entries = answer.0.into_iter().map(ldap3::SearchEntry::construct);
    let order = entries
        .map(|entry| entry.attrs["uid"][0].chars().last().unwrap())
        .collect();
    let mut controls = answer.1.ctrls.iter();
    let told = controls.find(|Control(_, raw)| raw.ctype == LIST_RESULT);
    let mut context = Vec::new();
    let told = told.map(|Control(_, raw)| {
        let mut value = contents(raw.val.as_ref().unwrap()).0;
        let mut number = || {
            let (octets, rest) = contents(value);
            value = rest;
            octets.iter().fold(0, |number, octet| number << 8 | u64::from(*octet))
        };
        let numbers = (number(), number(), number());
        if !value.is_empty() {
            context = contents(value).0.to_vec();
        }
        numbers
    });
    ((order, answer.1.rc, told), context)
}

/// What an element holds, and what is behind it.
fn contents(element: &[u8]) -> (&[u8], &[u8]) {
    let (len, rest) = match element[1] {
        0x81 => (usize::from(element[2]), &element[3..]),
        0x82 => (usize::from(element[2]) << 8 | usize::from(element[3]), &element[4..]),
        short => (usize::from(short), &element[2..]),
    };
    rest.split_at(len)
}

const MOST: u32 = 0x7fff_ffff;

#[tokio::test]
async fn a_window_is_around_its_target_by_offset_and_by_value() {
    let server = Place::filled().serve();
    let mut ldap = server.bound("reader").await;
    // By surname: Jones (3), O'Neill-Smith (1), Smith (2).
    for (reverse, before, after, target, order, position) in [
        (false, 0, 1, Target::Offset(1, 0), "31", 1),
        (false, 0, 0, Target::Offset(2, 0), "1", 2),
        (false, 1, 1, Target::Offset(2, 3), "312", 2),
        (false, 0, 0, Target::Offset(7, 7), "2", 3),
        (false, 0, 0, Target::Offset(1, 1), "2", 3),
        (false, 0, 0, Target::Offset(50, 75), "1", 2),
        (false, 0, 9, Target::Offset(1, MOST), "312", 1),
        (false, MOST, MOST, Target::Offset(MOST, MOST), "312", 3),
        (false, 0, 0, Target::Offset(MOST - 1, MOST), "2", 3),
        (false, 0, 0, Target::Value("o"), "1", 2),
        (false, 1, 0, Target::Value("  SMITH "), "12", 3),
        (false, 0, 5, Target::Value(""), "312", 1),
        (false, 2, 5, Target::Value("zz"), "12", 4),
        (true, 0, 5, Target::Value("p"), "13", 2),
        (true, 0, 0, Target::Offset(1, 0), "2", 1),
    ] {
        let asked = vec![by_surname(reverse), window(before, after, target, None)];
        let found = view(&mut ldap, asked).await;
        let expected = (order.to_owned(), 0, Some((position, 3, 0)));
        assert_eq!(found, expected, "{before} {after} {target:?} reverse {reverse}");
    }
    for target in [
        Target::Offset(0, 0),
        Target::Offset(4, 0),
        Target::Offset(4, 3),
        Target::Offset(MOST, 0),
    ] {
        let (order, code, told) = view(&mut ldap, vec![by_surname(false), window(0, 0, target, None)]).await;
        assert_eq!((order.as_str(), code), ("", VIRTUAL_LIST_VIEW_ERROR), "{target:?}");
        assert_eq!(told.unwrap().2, OFFSET_RANGE_ERROR, "{target:?}");
    }
}

#[tokio::test]
async fn a_view_that_cannot_be_given_says_why() {
    let server = Place::filled().serve();
    let mut ldap = server.bound("reader").await;
    let whole = || window(0, 9, Target::Offset(1, 0), None);
    let failed = |code| (String::new(), VIRTUAL_LIST_VIEW_ERROR, Some((0, 0, code)));
    // A context id is of one list and of one account.
    let (_, context) = view_in_context(&mut ldap, vec![by_surname(false), whole()]).await;
    let in_context = window(0, 9, Target::Offset(1, 0), Some(&context));
    assert_eq!(
        view(&mut ldap, vec![by_surname(false), in_context.clone()]).await.0,
        "312"
    );
    assert_eq!(
        view(&mut ldap, vec![by_surname(true), in_context.clone()]).await,
        failed(2)
    );
    let mut other = server.bound("writer").await;
    assert_eq!(view(&mut other, vec![by_surname(false), in_context]).await, failed(2));
    assert_eq!(view(&mut ldap, vec![whole()]).await, failed(SORT_CONTROL_MISSING));
    let unknown = window(0, 9, Target::Offset(1, 0), Some(b"forged"));
    assert_eq!(view(&mut ldap, vec![by_surname(false), unknown]).await, failed(2));
    let page = ldap3::controls::PagedResults {
        size: 2,
        cookie: Vec::new(),
    };
    let (order, code, _) = view(&mut ldap, vec![by_surname(false), whole(), page.into()]).await;
    assert_eq!((order.as_str(), code), ("", 53));
}

#[tokio::test]
async fn counts_and_positions_follow_changes_and_tell_nothing_that_is_hidden() {
    let server = Place::filled().serve();
    let (mut writer, mut reader) = (server.bound("writer").await, server.bound("reader").await);
    let whole = || vec![by_surname(false), window(0, 9, Target::Value("s"), None)];
    for _ in 0..2 {
        assert_eq!(view(&mut reader, whole()).await, ("2".to_owned(), 0, Some((3, 3, 0))));
    }
    let hide = vec![
        Mod::Add("objectClass", HashSet::from(["extensibleObject"])),
        Mod::Add("nhsdirExDirectory", HashSet::from(["TRUE"])),
    ];
    writer.modify(ANN, hide).await.unwrap().success().unwrap();
    assert_eq!(view(&mut reader, whole()).await, ("2".to_owned(), 0, Some((2, 2, 0))));
    assert_eq!(view(&mut writer, whole()).await, ("2".to_owned(), 0, Some((3, 3, 0))));
    writer.delete(ZOE).await.unwrap().success().unwrap();
    assert_eq!(view(&mut reader, whole()).await, (String::new(), 0, Some((2, 1, 0))));
}

/// Who goes on where the window before ended gets every entry once, whatever changes meanwhile; without a context id an offset is
/// just that.
#[tokio::test]
async fn windows_with_a_context_follow_each_other_over_changes() {
    let server = Place::filled().serve();
    let (mut writer, mut reader) = (server.bound("writer").await, server.bound("reader").await);
    let names = ["Aa", "Bb", "Cc", "Dd", "Ee", "Ff"];
    let dn = |name: &str| format!("uid=99{name},ou=People,o=nhs");
    for name in names {
        let person = vec![
            ("objectClass", HashSet::from(["inetOrgPerson"])),
            ("cn", HashSet::from([name])),
            ("sn", HashSet::from([name])),
        ];
        writer.add(&dn(name), person).await.unwrap().success().unwrap();
    }
    // By surname: Aa to Ff (a to f), then the three others (3, 1, 2).
    let asked = |before, after, offset, context: Option<&[u8]>| {
        vec![
            by_surname(false),
            window(before, after, Target::Offset(offset, 9), context),
        ]
    };
    let (first, context) = view_in_context(&mut reader, asked(0, 2, 1, None)).await;
    assert_eq!(first, ("abc".to_owned(), 0, Some((1, 9, 0))));
    writer.delete(&dn("Aa")).await.unwrap().success().unwrap();
    writer.delete(&dn("Cc")).await.unwrap().success().unwrap();
    let (second, later) = view_in_context(&mut reader, asked(0, 1, 4, Some(&context))).await;
    assert_eq!(
        second,
        ("de".to_owned(), 0, Some((2, 7, 0))),
        "it was the fourth, and is the second"
    );
    let without = view(&mut reader, asked(0, 1, 4, None)).await;
    assert_eq!(without.0, "ef", "four ninths of seven are three");
    // And back, by the numbers of the window before.
    let back = vec![by_surname(false), window(0, 0, Target::Offset(2, 0), Some(&later))];
    assert_eq!(view(&mut reader, back).await.0, "d");
    let back = vec![by_surname(false), window(0, 0, Target::Offset(4, 7), Some(&later))];
    assert_eq!(view(&mut reader, back).await, ("f".to_owned(), 0, Some((4, 7, 0))));
}

/// Beside writes, merges and compactions a view is of what there is: nothing is missing, nothing comes twice, what is hidden is nowhere.
#[tokio::test]
async fn a_list_beside_writes_is_the_one_of_what_there_is() {
    let small = "[store]\ntail_entries = 2\ncompact_after_entries = 64\n";
    let server = Place::filled().with(small).serve();
    let (mut writer, mut reader) = (server.bound("writer").await, server.bound("reader").await);
    // Surnames behind those of the three that are there, by the last letter of a uid.
    let mut there: BTreeMap<char, (u32, bool)> = BTreeMap::new();
    let mut seed = 20_261_126u32;
    let mut random = |below: u32| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) % below
    };
    let whole = || vec![by_surname(false), window(0, 99, Target::Offset(1, 0), None)];
    for step in 0..160u32 {
        let who = char::from(b'a' + random(20) as u8);
        let dn = format!("uid=99{who},ou=People,o=nhs");
        let surname = random(900) * 160 + step;
        let sn = format!("Z{surname:06}");
        let is_hidden = random(4) == 0;
        match there.get(&who) {
            None => {
                let person = vec![
                    ("objectClass", HashSet::from(["inetOrgPerson", "extensibleObject"])),
                    ("cn", HashSet::from(["x"])),
                    ("sn", HashSet::from([sn.as_str()])),
                ];
                writer.add(&dn, person).await.unwrap().success().unwrap();
                there.insert(who, (surname, false));
            }
            Some(_) if random(4) == 0 => {
                writer.delete(&dn).await.unwrap().success().unwrap();
                there.remove(&who);
            }
            Some(_) => {
                let hidden = if is_hidden {
                    HashSet::from(["TRUE"])
                } else {
                    HashSet::new()
                };
                let changes = vec![
                    Mod::Replace("sn", HashSet::from([sn.as_str()])),
                    Mod::Replace("nhsdirExDirectory", hidden),
                ];
                writer.modify(&dn, changes).await.unwrap().success().unwrap();
                there.insert(who, (surname, is_hidden));
            }
        }
        if random(3) == 0 {
            continue;
        }
        let shown = |all: bool| {
            let mut shown: Vec<(u32, char)> = there
                .iter()
                .filter(|(_, (_, is_hidden))| all || !is_hidden)
                .map(|(who, (surname, _))| (*surname, *who))
                .collect();
            shown.sort_unstable();
            let order: String = "312".chars().chain(shown.iter().map(|(_, who)| *who)).collect();
            let count = order.len() as u64;
            (order, 0, Some((1, count, 0)))
        };
        assert_eq!(view(&mut reader, whole()).await, shown(false), "step {step}");
        assert_eq!(view(&mut writer, whole()).await, shown(true), "step {step}");
    }
}
