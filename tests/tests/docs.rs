//! What the documentation says, checked: links and paths lead somewhere, commands and their options
//! exist, and the page of results is what the measured rows give.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bitsback_runtime::OpKind;

/// Folders whose files name paths from the top folder, when their text does.
const TOP_FOLDERS: [&str; 7] =
    ["compressor/", "docs/", "firmware-examples/", "jobs/", "runtime/", "tests/", "xtask/"];
/// Folders that hold no documentation of ours.
const LEFT_OUT: [&str; 5] = ["target", "out", "data", "corpus", "node_modules"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A markdown file.
struct Page {
    path: PathBuf,
    text: String,
}

impl Page {
    fn name(&self) -> String {
        self.path.strip_prefix(root()).unwrap_or(&self.path).display().to_string()
    }

    /// The lines outside of fenced blocks, or inside of them.
    fn lines(&self, fenced: bool) -> Vec<&str> {
        let mut inside = false;
        let mut found = Vec::new();
        for line in self.text.lines() {
            if line.trim_start().starts_with("```") {
                inside = !inside;
            } else if inside == fenced {
                found.push(line);
            }
        }
        found
    }

    /// Inline code: what stands between single backticks.
    fn inline_code(&self) -> Vec<String> {
        let prose = self.lines(false).join("\n");
        prose.split('`').skip(1).step_by(2).map(|code| code.replace('\n', " ")).collect()
    }
}

/// Every markdown file of the repository.
fn pages() -> Vec<Page> {
    let mut folders = vec![root()];
    let mut pages = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if path.is_dir() && !name.starts_with('.') && !LEFT_OUT.contains(&name.as_str()) {
                folders.push(path);
            } else if name.ends_with(".md") {
                pages.push(Page { text: fs::read_to_string(&path).unwrap(), path });
            }
        }
    }
    assert!(pages.iter().any(|page| page.path.ends_with("README.md")), "no README.md");
    pages
}

/// The targets of `](…)`, `src="…"` and `srcset="…"`.
fn links(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (open, close) in [("](", ')'), ("src=\"", '"'), ("srcset=\"", '"')] {
        for part in line.split(open).skip(1) {
            found.extend(part.split(close).next().map(str::to_owned));
        }
    }
    found
}

/// The name by which a code host links to a heading.
fn anchor(heading: &str) -> String {
    heading
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

fn has_anchor(file: &Path, wanted: &str) -> bool {
    let page =
        Page { path: file.to_path_buf(), text: fs::read_to_string(file).unwrap_or_default() };
    page.lines(false).iter().any(|line| line.starts_with('#') && anchor(line) == wanted)
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for page in pages() {
        for link in page.lines(false).iter().flat_map(|line| links(line)) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let file = match file {
                "" => page.path.clone(),
                file => page.path.parent().unwrap().join(file),
            };
            if !file.exists() || !anchor.is_empty() && !has_anchor(&file, anchor) {
                broken.push(format!("{}: {link}", page.name()));
            }
        }
    }
    assert!(broken.is_empty(), "links to nothing:\n  {}", broken.join("\n  "));
}

/// The number of a table row's cells: a `|` separates them, even in code, unless a backslash precedes it.
fn cells(row: &str) -> usize {
    row.matches('|').count() - row.matches("\\|").count() - 1
}

/// Why a reader sees no table in these rows, which follow each other in a page.
fn torn(rows: &[&str]) -> Option<String> {
    let is_rule = |row: &str| row.chars().all(|c| "|-: ".contains(c)) && row.contains("---");
    if !rows.get(1).is_some_and(|row| is_rule(row)) {
        return Some("no |---| below the first row: a table's rows follow each other".to_owned());
    }
    let open = rows.iter().find(|row| !row.trim_end().ends_with('|'));
    let other = rows.iter().find(|row| cells(row) != cells(rows[0]));
    open.map(|row| format!("no | at the end of: {row}"))
        .or_else(|| other.map(|row| format!("{} cells, not {}: {row}", cells(row), cells(rows[0]))))
}

/// A newcomer's page is read in one go; everything else has a page of its own.
const MAX_README_WORDS: usize = 900;

#[test]
fn the_readme_is_short() {
    let words = fs::read_to_string(root().join("README.md")).unwrap().split_whitespace().count();
    assert!(words <= MAX_README_WORDS, "{words} words: move what a newcomer can do without");
}

#[test]
fn tables_are_whole() {
    let (mut tables, mut wrong) = (0, Vec::new());
    for page in pages() {
        let lines = page.lines(false);
        let are_alike = |a: &&str, b: &&str| a.starts_with('|') == b.starts_with('|');
        for rows in lines.chunk_by(are_alike).filter(|rows| rows[0].starts_with('|')) {
            tables += 1;
            wrong.extend(torn(rows).map(|why| format!("{}: {why}", page.name())));
        }
    }
    assert!(tables > 20, "only {tables} tables found: the test looks in the wrong place");
    assert!(wrong.is_empty(), "tables that don't render:\n  {}", wrong.join("\n  "));
}

