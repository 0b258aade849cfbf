//! Which key stands on which line, and what serde's errors mean in a job file's terms.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{JobError, Place};
use crate::network::LayerConfig;

/// The list of layers.
const LAYERS: &str = "network.layers";

/// Keys that have another name now: the old one, the new one, and what is to be known of it.
const RENAMED: [(&str, &str, &str); 1] = [(
    "requirements.ram_bytes",
    "requirements.arena_bytes",
    "it limits the model's arena; what the firmware takes, stack and static variables with it, is \
     known once that is linked and run: `bitsback certify --ram` limits it",
)];

/// How alike (Jaro–Winkler, 0…1) two words must be for one to be suggested for the other.
const ALIKE: f64 = 0.8;

/// Where a job was read: its file, and the line of every key. All origins count as equal, so that
/// jobs are compared by what they say.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    path: PathBuf,
    /// Every key's full path (`network.layers[2].units`) in the order of the file.
    keys: Vec<Key>,
    /// Line of each path.
    lines: BTreeMap<String, u32>,
}

impl PartialEq for Origin {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// A key or a list's element.
#[derive(Clone, Debug)]
struct Key {
    path: String,
    /// Bytes of its name, and of its value.
    name: Range<usize>,
    value: Range<usize>,
}

impl Origin {
    /// Finds every key; fails where the text is no TOML.
    pub(super) fn read(path: &Path, text: &str) -> Result<Self, JobError> {
        let root = DeTable::parse(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start).min(text.len());
            let before = text.get(..at).unwrap_or_default();
            let line_start = before.rfind('\n').map_or(0, |n| n + 1);
            let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
            let place = Place { path: path.into(), line: Some(line(text, at)) };
            JobError::Syntax { place, column, message: error.message().replace('\n', ": ") }
        })?;
        let mut keys = Vec::new();
        walk_table(root.get_ref(), "", &mut keys);
        keys.sort_by_key(|key| key.name.start);
        let lines = keys.iter().map(|key| (key.path.clone(), line(text, key.name.start))).collect();
        Ok(Self { path: path.to_owned(), keys, lines })
    }

    /// Whether the file has this key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.lines.contains_key(key)
    }

    /// Where a key is, or the nearest thing around it that the file has.
    pub(super) fn place(&self, key: &str) -> Place {
        let mut key = key;
        loop {
            if let Some(&line) = self.lines.get(key) {
                return Place { path: self.path.as_path().into(), line: Some(line) };
            }
            match key.rfind(['.', '[']) {
                Some(end) => key = key.get(..end).unwrap_or_default(),
                None => return Place { path: self.path.as_path().into(), line: None },
            }
        }
    }

    /// The key at a span of an error: the innermost whose name or value holds its beginning.
    fn at(&self, span: Option<Range<usize>>) -> String {
        let Some(span) = span else { return String::new() };
        let holds = |range: &Range<usize>| range.contains(&span.start) && span.end <= range.end;
        let innermost = self
            .keys
            .iter()
            .filter(|key| holds(&key.name) || holds(&key.value))
            .max_by_key(|key| key.path.len());
        innermost.map(|key| key.path.clone()).unwrap_or_default()
    }

    /// Puts serde's message into a job file's terms.
    pub(super) fn explain(&self, text: &str, error: &toml::de::Error) -> JobError {
        let message = error.message();
        let mut key = self.at(error.span());
        // A layer is read by its `type`, and on that way serde forgets which layer it was.
        if key.starts_with(LAYERS)
            && let Some(index) = wrong_layer(text)
        {
            key = format!("{LAYERS}[{index}]");
        }
        // serde's messages put what was found first and what is expected after it, in backquotes.
        let mut quoted = message.split('`').skip(1).step_by(2).map(str::to_owned);
        let mut first = || quoted.next().unwrap_or_default();
        if message.starts_with("unknown field") {
            return self.unknown_key(&key, &first(), quoted.collect());
        }
        if message.starts_with("unknown variant") {
            let value = first();
            let allowed: Vec<String> = quoted.collect();
            // serde blames the whole layer for any of its words.
            let key = self.holder(text, &key, &value).unwrap_or(key);
            let (place, nearest) = (self.place(&key), nearest(&value, &allowed));
            return JobError::UnknownValue { place, key, value, nearest, allowed };
        }
        if message.starts_with("missing field") {
            let place = self.place(&key);
            return JobError::MissingKey { place, key: join(&key, &first()) };
        }
        let message = message.replace("invalid type: ", "is of the wrong type: ");
        JobError::Type { place: self.place(&key), key, message }
    }

    /// The key below `key` whose value is this word.
    fn holder(&self, text: &str, key: &str, word: &str) -> Option<String> {
        let below = format!("{key}.");
        let is_it = |value: &str| value.trim_matches(['"', '\'']) == word;
        let mut inside = self.keys.iter().filter(|candidate| candidate.path.starts_with(&below));
        let found = inside.find(|candidate| text.get(candidate.value.clone()).is_some_and(is_it));
        found.map(|key| key.path.clone())
    }

    fn unknown_key(&self, at: &str, name: &str, known: Vec<String>) -> JobError {
        // The error points at the key itself or at the table around it.
        let last = at.rsplit('.').next().unwrap_or_default();
        let table = match at.strip_suffix(name) {
            Some(table) if last == name => table.trim_end_matches('.'),
            _ => at,
        };
        let key = join(table, name);
        if let Some((_, now, why)) = RENAMED.iter().find(|(old, ..)| *old == key) {
            return JobError::Renamed { place: self.place(&key), key, now, why };
        }
        let nearest = match nearest(name, &known) {
            Some(near) => Some(join(table, &near)),
            None => elsewhere(name),
        };
        JobError::UnknownKey { place: self.place(&key), key, nearest, known }
    }
}

