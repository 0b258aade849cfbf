//! The cores that models are stored for: their names, the layout that each is fastest with, and what
//! its kernels' costs depend on.

use std::fmt;

use bitsback_runtime::format::Layout;
use serde::{Deserialize, Serialize};

/// A core, as `cargo xtask qemu --core` names it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum,
)]
pub enum Core {
    /// Cortex-M4, M4F.
    #[default]
    #[serde(rename = "cortex-m4")]
    #[value(name = "cortex-m4")]
    CortexM4,
    /// Cortex-M0, M0+.
    #[serde(rename = "cortex-m0")]
    #[value(name = "cortex-m0")]
    CortexM0,
    /// Cortex-M3.
    #[serde(rename = "cortex-m3")]
    #[value(name = "cortex-m3")]
    CortexM3,
    /// Cortex-M7.
    #[serde(rename = "cortex-m7")]
    #[value(name = "cortex-m7")]
    CortexM7,
    /// Cortex-M33 with its DSP extension.
    #[serde(rename = "cortex-m33")]
    #[value(name = "cortex-m33")]
    CortexM33,
    /// Cortex-M55 with its vectors.
    #[serde(rename = "cortex-m55")]
    #[value(name = "cortex-m55")]
    CortexM55,
    /// RISC-V of 32 bits without atomics.
    #[serde(rename = "riscv32imc")]
    #[value(name = "riscv32imc")]
    Riscv32Imc,
    /// RISC-V of 32 bits.
    #[serde(rename = "riscv32imac")]
    #[value(name = "riscv32imac")]
    Riscv32Imac,
    /// ARM926EJ-S.
    #[serde(rename = "arm926")]
    #[value(name = "arm926")]
    Arm926,
    /// Cortex-A53 with NEON.
    #[serde(rename = "cortex-a53")]
    #[value(name = "cortex-a53")]
    CortexA53,
}

/// Which kernels a core has: a folder of `runtime/src/arch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// One product at a time: `scalar`.
    Scalar,
    /// Two of half-words at a time: `dsp`.
    Dsp,
    /// Vectors of an M-profile core: `mve`.
    Vectors,
    /// Vectors of an A-profile core: `neon`.
    Neon,
}

/// What a core's kernels distinguish: the same constants as in `runtime/src/arch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kernels {
    pub(crate) family: Family,
    /// Positions of a convolution that are gathered at once: `POSITIONS`.
    pub(crate) positions: usize,
    /// Least values of a window's row that are gathered the fast way: `LEAST_ROW`.
    pub(crate) least_row: usize,
    /// Columns of a patch that are gathered at once: `PIECE_MAX`.
    pub(crate) piece: usize,
    /// Columns of a patch that is gathered at all: `PATCH_MAX`.
    pub(crate) patch: usize,
    /// Most inputs of a dense layer that are made ready at once: four times `MAX_GROUPS`.
    pub(crate) inputs: usize,
    /// Least values of a sum of two tensors that is made by tables: `MIN_COUNT`.
    pub(crate) tabled: usize,
    /// Stretches of windows along an axis that depthwise kernels take: `SPANS_MAX` or `RUNS_MAX`.
    pub(crate) runs: usize,
    /// Rows that kernels for packed inputs take at once: `PACKED_ROWS`.
    pub(crate) packed_rows: usize,
    /// Weights of coded filters that are decoded at once: `DECODED_MAX`.
    pub(crate) decoded: usize,
}

