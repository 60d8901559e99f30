//! Records, the writer, and reading back.

use super::*;
use crate::model::{Address, Outcome, ResultCode, Source};
use std::fs;
use std::path::PathBuf;

fn source() -> Source {
    Source {
        address: Address::Tcp(([192, 0, 2, 10], 40_000).into()),
        tls: None,
        connection: 7,
        sessions: Vec::new(),
    }
}

fn search(account: &str, entries: &[[u8; 16]]) -> AuditRecord {
    let mut record = AuditRecord::default();
    record.begin(Act::Search, &Actor::new(account, &source()), 1_800_000_000_123);
    record.fact("base", b"o=nhs");
    record.fact("filter", b"(cn=Smi*)");
    entries.iter().for_each(|uuid| record.entry(uuid));
    record.finish(&Outcome::success(), Duration::from_micros(42));
    record
}

fn folder(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("audit")
}

fn lines(dir: &tempfile::TempDir) -> Vec<read::AuditLine> {
    read::last_lines(&folder(dir), usize::MAX).unwrap()
}

fn options() -> AuditOptions {
    AuditOptions::default()
}

#[test]
fn a_record_is_one_json_object() {
    let record = search("gp-app", &[[1; 16], [2; 16]]);
    let text = format!("{{{}}}", String::from_utf8(record.body().to_vec()).unwrap());
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        value,
        serde_json::json!({
            "t": 1_800_000_000_123u64, "act": "search", "account": "gp-app", "source": "192.0.2.10:40000", "connection": 7,
            "base": "o=nhs", "filter": "(cn=Smi*)", "uuids": "AQEBAQEBAQEBAQEBAQEBAQICAgICAgICAgICAgICAgI",
            "code": 0, "result": "success", "took_us": 42,
        })
    );
}

/// However much leaves, a record has a bound, and what it had is written while the search runs.
#[test]
fn what_gives_many_entries_has_a_record_for_each_few_thousand() {
    let dir = tempfile::tempdir().unwrap();
    let audit = Audit::open(dir.path(), options()).unwrap();
    let uuid = |number: u32| u128::from(number).to_be_bytes();
    let mut record = AuditRecord::default();
    record.begin(Act::Search, &Actor::new("gp-app", &source()), 1);
    record.fact("filter", b"(cn=*)");
    for number in 0..10_000 {
        record.entry(&uuid(number));
        record.write_part(&audit);
    }
    record.number("entries", 10_000);
    record.finish(&Outcome::success(), Duration::from_micros(42));
    assert!(!record.is_small(), "it is not kept for the next");
    audit.append(&record);
    record.begin(Act::Search, &Actor::new("gp-app", &source()), 2);
    record.entry(&uuid(1));
    record.finish(&Outcome::success(), Duration::ZERO);
    audit.append(&record);
    drop(audit);
    let lines = &lines(&dir)[1..];
    let parts: Vec<_> = lines.iter().map(|line| line.number_of("part")).collect();
    assert_eq!(parts, [Some(1), Some(2), Some(3), None]);
    let results: Vec<_> = lines.iter().map(|line| line.text_of("result")).collect();
    assert_eq!(results, [None, None, Some("success"), Some("success")]);
    assert!(lines[..3].iter().all(|line| line.text_of("filter") == Some("(cn=*)")));
    let entries: Vec<_> = lines[..3].iter().flat_map(read::AuditLine::entries).collect();
    assert_eq!(entries, (0..10_000).map(uuid).collect::<Vec<_>>());
}