/// Index of the first layer that can't be read.
fn wrong_layer(text: &str) -> Option<usize> {
    let job: toml::Table = text.parse().ok()?;
    let layers = job.get("network")?.get("layers")?.as_array()?;
    layers.iter().position(|layer| LayerConfig::deserialize(layer.clone()).is_err())
}

fn join(table: &str, name: &str) -> String {
    if table.is_empty() { name.to_owned() } else { format!("{table}.{name}") }
}

fn line(text: &str, at: usize) -> u32 {
    // A job file has at most 2^20 bytes.
    text.bytes().take(at).fold(1, |line, byte| line + u32::from(byte == b'\n'))
}

fn walk_table(table: &DeTable<'_>, path: &str, keys: &mut Vec<Key>) {
    for (name, value) in table {
        let path = join(path, name.get_ref());
        keys.push(Key { path: path.clone(), name: name.span(), value: value.span() });
        walk_value(value, &path, keys);
    }
}

fn walk_value(value: &Spanned<DeValue<'_>>, path: &str, keys: &mut Vec<Key>) {
    match value.get_ref() {
        DeValue::Table(table) => walk_table(table, path, keys),
        DeValue::Array(array) => {
            for (index, element) in array.iter().enumerate() {
                let path = format!("{path}[{index}]");
                keys.push(Key { path: path.clone(), name: element.span(), value: element.span() });
                walk_value(element, &path, keys);
            }
        }
        _ => {}
    }
}

/// The word of `known` that is most like `word`, if any is.
fn nearest(word: &str, known: &[String]) -> Option<String> {
    known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate.clone())
}

/// A key of that very name in another section.
fn elsewhere(name: &str) -> Option<String> {
    fn search(value: &toml::Value, path: &str, name: &str) -> Option<String> {
        let table = value.as_table()?;
        if table.contains_key(name) {
            return Some(join(path, name));
        }
        table.iter().find_map(|(key, value)| search(value, &join(path, key), name))
    }
    // Keys without a value of their own by default are in the table of limits, if they are numbers.
    let limited = || {
        let mut keys = super::limits::LIMITS.iter().map(|(key, _)| key.trim_end_matches("[]"));
        keys.find(|key| key.rsplit('.').next() == Some(name)).map(str::to_owned)
    };
    search(&toml::Value::try_from(super::Job::default()).ok()?, "", name).or_else(limited)
}