#[test]
fn torn_tables_are_found() {
    let whole = ["| a | b |", "|---|--:|", "| `x \\| y` | 2 |"];
    assert_eq!(torn(&whole), None);
    for rows in [&whole[..1], &whole[1..], &["| a | b |", "|---|---|", "| 1 |"]] {
        assert!(torn(rows).is_some(), "{rows:?}");
    }
    assert!(torn(&["| a | b |", "|---|---|", "| 1 | 2 | 3"]).is_some());
}

#[test]
fn paths_in_the_text_exist() {
    let mut missing = BTreeSet::new();
    for page in pages() {
        for code in page.inline_code() {
            let is_path = TOP_FOLDERS.iter().any(|folder| code.starts_with(folder))
                && !code.contains(|c: char| c.is_whitespace() || "<*…{".contains(c))
                && !code.chars().any(char::is_uppercase);
            // A package's own pages may mean their own folders.
            let beside = page.path.parent().unwrap().join(&code);
            if is_path && !root().join(&code).exists() && !beside.exists() {
                missing.insert(format!("{}: {code}", page.name()));
            }
        }
    }
    let missing: Vec<String> = missing.into_iter().collect();
    assert!(missing.is_empty(), "paths that don't exist:\n  {}", missing.join("\n  "));
}

/// The compressor beside this test, where `cargo test` has just built it, with the same features:
/// another set would build burn again.
fn built(package: &str) -> Option<PathBuf> {
    let here = std::env::current_exe().ok()?;
    let program = here.parent()?.parent()?.join(package);
    (package == "bitsback" && program.is_file()).then_some(program)
}

/// Runs one of the workspace's programs.
fn cargo_run(package: &str, arguments: &[&str]) -> Output {
    if let Some(program) = built(package) {
        return Command::new(program).args(arguments).current_dir(root()).output().unwrap();
    }
    Command::new(env!("CARGO"))
        .args(["run", "--release", "--quiet", "--package", package, "--"])
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap()
}

/// A command of ours, as the documentation writes it: the package and its arguments.
fn call(code: &str) -> Option<(&'static str, Vec<String>)> {
    let code = code.trim().trim_start_matches("$ ");
    let (package, rest) = [
        ("xtask", "cargo xtask "),
        ("bitsback", "cargo run --release -- "),
        ("bitsback", "bitsback "),
    ]
    .iter()
    .find_map(|(package, start)| code.strip_prefix(start).map(|rest| (*package, rest)))?;
    let rest = rest.split([';', '|', '#', '>']).next().unwrap_or(rest);
    let rest = rest.split(" && ").next().unwrap_or(rest);
    let words: Vec<String> = rest.split_whitespace().map(str::to_owned).collect();
    // `bitsback` alone in prose, or a placeholder, names no verb.
    let verb = words.first()?;
    verb.chars().all(|c| c.is_ascii_lowercase() || c == '-').then_some((package, words))
}

#[test]
fn commands_and_their_options_exist() {
    let mut helps: BTreeMap<(&str, Vec<String>), Option<String>> = BTreeMap::new();
    let mut wrong = BTreeSet::new();
    let mut calls = 0;
    for page in pages() {
        let blocks = page.lines(true).join("\n").replace("\\\n", " ");
        // Blocks may be transcripts, so only lines that begin with a command count.
        let codes = page.inline_code().into_iter().chain(blocks.lines().map(str::to_owned));
        for (code, (package, words)) in codes.filter_map(|c| call(&c).map(|call| (c, call))) {
            calls += 1;
            let depth = if words[0] == "bench" { 2 } else { 1 };
            let verb: Vec<String> =
                words.iter().take(depth).take_while(|w| !w.starts_with('-')).cloned().collect();
            let help = helps.entry((package, verb.clone())).or_insert_with(|| {
                let mut arguments = vec!["help"];
                arguments.extend(verb.iter().map(String::as_str).filter(|verb| *verb != "help"));
                let output = cargo_run(package, &arguments);
                output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into())
            });
            let options = words.iter().filter(|word| word.starts_with("--"));
            let names = options.map(|word| word.split('=').next().unwrap_or(word));
            let exists = |help: &String| names.clone().all(|name| help.contains(name));
            if !help.as_ref().is_some_and(exists) {
                wrong.insert(format!("{}: {}", page.name(), code.trim()));
            }
        }
    }
    assert!(calls > 10, "only {calls} commands found: the test looks in the wrong place");
    let wrong: Vec<String> = wrong.into_iter().collect();
    assert!(wrong.is_empty(), "no such command or option:\n  {}", wrong.join("\n  "));
}

