//! What decides which models a device accepts.

use bitsback_runtime::ParseError;

/// What a head says of the model behind it, once its signature has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    /// The model's version, a counter from 1 on that only rises: a device takes in no model whose version
    /// isn't above all that it has tried.
    pub version: u32,
    /// The model's length in bytes: of the result, where the payload is a delta.
    pub model_len: u32,
}

/// The check of a model that arrived, in three steps that are always taken in this order: signature and
/// requirements, digest, parsing.
///
/// A head is what a package begins with, its signature included. Slots keep it, unread, in the first
/// [`crate::HEAD_LEN`] bytes of the model's slot, filled up with `0xFF`, and have all three steps taken again
/// whenever a slot is chosen. Every byte may come from anywhere: none may make a gate panic.
pub trait Gate {
    /// Why a head or a model is refused.
    type Refusal;

    /// Checks the signature of a head (at most [`crate::HEAD_LEN`] bytes, more than it needs perhaps), then
    /// what it requires of hardware and runtime. Nothing is erased for a head that is refused here.
    ///
    /// # Errors
    /// When this device doesn't accept it.
    fn announced(&self, head: &[u8]) -> Result<Announced, Self::Refusal>;

    /// Checks that a model is the one that a head means, for which [`Self::announced`] has returned: its
    /// digest. `model` has the announced length.
    ///
    /// # Errors
    /// When it is another one.
    fn check_model(&self, head: &[u8], model: &[u8]) -> Result<(), Self::Refusal>;

    /// Checks that this program can run the model: [`bitsback_runtime::Model::parse_only_with`], with the
    /// operators that the program holds and what it allows of work.
    ///
    /// # Errors
    /// When it can't.
    fn parse(&self, model: &[u8]) -> Result<(), ParseError>;
}

impl<G: Gate + ?Sized> Gate for &G {
    type Refusal = G::Refusal;

    fn announced(&self, head: &[u8]) -> Result<Announced, Self::Refusal> {
        G::announced(self, head)
    }

    fn check_model(&self, head: &[u8], model: &[u8]) -> Result<(), Self::Refusal> {
        G::check_model(self, head, model)
    }

    fn parse(&self, model: &[u8]) -> Result<(), ParseError> {
        G::parse(self, model)
    }
}
