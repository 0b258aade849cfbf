//! PyTorch's `.pt` and `.pth` files: a zip archive with a pickle and one member per storage.

use std::collections::HashMap;
use std::io::{Cursor, Read};

use zip::ZipArchive;
use zip::result::ZipError;

use super::element::Element;
use super::error::{FormatError, too_many_tensors};
use super::pickle::{Id, MAX_PICKLE_BYTES, Unpickled, Value, unpickle};
use super::{MAX_FILE_BYTES, MAX_NAME_LEN, MAX_RANK, MAX_TENSORS, NamedTensor, checked_len};

/// First bytes before version 1.6: a pickled magic number.
pub(super) const OLD_MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

/// Where training scripts put the weights, in a dictionary with other things.
const STATE_KEYS: [&str; 3] = ["state_dict", "model_state_dict", "model"];

/// Dictionaries within dictionaries, at most; a state dict is flat.
const MAX_DEPTH: usize = 4;

/// How many times a file's size its members may unpack to: `torch.save` doesn't compress, and what else
/// packs an archive gains little on weights.
const MAX_EXPANSION: u64 = 16;

/// What may be unpacked whatever the file's size (16 MiB).
const MIN_UNPACKED_LIMIT: u64 = 16 << 20;

/// How many times all tensors together may be as large as their storages: tied weights are in two.
const MAX_SHARING: usize = 4;

/// Entries of dictionaries that are looked at, at most: a thousand for every tensor that is read
/// would be strange.
const MAX_ENTRIES: usize = MAX_TENSORS * 1024;

/// All floating-point tensors, in the order of the dictionary.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<NamedTensor>, FormatError> {
    let mut archive = Archive::open(bytes)?;
    let pickle = archive.read("data.pkl", MAX_PICKLE_BYTES)?;
    let unpickled = unpickle(&pickle)?;
    let root = weights(&unpickled);
    let mut search = Search { unpickled: &unpickled, left: MAX_ENTRIES, found: Vec::new() };
    search.dictionary(root, "", MAX_DEPTH)?;
    let named = search.found;
    if named.is_empty() {
        return Err(FormatError::NoTensors);
    }
    let mut storages = HashMap::new();
    let (mut spent, mut stored) = (0, 0);
    let mut tensors = Vec::with_capacity(named.len());
    for (name, id) in named {
        let view = View::new(&unpickled, name, id)?;
        let Some(view) = view else { continue };
        if !storages.contains_key(view.key) {
            let bytes = archive.read(&format!("data/{}", view.key), MAX_FILE_BYTES)?;
            stored += bytes.len() / view.element.bytes().max(1);
            storages.insert(view.key, bytes);
        }
        let bytes = storages.get(view.key).map(Vec::as_slice).unwrap_or_default();
        let most = stored.saturating_mul(MAX_SHARING).saturating_sub(spent);
        let tensor = view.read(bytes, spent, most)?;
        spent += tensor.values.len();
        tensors.push(tensor);
    }
    Ok(tensors)
}

/// The archive, whose members lie in one folder.
struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    folder: String,
    /// Bytes that may still be unpacked.
    left: u64,
}

impl<'a> Archive<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let damaged = |source| FormatError::Archive { source };
        let zip = ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
        let folder = zip
            .file_names()
            .filter_map(Result::ok)
            .find_map(|name| name.strip_suffix("data.pkl").map(str::to_owned));
        let no_pickle = || FormatError::NoMember { member: String::from("data.pkl") };
        let folder = folder.ok_or_else(no_pickle)?;
        let packed = bytes.len() as u64;
        let left = packed.saturating_mul(MAX_EXPANSION).clamp(MIN_UNPACKED_LIMIT, MAX_FILE_BYTES);
        let mut archive = Self { zip, folder, left };
        match archive.read("byteorder", MAX_NAME_LEN as u64) {
            Ok(order) if order != b"little" => Err(FormatError::BigEndian),
            Ok(_) | Err(FormatError::NoMember { .. }) => Ok(archive),
            Err(error) => Err(error),
        }
    }

    /// A member of the folder, of at most `limit` bytes. What the archive says of its size isn't
    /// believed.
    fn read(&mut self, member: &str, limit: u64) -> Result<Vec<u8>, FormatError> {
        let name = format!("{}{member}", self.folder);
        let file = self.zip.by_name(&name).map_err(|source| match source {
            ZipError::FileNotFound => FormatError::NoMember { member: name.clone() },
            source => FormatError::Archive { source },
        })?;
        let limit = limit.min(self.left);
        let mut bytes = Vec::new();
        let taken = file.take(limit.saturating_add(1)).read_to_end(&mut bytes);
        taken.map_err(|source| FormatError::Archive { source: source.into() })?;
        let found = bytes.len() as u64;
        if found > limit {
            return Err(FormatError::TooMany { what: "unpacked bytes", limit: limit as usize });
        }
        self.left -= found;
        Ok(bytes)
    }
}

