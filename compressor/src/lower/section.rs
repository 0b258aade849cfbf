//! The weight section in the making.

use bitsback_runtime::format::MAX_FILE_LEN;

use super::LowerError;

/// Bytes, appended part by part.
#[derive(Debug, Default)]
pub(crate) struct Section {
    bytes: Vec<u8>,
}

impl Section {
    /// Appends a part and returns its offset.
    pub(crate) fn push(&mut self, part: &[u8]) -> Result<u32, LowerError> {
        let too_many = LowerError::TooManyParameters { limit: MAX_FILE_LEN };
        let offset = self.bytes.len();
        if offset.saturating_add(part.len()) > MAX_FILE_LEN as usize {
            return Err(too_many);
        }
        self.bytes.extend_from_slice(part);
        u32::try_from(offset).map_err(|_| too_many)
    }

    /// All bytes.
    pub(crate) fn finish(self) -> Vec<u8> {
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
        let error = section.push(&vec![0; MAX_FILE_LEN as usize]).unwrap_err();
        assert_eq!(error, LowerError::TooManyParameters { limit: MAX_FILE_LEN });
        assert_eq!(section.finish(), [1, 2, 3]);
    }
}
