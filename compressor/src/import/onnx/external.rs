//! Parameters in a file beside the model: what exporters write for large models, and some always.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::constant::value;
use super::schema::Entry;
use crate::files;
use crate::import::{ImportError, MAX_IMPORT_BYTES};

/// Most bytes that all tensors take out of files together: each byte of the largest file twice, since
/// layers may share their weights.
const MAX_TAKEN: usize = 2 * MAX_IMPORT_BYTES as usize;

/// Where a model's further files may be.
#[derive(Debug, Default)]
pub(super) struct Folder {
    /// None: the model stands alone.
    path: Option<PathBuf>,
    /// Files that have been read.
    read: RefCell<HashMap<String, Rc<Vec<u8>>>>,
    /// Their bytes.
    held: Cell<u64>,
    /// Bytes that tensors took out of them.
    taken: Cell<usize>,
}

impl Folder {
    pub(super) fn new(path: Option<&Path>) -> Self {
        Self { path: path.map(Path::to_owned), ..Self::default() }
    }

    /// The bytes that a tensor's entries name.
    pub(super) fn bytes(&self, tensor: &str, entries: &[Entry]) -> Result<Vec<u8>, ImportError> {
        let wrong = |problem| ImportError::Tensor { tensor: tensor.to_owned(), problem };
        let location = value(entries, "location").unwrap_or_default();
        let number = |key, or| value(entries, key).map_or(Some(or), |text| text.parse().ok());
        let file = self.file(location).ok_or_else(|| ImportError::External {
            tensor: tensor.to_owned(),
            file: location.chars().take(80).collect(),
        })?;
        let start: Option<usize> = number("offset", 0);
        let len = start.and_then(|start| number("length", file.len().saturating_sub(start)));
        let range =
            start.zip(len).and_then(|(start, len)| file.get(start..start.checked_add(len)?));
        let range = range.ok_or_else(|| wrong("lies outside of the file that it names"))?;
        // Thousands of tensors could take the same bytes.
        self.taken.set(self.taken.get().saturating_add(range.len()));
        if self.taken.get() > MAX_TAKEN {
            return Err(wrong("is one of so many that together they are larger than any model"));
        }
        Ok(range.to_vec())
    }

    /// A file of the folder itself or below; nothing above it can be named, or linked to.
    fn file(&self, location: &str) -> Option<Rc<Vec<u8>>> {
        if let Some(bytes) = self.read.borrow().get(location) {
            return Some(Rc::clone(bytes));
        }
        let left = MAX_IMPORT_BYTES.checked_sub(self.held.get())?;
        let folder = self.path.as_ref()?;
        let bytes = Rc::new(files::read_within(folder, Path::new(location), left)?);
        self.held.set(self.held.get() + bytes.len() as u64);
        self.read.borrow_mut().insert(location.to_owned(), Rc::clone(&bytes));
        Some(bytes)
    }
}
