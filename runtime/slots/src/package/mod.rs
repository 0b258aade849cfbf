//! Update packages: a signed head, and a model or a delta behind it.
