//! The documentation's snippets: jobs load and fit data of their kind, commands parse, Rust compiles,
//! and what a step reads is there or was made by a step before it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod stubs;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use bitsback::data;
use bitsback::job::Job;
use bitsback_runtime::{Interpreter, Model, arena_len, include_model};

/// Pages whose steps are followed from the first to the last.
const STEPS: [&str; 4] =
    ["README.md", "docs/TUTORIAL.md", "docs/from-pytorch.md", "docs/from-tensorflow.md"];
/// Pages whose TOML is jobs.
const JOBS: [&str; 5] = [
    "README.md",
    "docs/TUTORIAL.md",
    "docs/JOB.md",
    "docs/from-pytorch.md",
    "docs/from-tensorflow.md",
];
/// What a file on a command line ends with.
const ENDINGS: [&str; 8] = ["bbk", "tflite", "onnx", "toml", "npz", "csv", "png", "safetensors"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

/// A fenced block.
struct Block {
    language: String,
    /// Line of its fence, from 1.
    line: usize,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in page.lines().enumerate() {
        match (line.trim_start().strip_prefix("```"), open.as_mut()) {
            (Some(language), None) => {
                let language = language.trim().to_owned();
                open = Some(Block { language, line: index + 1, text: String::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => block.text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    blocks
}

/// The commands of a block, continued lines joined.
fn commands(block: &Block) -> Vec<String> {
    let text = block.text.replace("\\\n", " ");
    let lines = text.lines().map(|line| line.trim().trim_start_matches("$ "));
    let ours = |line: &&str| line.starts_with("bitsback ") || line.starts_with("cargo ");
    // A line may hold several commands and a remark behind them.
    let several = lines.filter(ours).flat_map(|line| line.split(" && "));
    several.map(|line| line.split(" #").next().unwrap_or(line).trim().to_owned()).collect()
}

/// The words of a call of `bitsback`, the program's name first.
fn bitsback(command: &str) -> Option<Vec<String>> {
    let rest = command
        .strip_prefix("bitsback ")
        .or_else(|| command.strip_prefix("cargo run --release -- "))?;
    let words = rest.split_whitespace().map(str::to_owned);
    Some(std::iter::once("bitsback".to_owned()).chain(words).collect())
}

#[test]
fn jobs_load_and_fit_data_of_their_kind() {
    let mut count = 0;
    for name in JOBS {
        for block in blocks(&page(name)).iter().filter(|block| block.language == "toml") {
            let place = format!("{name}, line {}", block.line);
            let folder = tempfile::tempdir().unwrap();
            // The job lies a folder down, since jobs name files beside their own.
            let path = folder.path().join("jobs/job.toml");
            fs::create_dir(folder.path().join("jobs")).unwrap();
            let text = stubs::with_data(&block.text);
            fs::write(&path, &text).unwrap();
            let job = Job::load(&path).unwrap_or_else(|error| panic!("{place}: {error}"));
            stubs::write(&job, &root());
            let dataset = data::load(&job.data).unwrap_or_else(|error| panic!("{place}: {error}"));
            job.resolve(&dataset).unwrap_or_else(|error| panic!("{place}: {error}\n{text}"));
            count += 1;
        }
    }
    assert!(count >= 12, "only {count} jobs found: the test looks in the wrong place");
}

#[test]
fn commands_parse() {
    let (mut count, mut wrong) = (0, Vec::new());
    for name in fs::read_dir(root().join("docs")).unwrap().flatten() {
        let path = name.path();
        if path.extension().is_some_and(|ending| ending == "md") {
            parse_all(&fs::read_to_string(&path).unwrap(), &mut count, &mut wrong);
        }
    }
    for name in ["README.md", "CONTRIBUTING.md"] {
        parse_all(&page(name), &mut count, &mut wrong);
    }
    assert!(count >= 10, "only {count} commands found: the test looks in the wrong place");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn parse_all(text: &str, count: &mut usize, wrong: &mut Vec<String>) {
    for command in blocks(text).iter().flat_map(commands) {
        let Some(words) = bitsback(&command) else { continue };
        *count += 1;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if let Err(error) = bitsback::internals::check(&words) {
            wrong.push(format!("{command}\n  {error}"));
        }
    }
}

/// What a command makes.
fn made(words: &[String]) -> Vec<String> {
    let after = |options: &[&str]| {
        let at = words.iter().position(|word| options.contains(&word.as_str()))?;
        words.get(at + 1).cloned()
    };
    match words.get(1).map(String::as_str) {
        Some("demo") => vec![after(&["--out"]).unwrap_or("out/demo".to_owned())],
        Some("compress") => {
            let job = Path::new(words.get(2).map_or("", String::as_str));
            let name = job.file_stem().unwrap_or_default().to_string_lossy();
            vec![after(&["--out"]).unwrap_or(format!("out/{name}"))]
        }
        _ => after(&["-o", "--output"]).into_iter().collect(),
    }
}

/// The files that a command reads: those among its words that look like one.
fn read(words: &[String]) -> Vec<String> {
    let written = made(words);
    let is_file = |word: &&String| {
        let known = Path::new(word).extension().is_some_and(|e| ENDINGS.iter().any(|k| e == *k));
        (known || word.contains('/')) && !word.starts_with('-') && !written.contains(word)
    };
    words.iter().filter(is_file).cloned().collect()
}

#[test]
fn what_a_step_reads_is_there_or_was_made() {
    let mut missing = Vec::new();
    let mut count = 0;
    for name in STEPS {
        let mut there = BTreeSet::new();
        let mut written = String::new();
        for block in blocks(&page(name)) {
            for command in commands(&block) {
                if let Some(data) = command.strip_prefix("cargo xtask data ") {
                    there.insert(format!("data/{data}"));
                }
                let Some(words) = bitsback(&command) else { continue };
                for file in read(&words) {
                    count += 1;
                    let made = there.iter().any(|made| Path::new(&file).starts_with(made));
                    // Code, or a program in another language, may have named it before.
                    let named = written.contains(&file);
                    if !made && !named && !root().join(&file).exists() {
                        missing.push(format!("{name}: `{command}` reads {file}"));
                    }
                }
                there.extend(made(&words));
            }
            let others = block.text.lines().filter(|line| !line.contains("bitsback "));
            written.extend(others.map(|line| format!("{line}\n")));
            // A job that is printed is one that the reader has written.
            if block.language == "toml" {
                written += "job.toml parts.toml\n";
            }
        }
        // A page may say in its text how data are fetched.
        missing.retain(|line| {
            !(line.starts_with(name)
                && line.ends_with("data/mnist")
                && page(name).contains("cargo xtask data mnist"))
        });
    }
    assert!(count >= 10, "only {count} files found: the test looks in the wrong place");
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// README's program, line by line but for the model, which a test has to have.
fn readme(pixels: Vec<u8>) -> Result<usize, Box<dyn std::error::Error>> {
    static MODEL: &[u8] = include_model!("../golden/digits/model.bbk");

    let model = Model::parse(MODEL)?; // every byte is checked here, and never again
    let mut arena = [0; arena_len(MODEL)]; // sized at compile time
    let mut interpreter = Interpreter::new(&model, &mut arena)?;
    interpreter.set_input_bytes(&pixels)?; // raw pixels; the file knows the preprocessing
    interpreter.invoke(); // can't fail
    let class = interpreter.class();
    Ok(class)
}

#[test]
fn the_rust_of_the_readme_compiles_and_runs() {
    let here = include_str!("snippets.rs");
    let plain =
        |line: &str| line.split("//").next().unwrap_or("").split_whitespace().collect::<String>();
    let lines: BTreeSet<String> = here.lines().map(plain).collect();
    let found = blocks(&page("README.md"));
    let block = found.iter().find(|block| block.language == "rust").unwrap();
    for line in
        block.text.replace("../../../out/demo/model.bbk", "../golden/digits/model.bbk").lines()
    {
        assert!(lines.contains(&plain(line)), "README.md has another line: {line}");
    }
    assert_eq!(
        found.iter().filter(|block| block.language == "rust").count(),
        1,
        "compile it here, too"
    );
    assert!(readme(vec![0; 64]).unwrap() < 10);
    assert!(readme(vec![0; 63]).is_err());
}