/// No octet of a client ends a string or begins a line (T11).
#[test]
fn hostile_text_stays_inside_its_string() {
    let dir = tempfile::tempdir().unwrap();
    let audit = Audit::open(dir.path(), options()).unwrap();
    let everything: Vec<u8> = (0..=255).collect();
    let hostile: [&[u8]; 6] = [
        b"a\n{\"n\":1,\"act\":\"bind\"}\n",
        b"\",\"account\":\"root\",\"x\":\"\\",
        b"nul\0 bell\x07 escape\x1b[2J",
        "\u{2028}\u{202e}\u{85}".as_bytes(),
        b"\xff\xfe cut \xe2\x82",
        &everything,
    ];
    for text in hostile {
        let mut record = AuditRecord::default();
        record.begin(Act::Bind, &Actor::new(&String::from_utf8_lossy(text), &source()), 1);
        record.fact("filter", text);
        record.finish(
            &Outcome::new(ResultCode::InvalidCredentials, String::from_utf8_lossy(text)),
            Duration::ZERO,
        );
        audit.append(&record);
    }
    audit.flush();
    let read = lines(&dir);
    assert_eq!(read.len(), hostile.len() + 1);
    for (line, text) in read[1..].iter().zip(hostile) {
        assert_eq!(line.text_of("account").unwrap(), String::from_utf8_lossy(text));
        assert!(
            line.text.bytes().all(|octet| octet >= 0x20 && octet != 0x7f),
            "{}",
            line.text
        );
        assert_eq!(line.text_of("result"), Some("invalidCredentials"));
    }
    assert_eq!(read[5].text_of("filter").unwrap(), "\\xff\\xfe cut \\xe2\\x82");
    let mut long = AuditRecord::default();
    long.begin(Act::Search, &Actor::new("a", &source()), 1);
    long.fact("filter", &vec![b'x'; 1 << 20]);
    assert!(long.body().len() < 5000);
}

#[test]
fn numbers_are_written_as_the_standard_library_does() {
    for number in [0, 9, 10, 99, 100, 12_345, u64::from(u32::MAX), u64::MAX] {
        let mut out = Vec::new();
        record::append_number(number, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
    }
}

#[test]
fn the_chain_goes_on_over_restarts_and_files() {
    let dir = tempfile::tempdir().unwrap();
    for run in 0..3u8 {
        let small = AuditOptions {
            file_bytes: 2_000,
            ..options()
        };
        let audit = Audit::open(dir.path(), small).unwrap();
        for at in 0..20u8 {
            audit.append(&search("gp-app", &[[run * 20 + at; 16]]));
            if at % 5 == 0 {
                audit.flush();
            }
        }
        assert_eq!(audit.lost(), 0);
    }
    let verified = read::verify(&folder(&dir)).unwrap().unwrap();
    assert!(verified.files > 3, "{verified:?}");
    assert_eq!((verified.first, verified.last), (1, verified.lines));
    let searches = lines(&dir);
    let searches: Vec<_> = searches
        .iter()
        .filter(|line| line.text_of("act") == Some("search"))
        .collect();
    assert_eq!(searches.len(), 60);
    for (at, line) in searches.iter().enumerate() {
        assert!(line.holds_entry(&[at as u8; 16]) && !line.holds_entry(&[at as u8 + 1; 16]));
    }
    // Without its oldest files the rest can still be verified.
    fs::remove_file(folder(&dir).join("00000001.jsonl")).unwrap();
    let rest = read::verify(&folder(&dir)).unwrap().unwrap();
    assert!(rest.first > 1 && rest.last == verified.last);
    // Without one in the middle it cannot.
    let middle = read::files(&folder(&dir)).unwrap()[1].1.clone();
    fs::remove_file(middle).unwrap();
    assert!(
        read::verify(&folder(&dir))
            .unwrap()
            .unwrap_err()
            .message
            .contains("missing")
    );
}

/// Any changed octet, any line taken out, put in twice or moved breaks the chain.
#[test]
fn tampering_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let audit = Audit::open(dir.path(), options()).unwrap();
    (0..5).for_each(|at| audit.append(&search("gp-app", &[[at; 16]])));
    drop(audit);
    let file = folder(&dir).join("00000001.jsonl");
    let whole = fs::read(&file).unwrap();
    assert_eq!(read::verify(&folder(&dir)).unwrap().unwrap().lines, 6);
    for at in (0..whole.len() - 1).step_by(7) {
        let mut changed = whole.clone();
        changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
        fs::write(&file, &changed).unwrap();
        let fault = read::verify(&folder(&dir)).unwrap().unwrap_err();
        let line = whole[..at].iter().filter(|octet| **octet == b'\n').count() as u64 + 1;
        // A line feed that went joins its line with the next.
        assert!(fault.line == line, "octet {at}: {fault}");
    }
    let text = String::from_utf8(whole).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for (what, order) in [
        ("taken out", vec![0, 1, 3, 4, 5]),
        ("twice", vec![0, 1, 2, 2, 3, 4, 5]),
        ("moved", vec![0, 2, 1, 3, 4, 5]),
        ("first taken out", vec![1, 2, 3, 4, 5]),
    ] {
        fs::write(&file, order.iter().map(|at| lines[*at]).collect::<String>()).unwrap();
        assert!(read::verify(&folder(&dir)).unwrap().is_err(), "{what}");
    }
}

