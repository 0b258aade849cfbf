//! The safetensors format: eight bytes of length, a JSON header of that length, then the data.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::Deserialize;

use super::element::Element;
use super::error::{FormatError, too_many_tensors};
use super::{MAX_TENSORS, NamedTensor, checked_len};

/// Longest header (16 MiB): 2 kB for each tensor that is read.
const MAX_HEADER_BYTES: usize = MAX_TENSORS * 2048;

/// The header's entry that is no tensor.
const METADATA: &str = "__metadata__";

/// One tensor, as the header has it.
#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

/// All floating-point tensors, sorted by name with numbers by value.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<NamedTensor>, FormatError> {
    let header = |what: &str| FormatError::Header { what: what.to_owned() };
    let (length, rest) = bytes.split_first_chunk().ok_or_else(|| header("it is cut off"))?;
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if length > MAX_HEADER_BYTES {
        return Err(FormatError::TooMany { what: "bytes of header", limit: MAX_HEADER_BYTES });
    }
    let (json, data) = rest.split_at_checked(length).ok_or_else(|| header("it is cut off"))?;
    let entries: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(json).map_err(|error| header(&error.to_string()))?;
    let mut tensors = Vec::new();
    let mut spent = 0;
    for (name, entry) in entries {
        if name == METADATA {
            continue;
        }
        if tensors.len() == MAX_TENSORS {
            return Err(too_many_tensors());
        }
        let entry: Entry =
            serde_json::from_value(entry).map_err(|e| header(&format!("`{name}`: {e}")))?;
        let Some(tensor) = tensor(name, &entry, data, spent)? else { continue };
        spent += tensor.values.len();
        tensors.push(tensor);
    }
    tensors.sort_by(|a, b| natural(&a.name, &b.name));
    Ok(tensors)
}

/// `None` where it has no floating-point values.
fn tensor(
    name: String,
    entry: &Entry,
    data: &[u8],
    spent: usize,
) -> Result<Option<NamedTensor>, FormatError> {
    let element = match entry.dtype.as_str() {
        "F64" => Element::F64,
        "F32" => Element::F32,
        "F16" => Element::F16,
        "BF16" => Element::Bf16,
        _ => return Ok(None),
    };
    let len = checked_len(&name, &entry.shape, spent)?;
    let [start, end] = entry.data_offsets;
    let bytes = data.get(start..end).filter(|bytes| bytes.len() == len * element.bytes());
    let Some(bytes) = bytes else { return Err(FormatError::Outside { name }) };
    let values = (0..len).filter_map(|index| element.read(bytes, index)).collect();
    Ok(Some(NamedTensor { name, shape: entry.shape.clone(), values }))
}

/// By characters, but runs of digits by their value: `layer2` before `layer10`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (digits_a, digits_b) = (digits(a), digits(b));
        if digits_a > 0 && digits_b > 0 {
            let (number_a, rest_a) = a.split_at(digits_a);
            let (number_b, rest_b) = b.split_at(digits_b);
            let (x, y) = (number_a.trim_start_matches('0'), number_b.trim_start_matches('0'));
            let order = x.len().cmp(&y.len()).then_with(|| number_a.cmp(number_b));
            if order.is_ne() {
                return order;
            }
            (a, b) = (rest_a, rest_b);
            continue;
        }
        let (mut left, mut right) = (a.chars(), b.chars());
        match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (x, y) if x != y => return x.cmp(&y),
            _ => (a, b) = (left.as_str(), right.as_str()),
        }
    }
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_ordered_by_value() {
        let mut names = ["a10", "a2", "a", "b1", "a2.b", "a02"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["a", "a02", "a2", "a2.b", "a10", "b1"]);
    }
}