/// The state dict itself, where the file holds it among other things.
fn weights(unpickled: &Unpickled) -> Id {
    let Value::Dict(entries) = &unpickled.values[unpickled.root] else { return unpickled.root };
    let inner = entries.iter().find(|(key, value)| {
        let named = matches!(&unpickled.values[*key], Value::Text(key) if STATE_KEYS.contains(&key.as_str()));
        named && matches!(unpickled.values[*value], Value::Dict(_))
    });
    inner.map_or(unpickled.root, |(_, value)| *value)
}

/// Finds tensors by their names; dictionaries within become names with dots.
struct Search<'a> {
    unpickled: &'a Unpickled,
    /// Entries that may still be looked at: dictionaries may share dictionaries.
    left: usize,
    found: Vec<(String, Id)>,
}

impl Search<'_> {
    fn dictionary(&mut self, id: Id, prefix: &str, depth: usize) -> Result<(), FormatError> {
        let Value::Dict(entries) = &self.unpickled.values[id] else { return Ok(()) };
        let too_many = || FormatError::TooMany { what: "entries", limit: MAX_ENTRIES };
        for (key, value) in entries {
            self.left = self.left.checked_sub(1).ok_or_else(too_many)?;
            let Value::Text(key) = &self.unpickled.values[*key] else { continue };
            let length = prefix.len().saturating_add(key.len());
            if length > MAX_NAME_LEN {
                let (what, limit) = ("bytes in a name", MAX_NAME_LEN);
                return Err(FormatError::TooMany { what, limit });
            }
            let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            match &self.unpickled.values[*value] {
                Value::Tensor { .. } if self.found.len() == MAX_TENSORS => {
                    return Err(too_many_tensors());
                }
                Value::Tensor { .. } => self.found.push((name, *value)),
                Value::Dict(_) if depth > 0 => self.dictionary(*value, &name, depth - 1)?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// A tensor before its values are read.
struct View<'a> {
    name: String,
    element: Element,
    key: &'a str,
    offset: usize,
    shape: &'a [usize],
    strides: &'a [usize],
}

impl<'a> View<'a> {
    /// `None` where it holds whole numbers.
    fn new(unpickled: &'a Unpickled, name: String, id: Id) -> Result<Option<Self>, FormatError> {
        let Value::Tensor { storage, offset, shape, strides } = &unpickled.values[id] else {
            return Ok(None);
        };
        let Value::Storage(element, key) = &unpickled.values[*storage] else {
            return Err(FormatError::Outside { name });
        };
        if *element == Element::Other {
            return Ok(None);
        }
        if shape.len() > MAX_RANK || strides.len() != shape.len() {
            return Err(FormatError::Rank { name, rank: shape.len().max(strides.len()) });
        }
        Ok(Some(Self { name, element: *element, key, offset: *offset, shape, strides }))
    }

    /// Its values, row-major; at most `most`.
    fn read(self, bytes: &[u8], spent: usize, most: usize) -> Result<NamedTensor, FormatError> {
        let len = checked_len(&self.name, self.shape, spent)?;
        // A stride of 0 repeats values, as often as a file likes.
        if len > most {
            let what = "values in tensors, compared with what is stored";
            return Err(FormatError::TooMany { what, limit: spent + most });
        }
        let mut values = Vec::with_capacity(len);
        for index in 0..len {
            let mut rest = index;
            let mut at = Some(self.offset);
            for (&dim, &stride) in self.shape.iter().zip(self.strides).rev() {
                let step = (rest % dim).checked_mul(stride);
                at = at.zip(step).and_then(|(at, step)| at.checked_add(step));
                rest /= dim;
            }
            let value = at.and_then(|at| self.element.read(bytes, at));
            let Some(value) = value else { return Err(FormatError::Outside { name: self.name }) };
            values.push(value);
        }
        Ok(NamedTensor { name: self.name, shape: self.shape.to_vec(), values })
    }
}
