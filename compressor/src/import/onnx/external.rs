//! Parameters in a file beside the model: what exporters write for large models, and some always.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use super::constant::value;
use super::schema::Entry;
use crate::files;
use crate::import::{ImportError, MAX_IMPORT_BYTES};

/// Where a model's further files may be.
#[derive(Debug, Default)]
pub(super) struct Folder {
    /// None: the model stands alone.
    path: Option<PathBuf>,
    /// Files that have been read.
    read: RefCell<HashMap<String, Rc<Vec<u8>>>>,
}

impl Folder {
    pub(super) fn new(path: Option<&Path>) -> Self {
        Self { path: path.map(Path::to_owned), read: RefCell::default() }
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
        range.map(<[u8]>::to_vec).ok_or_else(|| wrong("lies outside of the file that it names"))
    }

    /// A file of the folder itself; nothing above it can be named.
    fn file(&self, location: &str) -> Option<Rc<Vec<u8>>> {
        if let Some(bytes) = self.read.borrow().get(location) {
            return Some(Rc::clone(bytes));
        }
        let relative = Path::new(location);
        let inside = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        if location.is_empty() || !relative.components().all(inside) {
            return None;
        }
        let path = self.path.as_ref()?.join(relative);
        let bytes = Rc::new(files::read(&path, MAX_IMPORT_BYTES).ok()?);
        self.read.borrow_mut().insert(location.to_owned(), Rc::clone(&bytes));
        Some(bytes)
    }
}
