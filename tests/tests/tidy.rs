//! The mechanical part of the house style, as tests: what a reviewer should not have to look for.
//!
//! Exceptions are listed here with their reason; a list that grows is a rule that is wrong.

use std::fs;
use std::path::{Path, PathBuf};

/// The longest file: beyond it, it holds two concepts.
const MAX_FILE_LINES: usize = 500;
/// The longest function: a screen.
const MAX_FUNCTION_LINES: usize = 70;
/// Functions that are tables, with an entry for every operator: splitting would only hide it.
const TABLES: [&str; 2] = ["tests/fuzz/draw.rs", "tests/fuzz/samples.rs"];
/// The source folders of the repository.
const SOURCES: [&str; 5] = ["compressor", "runtime", "xtask", "tests", "firmware-examples"];

/// Where unsafe code may be: the runtime's instruction-set modules, its border with C, and the glue
/// that lets firmware start and see its board, each for what the word says.
const UNSAFE_ALLOWED: [&str; 15] = [
    "runtime/src/arch/",
    "runtime/c/src/pointers.rs", // what C hands over becomes slices, with every possible check
    "runtime/c/src/exports.rs",  // the functions that C calls, which take pointers
    "runtime/c/src/watch.rs",    // as do those of sentinels
    "runtime/c/src/exports/tests.rs", // and their tests, which call them as C does
    "runtime/c/src/watch/tests.rs",
    "runtime/c/src/panicked.rs", // the missing symbol that proves no panic is left
    "firmware-examples/board/src/start.rs", // entry points and fault handlers
    "firmware-examples/board/src/lib.rs", // the symbol that start-up calls
    "firmware-examples/board/src/register.rs", // timers
    "firmware-examples/board/src/counter.rs", // RISC-V's instruction counter
    "firmware-examples/board/src/stack.rs", // painting the unused stack
    "firmware-examples/board/src/model_slot.rs", // the flash that a model is written to
    "firmware-examples/board/src/flash.rs", // its controller
    "firmware-examples/footprint/src/main.rs", // the missing symbol that proves no panic is left
];

struct Source {
    /// Relative to the repository, with forward slashes.
    name: String,
    text: String,
}

impl Source {
    /// The text before the file's unit tests.
    fn without_tests(&self) -> &str {
        let end = self.text.find("#[cfg(test)]\nmod ").unwrap_or(self.text.len());
        &self.text[..end]
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_source = !name.starts_with('.') && name != "target" && name != "corpus";
        if path.is_dir() && is_source {
            walk(&path, found);
        } else if path.is_file() {
            found.push(path);
        }
    }
}

fn read(path: &Path) -> Option<Source> {
    let name = path.strip_prefix(root()).ok()?.to_string_lossy().replace('\\', "/");
    Some(Source { name, text: fs::read_to_string(path).ok()? })
}

fn rust_sources() -> Vec<Source> {
    let mut files = Vec::new();
    for folder in SOURCES {
        walk(&root().join(folder), &mut files);
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    files.sort();
    assert!(!files.is_empty(), "no sources found: the test looks in the wrong place");
    files.iter().filter_map(|path| read(path)).collect()
}

/// A line without its comment and without what its strings hold; good enough for code that
/// rustfmt has seen.
fn code(line: &str) -> String {
    if line.trim_start().starts_with("//") {
        return String::new();
    }
    let line = line.split(" // ").next().unwrap_or(line);
    line.split('"').step_by(2).collect::<Vec<_>>().join("\"\"")
}

/// Whether a function's definition starts on this line.
fn defines_function(line: &str) -> bool {
    let before = code(line).split("fn ").next().unwrap_or_default().trim().to_owned();
    let qualifiers = ["const", "async", "extern", "\"\"", &["un", "safe"].concat()];
    has_word(&code(line), "fn")
        && before
            .split_whitespace()
            .all(|word| word.starts_with("pub") || qualifiers.contains(&word))
}

fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

/// Every line of every source for which `wrong` holds, as `file:line: text`.
fn offences(sources: &[Source], wrong: impl Fn(&Source, &str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        for (number, line) in source.text.lines().enumerate() {
            if wrong(source, line) {
                found.push(format!("{}:{}: {}", source.name, number + 1, line.trim()));
            }
        }
    }
    found
}

fn assert_none(found: &[String], rule: &str) {
    assert!(found.is_empty(), "{rule}\n  {}", found.join("\n  "));
}

#[test]
fn unsafe_code_is_where_it_may_be() {
    // As code writes it: before a block, an item, or an attribute's argument.
    let uses = [" ", "{", "("].map(|after| ["un", "safe", after].concat());
    let found = offences(&rust_sources(), |source, line| {
        let allowed = UNSAFE_ALLOWED.iter().any(|place| source.name.starts_with(place));
        !allowed && uses.iter().any(|used| code(line).contains(used))
    });
    assert_none(&found, "unsafe code lives in runtime/src/arch (and the listed borders) alone");
}

#[test]
fn nothing_is_left_undone() {
    let marks = [
        ["to", "do!("].concat(),
        ["unimpl", "emented!("].concat(),
        ["#[ig", "nore"].concat(),
        ["FIX", "ME"].concat(),
    ];
    let found = offences(&rust_sources(), |_, line| marks.iter().any(|mark| line.contains(mark)));
    assert_none(&found, "finish it, or leave it out and say so in the docs");
}

#[test]
fn files_hold_one_concept() {
    let found: Vec<String> = rust_sources()
        .iter()
        .map(|source| (&source.name, source.text.lines().count()))
        .filter(|(_, lines)| *lines > MAX_FILE_LINES)
        .map(|(name, lines)| format!("{name}: {lines} lines"))
        .collect();
    assert_none(&found, "split files beyond 500 lines");
}

#[test]
fn functions_fit_a_screen() {
    let mut found = Vec::new();
    for source in rust_sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (start, line) in lines.iter().enumerate().filter(|(_, line)| defines_function(line)) {
            // A declaration ends with a semicolon before any body opens.
            let mut rest = lines[start..].iter();
            if !rest.any(|line| line.ends_with(['{', '}', ';'])) || line.ends_with([';', '}']) {
                continue;
            }
            let indent = line.len() - line.trim_start().len();
            let end = format!("{}}}", " ".repeat(indent));
            let length = lines[start..].iter().position(|later| **later == end).unwrap_or(0) + 1;
            if length > MAX_FUNCTION_LINES && !TABLES.contains(&source.name.as_str()) {
                found.push(format!("{}:{}: {length} lines", source.name, start + 1));
            }
        }
    }
    assert_none(&found, "split functions beyond 70 lines");
}

