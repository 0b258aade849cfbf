//! Which kernels a model was laid out for.

use core::fmt;

/// An instruction set as the runtime's kernels know it ([`bitsback_runtime::ISA`]), by a number that packages
/// state. A layout is for speed; what is asked for here is that a model isn't slower than its maker
/// measured, and that a fleet of several cores doesn't mix up their packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(pub u8);

/// The runtime's names; a number is the place here. Numbers are part of the format.
const NAMES: [&str; 10] = [
    "any core", "thumb1", "thumb2", "dsp", "mve", "neon", "armv5te", "rv32im", "x86_64", "portable",
];

impl Isa {
    /// None in particular.
    pub const ANY: Self = Self(0);
    /// The kernels of this build.
    pub const HERE: Self = Self::named(bitsback_runtime::ISA);

    /// The one that the runtime calls so; [`Self::ANY`] if none is.
    pub const fn named(name: &str) -> Self {
        let mut number = 1;
        while number < NAMES.len() {
            if is_same(NAMES[number].as_bytes(), name.as_bytes()) {
                return Self(number as u8);
            }
            number += 1;
        }
        Self::ANY
    }

    /// Whether what was laid out for this one runs as it should on `here`.
    pub(super) const fn runs_on(self, here: Self) -> bool {
        self.0 == Self::ANY.0 || self.0 == here.0
    }
}

const fn is_same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(usize::from(self.0)) {
            Some(name) => f.write_str(name),
            None => write!(f, "instruction set {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn the_runtimes_name_has_a_number() {
        assert_ne!(Isa::HERE, Isa::ANY, "{} isn't among the names", bitsback_runtime::ISA);
        assert_eq!(Isa::HERE.to_string(), bitsback_runtime::ISA);
        assert_eq!(Isa::named("dsp"), Isa(3));
        assert_eq!(Isa::named("abacus"), Isa::ANY);
        assert_eq!(Isa(200).to_string(), "instruction set 200");
    }

    #[test]
    fn any_core_runs_what_was_laid_out_for_none() {
        let [dsp, mve] = ["dsp", "mve"].map(Isa::named);
        assert!(Isa::ANY.runs_on(dsp) && dsp.runs_on(dsp));
        assert!(!dsp.runs_on(mve) && !dsp.runs_on(Isa::ANY) && !Isa(200).runs_on(dsp));
    }
}
