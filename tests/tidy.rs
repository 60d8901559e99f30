//! The house: layers, documents and sizes, held to what is written down.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of code a file may have, its tests apart.
const CODE_LINES: usize = 600;
const README_LINES: usize = 120;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file below `folder` with this extension.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

/// The source without its unit tests and comments.
fn code(text: &str) -> String {
    let body = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    body.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The `text layers` block of ARCHITECTURE.md: room to the rooms it may use.
fn layers() -> BTreeMap<String, BTreeSet<String>> {
    let text = read(&root().join("ARCHITECTURE.md"));
    let block = text
        .split("```text layers\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let mut layers = BTreeMap::new();
    for line in block.expect("ARCHITECTURE.md has a `text layers` block").lines() {
        let (room, uses) = line
            .split_once("->")
            .unwrap_or_else(|| panic!("expected `room -> rooms`, found {line:?}"));
        layers.insert(
            room.trim().to_owned(),
            uses.split_whitespace().map(str::to_owned).collect(),
        );
    }
    layers
}

/// The room a source file belongs to: its first folder, or its own name.
fn room(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// The rooms that `text` names after `crate::`, groups included.
fn used_rooms(text: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for rest in text.split("crate::").skip(1) {
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(group) => top_level_names(group),
            None => vec![rest],
        };
        for name in names {
            let name: String = name
                .trim()
                .chars()
                .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
                .collect();
            used.insert(name);
        }
    }
    used
}

fn top_level_names(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut names) = (0, 0, Vec::new());
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(&group[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    names
}

#[test]
fn rooms_use_only_what_the_layers_allow() {
    let layers = layers();
    let mut faults = Vec::new();
    for path in files("src", "rs") {
        let room = room(&path);
        if room == "lib" {
            continue;
        }
        let allowed = layers
            .get(&room)
            .unwrap_or_else(|| panic!("ARCHITECTURE.md has no layer {room}"));
        for used in used_rooms(&code(&read(&path))) {
            let known = layers.contains_key(&used);
            if known && used != room && !allowed.contains(&used) {
                faults.push(format!("{}: {room} may not use {used}", relative(&path)));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_layers_have_no_circle() {
    let layers = layers();
    let mut settled: BTreeSet<&str> = BTreeSet::new();
    while settled.len() < layers.len() {
        let next = layers.iter().find(|(room, uses)| {
            !settled.contains(room.as_str()) && uses.iter().all(|used| settled.contains(used.as_str()))
        });
        match next {
            Some((room, _)) => settled.insert(room),
            None => panic!("a circle, or an unknown room, among the layers not in {settled:?}"),
        };
    }
}

#[test]
fn paths_named_by_the_documents_exist() {
    let mut faults = Vec::new();
    let mut documents = vec!["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "certs/README.md"]
        .into_iter()
        .map(|name| root().join(name))
        .collect::<Vec<_>>();
    documents.extend(files("docs", "md"));
    for document in documents {
        let text = read(&document);
        for name in text.split('`').skip(1).step_by(2).chain(linked(&text)) {
            let name = name.split('#').next().unwrap_or(name);
            if looks_like_a_path(name) && !root().join(name).exists() && !document.parent().unwrap().join(name).exists()
            {
                faults.push(format!("{}: {name} does not exist", relative(&document)));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The targets of Markdown links that stay in the project.
fn linked(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|target| !target.contains(':'))
}

/// A path of the project: one of its folders in front, or a file at its root.
fn looks_like_a_path(name: &str) -> bool {
    const FOLDERS: [&str; 9] = [
        "src/",
        "tests/",
        "docs/",
        "schema/",
        "certs/",
        "benches/",
        "data/",
        ".ci/",
        "examples/",
    ];
    let plain = name
        .chars()
        .all(|letter| letter.is_ascii_alphanumeric() || "._-/".contains(letter));
    let at_root =
        !name.contains('/') && (name.ends_with(".md") || name == "config.example.toml" || name == "Cargo.toml");
    plain && (at_root || FOLDERS.iter().any(|folder| name.starts_with(folder)))
}

#[test]
fn the_readme_is_short() {
    let lines = read(&root().join("README.md")).lines().count();
    assert!(
        lines <= README_LINES,
        "README.md has {lines} lines, at most {README_LINES} are read"
    );
}

#[test]
fn files_fit_a_mind() {
    let mut faults = Vec::new();
    for path in files("src", "rs") {
        let lines = code(&read(&path))
            .lines()
            .filter(|line| !line.trim().is_empty())
            .count();
        if lines > CODE_LINES {
            faults.push(format!(
                "{}: {lines} lines of code, at most {CODE_LINES}; make it a folder",
                relative(&path)
            ));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn words_of_the_house() {
    // Split, so that this file does not find itself.
    let forbidden = [
        concat!("fn ", "handle_"),
        concat!("fn ", "process_"),
        concat!("fn ", "get_"),
        concat!("fn ", "do_"),
        concat!("mod ", "util"),
        concat!("mod ", "helpers"),
        concat!("mod ", "common"),
        concat!("Man", "ager {"),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("dbg", "!("),
    ];
    let mut faults = Vec::new();
    for path in files("src", "rs").into_iter().chain(files("tests", "rs")) {
        for (number, line) in read(&path).lines().enumerate() {
            for word in forbidden {
                if line.contains(word) {
                    faults.push(format!("{}:{}: {word}", relative(&path), number + 1));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn sled_is_named_in_one_file() {
    for path in files("src", "rs") {
        let found = code(&read(&path)).contains(concat!("sled", "::"));
        assert!(
            relative(&path) == "src/store/kv.rs" || !found,
            "{}: sled belongs into src/store/kv.rs",
            relative(&path)
        );
    }
}

#[test]
fn unsafe_code_is_in_one_file() {
    for path in files("src", "rs") {
        let allowed = relative(&path) == "src/store/segment/mapped.rs";
        let found = code(&read(&path)).contains(concat!("unsafe", " {"));
        assert!(
            allowed || !found,
            "{}: unsafe code belongs into src/store/segment/mapped.rs",
            relative(&path)
        );
    }
}

#[test]
fn every_room_opens_with_its_question() {
    for path in files("src", "rs")
        .into_iter()
        .filter(|path| path.ends_with("mod.rs") || room(path) + ".rs" == path.file_name().unwrap().to_str().unwrap())
    {
        assert!(
            read(&path).starts_with("//! "),
            "{}: expected `//!` and what the room is for on line 1",
            relative(&path)
        );
    }
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest: toml::Table = read(&root().join("Cargo.toml")).parse().unwrap();
    let contributing = read(&root().join("CONTRIBUTING.md"));
    let sections = ["dependencies", "dev-dependencies"]
        .into_iter()
        .map(|section| manifest[section].as_table().unwrap());
    let missing = sections
        .flat_map(|section| section.keys())
        .filter(|name| !contributing.contains(&format!("| `{name}` |")));
    let missing: Vec<_> = missing.collect();
    assert!(missing.is_empty(), "CONTRIBUTING.md gives no reason for {missing:?}");
}
