//! Any error of this crate, for a program that has one path for all of them.

use core::fmt;

#[cfg(any(test, feature = "writer"))]
use crate::format::PackError;
use crate::format::ParseError;
use crate::interpreter::{ArenaTooSmall, InputError};
use crate::sentinel::{Fault, RecordFault};
#[cfg(any(test, feature = "writer"))]
use crate::writer::WriteError;

macro_rules! errors {
    ($($(#[$attribute:meta])* $kind:ident $text:literal),* $(,)?) => {
        /// Any error of this crate: `?` makes it of each.
        ///
        /// With the feature `defmt`, on a device, this and each of them can be logged as they are.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(all(feature = "defmt", target_os = "none"), derive(defmt::Format))]
        #[non_exhaustive]
        pub enum Error {
            $($(#[$attribute])* #[doc = $text] $kind($kind)),*
        }

        impl fmt::Display for Error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self { $($(#[$attribute])* Self::$kind(error) => error.fmt(f)),* }
            }
        }

        impl core::error::Error for Error {
            fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
                match self { $($(#[$attribute])* Self::$kind(error) => error.source()),* }
            }
        }

        $(
            $(#[$attribute])*
            impl From<$kind> for Error {
                fn from(error: $kind) -> Self {
                    Self::$kind(error)
                }
            }
        )*
    };
}

errors! {
    ParseError "The bytes are no sound model.",
    ArenaTooSmall "The arena is shorter than the model needs.",
    InputError "Raw data don't fit the model's input.",
    Fault "The file's sentinel can't be used.",
    RecordFault "The bytes are no sentinel's record.",
    #[cfg(any(test, feature = "writer"))]
    WriteError "A model can't be written.",
    #[cfg(any(test, feature = "writer"))]
    PackError "Weights can't be packed.",
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Interpreter, Model};
    use std::string::ToString;

    fn classify(bytes: &[u8], arena: &mut [i8], pixels: &[u8]) -> Result<usize, Error> {
        let model = Model::parse(bytes)?;
        let mut interpreter = Interpreter::new(&model, arena)?;
        interpreter.set_input_bytes(pixels)?;
        interpreter.invoke();
        Ok(interpreter.class())
    }

    #[test]
    fn one_path_serves_all() {
        let model = include_bytes!("../tests/fixtures/v1/dense.bbk");
        let mut arena = [0; 1024];
        let error = classify(b"text", &mut arena, &[]).unwrap_err();
        assert_eq!(error, Error::from(ParseError::TooShort { len: 4 }));
        assert_eq!(error.to_string(), ParseError::TooShort { len: 4 }.to_string());
        let error = classify(model, &mut [], &[]).unwrap_err();
        assert!(matches!(error, Error::ArenaTooSmall(ArenaTooSmall { given: 0, .. })));
        let error = classify(model, &mut arena, &[1]).unwrap_err();
        assert!(matches!(error, Error::InputError(_)), "{error}");
        assert_eq!(Error::from(Fault::Map).to_string(), Fault::Map.to_string());
        let fault = RecordFault::Length { given: 3 };
        assert_eq!(Error::from(fault).to_string(), fault.to_string());
        assert_eq!(
            Error::from(PackError::Width { bits: 9 }).to_string(),
            PackError::Width { bits: 9 }.to_string()
        );
        assert_eq!(Error::from(WriteError::NoOps).to_string(), WriteError::NoOps.to_string());
    }
}