#[test]
fn a_line_cut_off_by_a_crash_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    drop({
        let audit = Audit::open(dir.path(), options()).unwrap();
        (0..3).for_each(|at| audit.append(&search("gp-app", &[[at; 16]])));
        audit
    });
    let file = folder(&dir).join("00000001.jsonl");
    let whole = fs::read(&file).unwrap();
    let last = whole[..whole.len() - 1]
        .iter()
        .rposition(|octet| *octet == b'\n')
        .unwrap()
        + 1;
    for cut in [whole.len() - 1, last + 1, last + 20] {
        fs::write(&file, &whole[..cut]).unwrap();
        // It was not synced.
        fs::remove_file(folder(&dir).join("synced")).unwrap();
        assert_eq!(
            read::verify(&folder(&dir)).unwrap().unwrap().lines,
            3,
            "it may be being written"
        );
        drop(Audit::open(dir.path(), options()).unwrap());
        let lines = lines(&dir);
        assert_eq!(lines.len(), 4);
        assert!(
            lines[3]
                .text_of("detail")
                .unwrap()
                .contains("set aside in 00000001.torn"),
            "{}",
            lines[3].text
        );
        assert_eq!(read::verify(&folder(&dir)).unwrap().unwrap().lines, 4);
        assert!(
            fs::read(folder(&dir).join("00000001.torn"))
                .unwrap()
                .ends_with(&whole[last..cut])
        );
    }
}

#[test]
fn an_empty_newest_file_does_not_end_the_chain() {
    let dir = tempfile::tempdir().unwrap();
    drop(Audit::open(dir.path(), options()).unwrap());
    fs::write(folder(&dir).join("00000002.jsonl"), b"").unwrap();
    drop(Audit::open(dir.path(), options()).unwrap());
    let verified = read::verify(&folder(&dir)).unwrap().unwrap();
    assert_eq!((verified.files, verified.last), (3, 2));
}

#[test]
fn expired_files_go_and_it_is_noted() {
    let dir = tempfile::tempdir().unwrap();
    let small = AuditOptions {
        file_bytes: 1,
        ..options()
    };
    let audit = Audit::open(dir.path(), small).unwrap();
    for _ in 0..3 {
        audit.append(&search("gp-app", &[]));
        audit.flush();
    }
    drop(audit);
    let old = std::time::SystemTime::now() - Duration::from_secs(800 * 86_400);
    for name in ["00000001.jsonl", "00000002.jsonl"] {
        let file = fs::OpenOptions::new()
            .write(true)
            .open(folder(&dir).join(name))
            .unwrap();
        file.set_modified(old).unwrap();
    }
    drop(Audit::open(dir.path(), options()).unwrap());
    let left: Vec<u64> = read::files(&folder(&dir))
        .unwrap()
        .iter()
        .map(|(number, _)| *number)
        .collect();
    assert!(
        !left.contains(&1) && !left.contains(&2) && left.contains(&3),
        "{left:?}"
    );
    let removed = lines(&dir)
        .iter()
        .filter(|line| line.text_of("detail").is_some_and(|d| d.contains("was removed")))
        .count();
    assert_eq!(removed, 2);
    read::verify(&folder(&dir)).unwrap().unwrap();
}

/// A file that cannot be begun costs no record, and its first line is where the next one is begun.
#[test]
fn where_the_next_file_cannot_be_begun_the_one_before_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let small = AuditOptions {
        file_bytes: 1,
        ..options()
    };
    let audit = Audit::open(dir.path(), small).unwrap();
    let in_the_way = folder(&dir).join("00000002.jsonl");
    fs::create_dir(&in_the_way).unwrap();
    audit.append(&search("gp-app", &[]));
    audit.flush();
    fs::remove_dir(&in_the_way).unwrap();
    audit.append(&search("gp-app", &[]));
    audit.flush();
    assert_eq!(audit.lost(), 0);
    drop(audit);
    let verified = read::verify(&folder(&dir)).unwrap().unwrap();
    assert_eq!((verified.files, verified.lines), (2, 4));
}

