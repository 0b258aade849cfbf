//! The weight section in the making.

use bitsback_runtime::format::MAX_FILE_LEN;

use crate::graph::LowerError;

/// Bytes, appended part by part.
#[derive(Debug, Default)]
pub(super) struct Section {
    bytes: Vec<u8>,
}

impl Section {
    /// Appends a part and returns its offset.
    pub(super) fn push(&mut self, part: &[u8]) -> Result<u32, LowerError> {
        let too_many = LowerError::TooManyParameters { limit: MAX_FILE_LEN };
        let offset = self.bytes.len();
        if offset.saturating_add(part.len()) > MAX_FILE_LEN as usize {
            return Err(too_many);
        }
        self.bytes.extend_from_slice(part);
        u32::try_from(offset).map_err(|_| too_many)
    }

    /// Appends a part at a multiple of `alignment`, after zeros.
    pub(super) fn push_aligned(
        &mut self,
        part: &[u8],
        alignment: usize,
    ) -> Result<u32, LowerError> {
        let filled = self.bytes.len().next_multiple_of(alignment);
        self.bytes.resize(filled, 0);
        self.push(part)
    }

    /// All bytes.
    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_each_other_up_to_the_limit() {
        let mut section = Section::default();
        assert_eq!(section.push(&[1, 2]), Ok(0));
        assert_eq!(section.push(&[3]), Ok(2));
        assert_eq!(section.push_aligned(&[4], 4), Ok(4));
        let error = section.push(&vec![0; MAX_FILE_LEN as usize]).unwrap_err();
        assert_eq!(error, LowerError::TooManyParameters { limit: MAX_FILE_LEN });
        assert_eq!(section.finish(), [1, 2, 3, 0, 4]);
    }
}