impl Core {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::CortexM4,
        Self::CortexM0,
        Self::CortexM3,
        Self::CortexM7,
        Self::CortexM33,
        Self::CortexM55,
        Self::Riscv32Imc,
        Self::Riscv32Imac,
        Self::Arm926,
        Self::CortexA53,
    ];

    /// As options, job files and `cargo xtask` have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::CortexM4 => "cortex-m4",
            Self::CortexM0 => "cortex-m0",
            Self::CortexM3 => "cortex-m3",
            Self::CortexM7 => "cortex-m7",
            Self::CortexM33 => "cortex-m33",
            Self::CortexM55 => "cortex-m55",
            Self::Riscv32Imc => "riscv32imc",
            Self::Riscv32Imac => "riscv32imac",
            Self::Arm926 => "arm926",
            Self::CortexA53 => "cortex-a53",
        }
    }

    /// As people write it.
    pub fn title(self) -> &'static str {
        match self {
            Self::CortexM4 => "Cortex-M4",
            Self::CortexM0 => "Cortex-M0",
            Self::CortexM3 => "Cortex-M3",
            Self::CortexM7 => "Cortex-M7",
            Self::CortexM33 => "Cortex-M33",
            Self::CortexM55 => "Cortex-M55",
            Self::Riscv32Imc => "RV32IMC",
            Self::Riscv32Imac => "RV32IMAC",
            Self::Arm926 => "ARM926",
            Self::CortexA53 => "Cortex-A53",
        }
    }

    /// The core of this name.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|core| core.name() == name)
    }

    /// What the runtime calls the kernels that it has: `bitsback_runtime::ISA` of its builds.
    pub(crate) fn isa(self) -> &'static str {
        match self {
            Self::CortexM0 => "thumb1",
            Self::CortexM3 => "thumb2",
            Self::CortexM4 | Self::CortexM7 | Self::CortexM33 => "dsp",
            Self::CortexM55 => "mve",
            Self::Riscv32Imc | Self::Riscv32Imac => "rv32im",
            Self::Arm926 => "armv5te",
            Self::CortexA53 => "neon",
        }
    }

    /// How 8-bit weights lie that it is fastest with: in pairs of rows where it multiplies half-words,
    /// which take as much flash as rows and a sixteenth at most, else in rows.
    pub fn layout(self) -> Layout {
        match self {
            Self::CortexM4 | Self::CortexM7 | Self::CortexM33 => Layout::Pairs,
            Self::CortexM0
            | Self::CortexM3
            | Self::CortexM55
            | Self::Riscv32Imc
            | Self::Riscv32Imac
            | Self::Arm926
            | Self::CortexA53 => Layout::RowMajor,
        }
    }

    /// The core whose instructions were counted to predict those of this one: itself, or one that runs
    /// the same kernels, or the nearest.
    pub(crate) fn counted(self) -> Self {
        match self {
            Self::CortexM7 | Self::CortexM33 => Self::CortexM4,
            Self::Riscv32Imac => Self::Riscv32Imc,
            // As many instructions in the loops of products; the rest is compiled alike.
            Self::Arm926 => Self::CortexM3,
            other => other,
        }
    }

    /// What its kernels distinguish.
    pub(crate) fn kernels(self) -> Kernels {
        const SCALAR: Kernels = Kernels {
            family: Family::Scalar,
            positions: 1,
            least_row: 1,
            piece: usize::MAX,
            patch: 576,
            inputs: usize::MAX,
            tabled: 1,
            runs: usize::MAX,
            packed_rows: 1,
            decoded: 608,
        };
        match self.counted() {
            Self::CortexM4 => Kernels {
                family: Family::Dsp,
                positions: 4,
                least_row: 3,
                piece: 192,
                patch: usize::MAX,
                inputs: 1024,
                tabled: 256,
                runs: 16,
                decoded: 1200,
                ..SCALAR
            },
            Self::CortexM55 => Kernels {
                family: Family::Vectors,
                piece: 384,
                patch: 1152,
                decoded: 2048,
                ..SCALAR
            },
            Self::CortexA53 => Kernels { family: Family::Neon, runs: 9, decoded: 2048, ..SCALAR },
            Self::Riscv32Imc => Kernels { packed_rows: 2, ..SCALAR },
            _ => SCALAR,
        }
    }
}

impl fmt::Display for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_alike_everywhere() {
        for core in Core::ALL {
            assert_eq!(Core::of_name(core.name()), Some(core));
            assert_eq!(serde_json::json!(core), core.name());
            let option = clap::ValueEnum::to_possible_value(&core);
            assert_eq!(option.map(|value| value.get_name().to_owned()), Some(core.name().into()));
            assert_eq!(core.counted().counted(), core.counted());
            assert_eq!(core.counted().layout(), core.layout(), "{core}");
        }
        assert_eq!(Core::of_name("cortex-m99"), None);
    }
}