/// Records that found no room in the queue are missing from the log as much as those that the disk refused.
#[test]
fn what_was_lost_is_noted() {
    let dir = tempfile::tempdir().unwrap();
    let audit = Audit::open(dir.path(), options()).unwrap();
    audit.shared.lost.fetch_add(3, Ordering::Relaxed);
    for _ in 0..2 {
        audit.append(&search("gp-app", &[]));
        audit.flush();
    }
    drop(audit);
    let lines = lines(&dir);
    let details: Vec<_> = lines.iter().filter_map(|line| line.text_of("detail")).collect();
    assert_eq!(details, ["3 records before this line could not be written"]);
}

#[test]
fn many_callers_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let small = AuditOptions {
        queue_bytes: 10_000,
        ..options()
    };
    let audit = Audit::open(dir.path(), small).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let audit = &audit;
            scope.spawn(move || {
                let record = search("gp-app", &[[thread; 16]]);
                (0..500).for_each(|_| audit.append(&record));
            });
        }
    });
    audit.flush();
    assert_eq!(audit.lost(), 0);
    assert_eq!(read::verify(&folder(&dir)).unwrap().unwrap().lines, 2001);
}

#[test]
fn lines_are_followed_from_where_the_log_ended() {
    let dir = tempfile::tempdir().unwrap();
    let small = AuditOptions {
        file_bytes: 600,
        ..options()
    };
    let audit = Audit::open(dir.path(), small).unwrap();
    let mut at = read::end(&folder(&dir)).unwrap();
    let mut seen = 0;
    for _ in 0..10 {
        audit.append(&search("gp-app", &[]));
        audit.flush();
        at = read::lines_from(&folder(&dir), at, b"\"search\"", &mut |line| {
            seen += u32::from(line.text_of("act") == Some("search"))
        })
        .unwrap();
    }
    assert_eq!(seen, 10);
    assert_eq!(read::last_lines(&folder(&dir), 2).unwrap().len(), 2);
}

/// A log of which `synced` records were synced and `behind` more were written; the folder is as it is while the server runs.
struct Cut {
    dir: tempfile::TempDir,
    /// The end of what was synced, in the newest file.
    synced: usize,
    whole: Vec<u8>,
}

impl Cut {
    fn new(synced: u8, behind: u8) -> Cut {
        let dir = tempfile::tempdir().unwrap();
        let audit = Audit::open(dir.path(), options()).unwrap();
        (0..synced).for_each(|at| audit.append(&search("gp-app", &[[at; 16]])));
        drop(audit);
        let marked = fs::read(folder(&dir).join("synced")).unwrap();
        let file = folder(&dir).join("00000001.jsonl");
        let end = fs::read(&file).unwrap().len();
        let audit = Audit::open(dir.path(), options()).unwrap();
        (0..behind).for_each(|at| audit.append(&search("gp-app", &[[100 + at; 16]])));
        drop(audit);
        // As before the second run had synced anything.
        fs::write(folder(&dir).join("synced"), marked).unwrap();
        let whole = fs::read(&file).unwrap();
        assert!(whole.len() > end);
        Cut {
            dir,
            synced: end,
            whole,
        }
    }

    fn leaves(&self, octets: &[u8]) {
        fs::write(folder(&self.dir).join("00000001.jsonl"), octets).unwrap();
    }

    fn verify(&self) -> Result<read::Verified, read::AuditFault> {
        read::verify(&folder(&self.dir)).unwrap()
    }

    fn details(&self) -> Vec<String> {
        let details = lines(&self.dir);
        let details = details.iter().filter_map(|line| line.text_of("detail"));
        details.map(str::to_owned).collect()
    }
}

/// Sectors behind the last sync reach the disk in any order, and the length of the file may be there before them.
#[test]
fn what_a_power_cut_tears_behind_the_last_sync_is_nobodys_change() {
    const SECTOR: usize = 512;
    let mut random = crate::model::random::Random::from_environment();
    println!("SEED={}", random.seed);
    for _ in 0..60 {
        let cut = Cut::new(4, 12);
        let mut octets = cut.whole.clone();
        octets.truncate(cut.synced + random.below(octets.len() - cut.synced + 1));
        for sector in octets.chunks_mut(SECTOR).skip(cut.synced / SECTOR) {
            if random.below(3) == 0 {
                sector.fill(0);
            }
        }
        // Of the sector that was synced in part the rest may be old.
        octets[..cut.synced].copy_from_slice(&cut.whole[..cut.synced]);
        cut.leaves(&octets);
        let before = cut.verify().unwrap();
        assert!(before.lines >= 5, "{before:?}");
        drop(Audit::open(cut.dir.path(), options()).unwrap());
        let after = cut.verify().unwrap();
        assert_eq!((after.torn, after.first), (0, 1));
        let torn = octets.len() != cut.whole.len() || octets != cut.whole;
        let noted = cut
            .details()
            .iter()
            .any(|detail| detail.contains("were set aside in 00000001.torn"));
        assert!(torn || !noted);
        assert_eq!(noted, folder(&cut.dir).join("00000001.torn").exists());
        let kept: Vec<_> = lines(&cut.dir).iter().flat_map(read::AuditLine::entries).collect();
        assert_eq!(kept[..4], [[0; 16], [1; 16], [2; 16], [3; 16]]);
    }
}