#[test]
fn nothing_knows_the_machine_it_was_written_on() {
    let places = ["home", "root", "work", "tmp", "Users"].map(|name| format!("/{name}/"));
    let mut files = Vec::new();
    for folder in SOURCES.iter().chain(&["docs", "jobs", ".ci", ".github"]) {
        walk(&root().join(folder), &mut files);
    }
    files.extend(fs::read_dir(root()).into_iter().flatten().flatten().map(|entry| entry.path()));
    let is_text = |path: &PathBuf| {
        let extension = path.extension().unwrap_or_default().to_string_lossy().into_owned();
        ["rs", "toml", "md", "yml", "json", "sh", "h", "c"].contains(&extension.as_str())
            || path.ends_with(".ci/run")
    };
    files.retain(|path| path.is_file() && is_text(path));
    let sources: Vec<Source> = files.iter().filter_map(|path| read(path)).collect();
    let found = offences(&sources, |_, line| {
        places.iter().any(|place| {
            line.match_indices(place.as_str()).any(|(at, _)| {
                // A path starts here: not the middle of an address or of a relative path.
                let before = line[..at].chars().next_back();
                !before.is_some_and(|c| c.is_alphanumeric() || "._-/}".contains(c))
            })
        })
    });
    assert_none(&found, "no absolute paths of somebody's machine");
}

#[test]
fn the_runtime_never_unwraps() {
    let sources: Vec<Source> = rust_sources()
        .into_iter()
        .filter(|source| {
            ["runtime/src/", "runtime/slots/src/"].iter().any(|of| source.name.starts_with(of))
        })
        .map(|source| Source { text: source.without_tests().to_owned(), ..source })
        .filter(|source| !source.name.ends_with("suite.rs") && !source.name.contains("test"))
        .collect();
    let found = offences(&sources, |_, line| {
        let line = code(line);
        line.contains(".unwrap()") || line.contains(".expect(") || has_word(&line, "panic!")
    });
    assert_none(&found, "after Model::parse nothing on the device can panic");
}

#[test]
fn every_limit_says_why() {
    let mut found = Vec::new();
    for source in rust_sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let declares = code(line)
                .trim()
                .split(' ')
                .skip_while(|word| word.starts_with("pub"))
                .collect::<Vec<_>>()
                .join(" ")
                .starts_with("const MAX_");
            let above = lines[..number].iter().rev().find(|line| !line.trim().starts_with("#["));
            let explained = above.is_some_and(|line| line.trim().starts_with("///"));
            if declares && !explained {
                found.push(format!("{}:{}: {}", source.name, number + 1, line.trim()));
            }
        }
    }
    assert_none(&found, "a limit without its reason");
}

/// Where modules keep the one style; the other source folders follow.
const MODULES: [&str; 3] = ["xtask/", "tests/", "firmware-examples/"];

#[test]
fn modules_with_parts_are_folders() {
    let found: Vec<String> = rust_sources()
        .into_iter()
        .map(|source| source.name)
        .filter(|name| MODULES.iter().any(|folder| name.starts_with(folder)))
        .filter(|name| root().join(name.trim_end_matches(".rs")).is_dir())
        .collect();
    assert_none(&found, "move foo.rs beside foo/ to foo/mod.rs");
}

#[test]
fn unit_tests_have_one_name() {
    let mut found = Vec::new();
    for source in rust_sources() {
        for (line, next) in source.text.lines().zip(source.text.lines().skip(1)) {
            let inline = next.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(" {"));
            if line == "#[cfg(test)]" && inline.is_some_and(|name| name != "tests") {
                found.push(format!("{}: {next}", source.name));
            }
        }
    }
    assert_none(&found, "a file's unit tests are `mod tests`");
}

#[test]
fn the_changelog_has_a_place_for_what_comes_next() {
    let changelog = fs::read_to_string(root().join("CHANGELOG.md")).expect("CHANGELOG.md");
    let has_section = changelog
        .lines()
        .any(|line| line.starts_with("## ") && line.to_lowercase().contains("unreleased"));
    assert!(has_section, "CHANGELOG.md needs a section '## Unreleased'");
}
