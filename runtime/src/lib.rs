//! Integer inference for compressed neural networks.
#![no_std]
#![deny(unsafe_code)]