/// What was synced no power cut changes, whatever is torn behind it.
#[test]
fn what_was_synced_cannot_be_passed_off_as_torn() {
    let cut = Cut::new(6, 8);
    let mut torn = cut.whole.clone();
    torn[cut.synced + 10..cut.synced + 600].fill(0);
    cut.leaves(&torn);
    let verified = cut.verify().unwrap();
    assert_eq!((verified.lines, verified.torn > 0), (7, true));
    for at in (0..cut.synced).step_by(11) {
        let mut forged = torn.clone();
        forged[at] ^= 1;
        cut.leaves(&forged);
        let fault = cut.verify().expect_err("a change of what was synced");
        let line = cut.whole[..at].iter().filter(|octet| **octet == b'\n').count() as u64 + 1;
        assert_eq!(fault.line, line, "octet {at}: {fault}");
    }
    for end in [cut.synced - 1, cut.synced / 2, 0] {
        cut.leaves(&torn[..end]);
        let fault = cut.verify().expect_err("the end of what was synced was cut off");
        assert!(fault.message.contains("lines were cut off"), "{fault}");
    }
    // At the next start it is noted, in the chain, that they are gone.
    drop(Audit::open(cut.dir.path(), options()).unwrap());
    let details = cut.details();
    assert!(details[0].contains("up to number 7 were on disk"), "{details:?}");
}

#[test]
fn a_chain_that_was_written_anew_is_not_the_one_that_was_synced() {
    let cut = Cut::new(3, 3);
    let other = tempfile::tempdir().unwrap();
    let audit = Audit::open(other.path(), options()).unwrap();
    // As long as what was there, and sound in itself.
    (0..3).for_each(|at| audit.append(&search("gp-apq", &[[at; 16]])));
    drop(audit);
    cut.leaves(&fs::read(folder(&other).join("00000001.jsonl")).unwrap());
    assert_eq!(
        fs::read(folder(&cut.dir).join("00000001.jsonl")).unwrap().len(),
        cut.synced
    );
    let fault = cut.verify().unwrap_err();
    assert!(fault.message.contains("the chain was written anew"), "{fault}");
}

/// A file that was begun just before a power cut may have lost its first line.
#[test]
fn a_file_that_was_torn_at_its_beginning_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    let audit = Audit::open(dir.path(), options()).unwrap();
    (0..3).for_each(|at| audit.append(&search("gp-app", &[[at; 16]])));
    drop(audit);
    let second = folder(&dir).join("00000002.jsonl");
    for torn in [&[0; 700][..], b"{\"n\":5,\"t\":1\n{}\n", b""] {
        fs::write(&second, torn).unwrap();
        let verified = read::verify(&folder(&dir)).unwrap().unwrap();
        assert_eq!(verified.lines, 4, "{verified:?}");
        let marked = fs::read(folder(&dir).join("synced")).unwrap();
        drop(Audit::open(dir.path(), options()).unwrap());
        let verified = read::verify(&folder(&dir)).unwrap().unwrap();
        assert_eq!(verified.torn, 0);
        assert_eq!(
            verified.lines,
            5 + u64::from(!torn.is_empty()),
            "a beginning and what was set aside"
        );
        fs::remove_file(folder(&dir).join("00000003.jsonl")).unwrap();
        fs::write(folder(&dir).join("synced"), marked).unwrap();
    }
}

/// A log of before there were marks, or whose mark is gone: any break is a fault.
#[test]
fn without_a_mark_nothing_is_taken_for_torn() {
    let cut = Cut::new(3, 5);
    fs::remove_file(folder(&cut.dir).join("synced")).unwrap();
    let mut torn = cut.whole.clone();
    torn[cut.synced + 100..cut.synced + 700].fill(0);
    cut.leaves(&torn);
    cut.verify().unwrap_err();
}