#[test]
fn the_page_of_results_is_fresh() {
    let output = cargo_run("xtask", &["results", "--check"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What `crate::` paths of a source file name first, without its tests.
fn imports(text: &str) -> BTreeSet<&str> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let paths = lines.flat_map(|line| line.split("crate::").skip(1));
    paths
        .filter_map(|path| path.split(|c: char| !c.is_alphanumeric() && c != '_').next())
        .filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase()))
        .collect()
}

/// Source files below a folder, but those of tests.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    const OF_TESTS: [&str; 5] = ["tests", "checks", "documentation", "properties", "random_graphs"];
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if OF_TESTS.contains(&stem.as_str()) {
            continue;
        }
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_compressors_folders_import_from_those_above() {
    let text = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let table = text.split("| where | what it gives |").nth(1).unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let mut levels = BTreeMap::new();
    for (level, row) in rows.enumerate() {
        let cell = row.split('|').nth(1).unwrap();
        for name in cell.split('`').skip(1).step_by(2) {
            levels.insert(name.trim_end_matches('/').trim_end_matches(".rs").to_owned(), level);
        }
    }
    let folder = root().join("compressor/src");
    let mut files = Vec::new();
    sources(&folder, &mut files);
    let mut wrong = BTreeSet::new();
    for file in files {
        let place = file.strip_prefix(&folder).unwrap();
        let first = place.components().next().unwrap().as_os_str().to_string_lossy();
        let own = first.trim_end_matches(".rs");
        if ["lib", "main"].contains(&own) {
            continue;
        }
        let level = levels.get(own);
        let text = fs::read_to_string(&file).unwrap();
        let upwards = |name: &&str| *name != own && levels.get(*name) >= level;
        wrong.extend(
            imports(&text)
                .into_iter()
                .filter(upwards)
                .map(|name| format!("{} imports {name}, which stands no higher", place.display())),
        );
        if level.is_none() {
            wrong.insert(format!("{own} has no line"));
        }
    }
    let wrong: Vec<String> = wrong.into_iter().collect();
    assert!(wrong.is_empty(), "docs/ARCHITECTURE.md and the code:\n  {}", wrong.join("\n  "));
}

#[test]
fn every_operator_has_a_row_in_the_format() {
    let text = fs::read_to_string(root().join("docs/FORMAT.md")).unwrap();
    for kind in OpKind::ALL {
        let row = format!("\n| {} | {} | ", *kind as u8, kind.name());
        assert!(text.contains(&row), "docs/FORMAT.md lacks the row {row}");
    }
}

#[test]
fn every_job_in_the_documentation_is_shipped() {
    let mut missing = BTreeSet::new();
    for page in pages() {
        for word in page.text.split(|c: char| c.is_whitespace() || "`()[]\"".contains(c)) {
            let is_job = word.starts_with("jobs/") && word.ends_with(".toml");
            if is_job && !root().join(word).exists() {
                missing.insert(format!("{}: {word}", page.name()));
            }
        }
    }
    let missing: Vec<String> = missing.into_iter().collect();
    assert!(missing.is_empty(), "jobs that don't exist:\n  {}", missing.join("\n  "));
}

#[test]
fn ci_runs_the_developers_command_and_all_of_it() {
    let calls = |line: &str| {
        let command = line.trim().trim_start_matches("- run: ").trim_start_matches("exec ");
        command.trim_end_matches(" </dev/null") == "cargo xtask test"
    };
    for file in [".github/workflows/ci.yml", ".ci/run"] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        assert_eq!(text.lines().filter(|line| calls(line)).count(), 1, "{file}");
    }
}

/// A decision is read at a glance, or it is several.
const MAX_DECISION_LINES: usize = 30;

#[test]
fn decisions_are_short_and_indexed() {
    let folder = root().join("docs/decisions");
    let index = fs::read_to_string(folder.join("README.md")).unwrap();
    let mut names: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name != "README.md")
        .collect();
    names.sort();
    assert!(names.len() > 20, "only {} decisions: the test looks in the wrong place", names.len());
    for (name, number) in names.iter().zip(1..) {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        let title =
            text.lines().next().and_then(|line| line.strip_prefix(&format!("# {number}. ")));
        let title = title.unwrap_or_else(|| panic!("{name}: its title begins with # {number}."));
        assert!(name.starts_with(&format!("{number:04}-")), "{name}: it is number {number}");
        assert!(
            index.contains(&format!("{number}. [{title}]({name})\n")),
            "the index lacks {name}"
        );
        assert!(text.lines().count() <= MAX_DECISION_LINES, "{name}: too long");
        let parts = ["Decided", "Why", "Measured", "Costs"].map(|part| format!("\n**{part}.** "));
        let places = parts.map(|part| text.find(&part).unwrap_or_else(|| panic!("{name}:{part}")));
        assert!(places.is_sorted(), "{name}: the parts' order");
    }
}
