//! The house is built as `src/lib.rs` says: each room imports only what the table there allows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms in the order of the table, each with those that it may import.
fn table() -> Vec<(String, BTreeSet<String>)> {
    let lib = fs::read_to_string("src/lib.rs").unwrap();
    let rows = lib.lines().filter_map(|line| line.strip_prefix("//! | [`"));
    rows.map(|row| {
        let (room, rest) = row.split_once("`]").unwrap();
        let imports = rest.split('|').nth(2).unwrap().split_whitespace().filter(|it| *it != "-");
        (room.to_owned(), imports.map(ToOwned::to_owned).collect())
    })
    .collect()
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// What a line of code imports or names of the other rooms.
fn named(line: &str) -> impl Iterator<Item = &str> {
    let code = line.split_once("//").map_or(line, |(code, _)| code);
    code.match_indices("crate::").map(|(at, word)| {
        let rest = &code[at + word.len()..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

#[test]
fn each_room_imports_only_what_the_table_allows() {
    let table: BTreeMap<String, BTreeSet<String>> = table().into_iter().collect();
    let mut paths = Vec::new();
    files(Path::new("src"), &mut paths);
    let mut wrong = Vec::new();
    let mut arrows = BTreeSet::new();
    for path in paths {
        let parts: Vec<&str> = path.iter().map(|part| part.to_str().unwrap()).collect();
        // The crate's front page and the program stand outside of the rooms.
        let ["src", room, .., _] = parts.as_slice() else { continue };
        let allowed = table.get(*room).unwrap_or_else(|| panic!("no room is called {room}"));
        let text = fs::read_to_string(&path).unwrap();
        let product = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        for (number, line) in product.lines().enumerate() {
            for other in named(line).filter(|other| other != room) {
                arrows.insert((room.to_string(), other.to_owned()));
                if !allowed.contains(other) {
                    wrong.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports that src/lib.rs does not allow:\n{}", wrong.join("\n"));
    let allowed = table
        .iter()
        .flat_map(|(room, imports)| imports.iter().map(move |other| (room.clone(), other.clone())));
    let unused: Vec<_> = allowed.filter(|arrow| !arrows.contains(arrow)).collect();
    assert!(unused.is_empty(), "allowed, but nothing imports it: {unused:?}");
}

#[test]
fn no_room_imports_one_that_stands_below_it_in_the_table() {
    let mut above = BTreeSet::new();
    for (room, imports) in table() {
        assert!(imports.is_subset(&above), "{room} imports {imports:?}");
        above.insert(room);
    }
    assert!(above.len() >= 11, "{above:?}");
}
