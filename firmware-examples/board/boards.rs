//! The table of boards: which core, which target, which QEMU machine, which memory.
//!
//! This one file is read by the firmware's build script, which writes the linker script from it,
//! and by `cargo xtask`, which starts QEMU from it. It therefore needs nothing but `core`.
//! Another core is one more entry.

/// One piece of the address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First address.
    pub origin: u32,
    /// Length in bytes.
    pub length: u32,
}

/// How the board counts time; under `-icount shift=0` one nanosecond is one instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// The SysTick timer of every Cortex-M: 24 bits, counting down, one step each so many
    /// picoseconds of virtual time (the machine's clock).
    SysTick {
        /// Picoseconds from one step to the next.
        tick_picoseconds: u32,
    },
    /// The `minstret` register of RISC-V: exactly one step an instruction.
    Minstret,
    /// The SP804 timer of the ARM926 board: 1 MHz, so a step is 1,000 instructions.
    Sp804,
    /// The generic timer of AArch64, at QEMU's 62.5 MHz: a step is 16 instructions.
    Generic,
}

/// The chip, as far as a program that updates itself drives it: serial line, flash, reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chip {
    /// Nordic nRF51822: QEMU emulates its flash controller.
    Nrf51,
    /// Arm's MPS2 boards with an ARMv7-M core: CMSDK peripherals, RAM that stands for flash.
    Mps2,
    /// Another one, which no such program is written for.
    Other,
}

/// One board that QEMU emulates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Board {
    /// The core, as `--core` names it.
    pub core: &'static str,
    /// What the core is, for people.
    pub title: &'static str,
    /// The Rust target.
    pub target: &'static str,
    /// `-C target-cpu`, where the target alone doesn't say what the core can do.
    pub target_cpu: Option<&'static str>,
    /// The QEMU program.
    pub emulator: &'static str,
    /// QEMU's arguments that choose the machine.
    pub machine: &'static [&'static str],
    /// Where code and constants go.
    pub flash: Region,
    /// The slot that a model file is flashed to, apart from the code.
    pub model_slot: Region,
    /// Where variables and the stack go.
    pub ram: Region,
    /// The arena that the conformance firmware offers to any model: what the RAM leaves
    /// after the stack and the firmware's own buffers.
    pub arena_bytes: usize,
    /// How instructions are counted.
    pub counter: Counter,
    /// What a program that updates itself finds.
    pub chip: Chip,
    /// Whether `cargo xtask` compiles for speed (level 3) and not for size: where kernels are loops
    /// of Rust around vector instructions, and flash is plenty.
    pub is_for_speed: bool,
}

const KIB: u32 = 1024;
const MIB: u32 = 1024 * KIB;

/// The bytes of a model slot that a program which updates itself writes to: what the smallest has.
pub const FLASH_BYTES: u32 = 96 * KIB;

/// Memory of the Arm MPS2 boards with a Cortex-M3, M4 or M7: 4 MiB + 4 MiB.
const MPS2_CODE: Region = Region { origin: 0x0000_0000, length: MIB };
const MPS2_MODEL: Region = Region { origin: 0x0010_0000, length: 3 * MIB };
const MPS2_RAM: Region = Region { origin: 0x2000_0000, length: 4 * MIB };
/// Those boards run at 25 MHz.
const MPS2_TICK: Counter = Counter::SysTick { tick_picoseconds: 40_000 };

const RISCV_VIRT: &[&str] = &["-M", "virt", "-bios", "none"];

/// Every board, the reference core first.
pub const BOARDS: &[Board] = &[
    Board {
        core: "cortex-m4",
        title: "Cortex-M4F (mps2-an386)",
        target: "thumbv7em-none-eabihf",
        target_cpu: None,
        emulator: "qemu-system-arm",
        machine: &["-M", "mps2-an386"],
        flash: MPS2_CODE,
        model_slot: MPS2_MODEL,
        ram: MPS2_RAM,
        arena_bytes: MIB as usize,
        counter: MPS2_TICK,
        chip: Chip::Mps2,
        is_for_speed: false,
    },
    Board {
        core: "cortex-m0",
        title: "Cortex-M0 (microbit)",
        target: "thumbv6m-none-eabi",
        target_cpu: None,
        emulator: "qemu-system-arm",
        machine: &["-M", "microbit"],
        flash: Region { origin: 0x0000_0000, length: 160 * KIB },
        model_slot: Region { origin: 0x0002_8000, length: 96 * KIB },
        ram: Region { origin: 0x2000_0000, length: 16 * KIB },
        arena_bytes: 8 * KIB as usize,
        counter: Counter::SysTick { tick_picoseconds: 62_500 },
        chip: Chip::Nrf51,
        is_for_speed: false,
    },
    // The same core's code with room for models that the microbit can't hold.
    Board {
        core: "cortex-m0-large",
        title: "Cortex-M0 code on a larger board (mps2-an385)",
        target: "thumbv6m-none-eabi",
        target_cpu: Some("cortex-m0"),
        emulator: "qemu-system-arm",
        machine: &["-M", "mps2-an385"],
        flash: MPS2_CODE,
        model_slot: MPS2_MODEL,
        ram: MPS2_RAM,
        arena_bytes: MIB as usize,
        counter: MPS2_TICK,
        chip: Chip::Mps2,
        is_for_speed: false,
    },
    Board {
        core: "cortex-m3",
        title: "Cortex-M3 (mps2-an385)",
        target: "thumbv7m-none-eabi",
        target_cpu: None,
        emulator: "qemu-system-arm",
        machine: &["-M", "mps2-an385"],
        flash: MPS2_CODE,
        model_slot: MPS2_MODEL,
        ram: MPS2_RAM,
        arena_bytes: MIB as usize,
        counter: MPS2_TICK,
        chip: Chip::Mps2,
        is_for_speed: false,
    },
    Board {
        core: "cortex-m7",
        title: "Cortex-M7F (mps2-an500)",
        target: "thumbv7em-none-eabihf",
        target_cpu: None,
        emulator: "qemu-system-arm",
        machine: &["-M", "mps2-an500"],
        flash: MPS2_CODE,
        model_slot: MPS2_MODEL,
        ram: MPS2_RAM,
        arena_bytes: MIB as usize,
        counter: MPS2_TICK,
        chip: Chip::Mps2,
        is_for_speed: false,
    },
    Board {
        core: "cortex-m33",
        title: "Cortex-M33 (mps2-an505)",
        target: "thumbv8m.main-none-eabihf",
        target_cpu: Some("cortex-m33"),
        emulator: "qemu-system-arm",
        machine: &["-M", "mps2-an505"],
        flash: Region { origin: 0x1000_0000, length: MIB },
        model_slot: Region { origin: 0x1010_0000, length: 3 * MIB },
        ram: Region { origin: 0x3800_0000, length: 4 * MIB },
        arena_bytes: MIB as usize,
        counter: Counter::SysTick { tick_picoseconds: 50_000 },
        chip: Chip::Other,
        is_for_speed: false,
    },
    Board {
        core: "cortex-m55",
        title: "Cortex-M55 with MVE (mps3-an547)",
        target: "thumbv8m.main-none-eabihf",
        target_cpu: Some("cortex-m55"),
        emulator: "qemu-system-arm",
        machine: &["-M", "mps3-an547"],
        flash: Region { origin: 0x0000_0000, length: 512 * KIB },
        // The board's SRAM, since the 512 KiB that code runs from are too few for some models.
        model_slot: Region { origin: 0x1100_0000, length: 2 * MIB },
        ram: Region { origin: 0x2000_0000, length: 512 * KIB },
        arena_bytes: 384 * KIB as usize,
        counter: Counter::SysTick { tick_picoseconds: 31_250 },
        chip: Chip::Other,
        is_for_speed: true,
    },
    Board {
        core: "riscv32imc",
        title: "RV32IMC (virt)",
        target: "riscv32imc-unknown-none-elf",
        target_cpu: None,
        emulator: "qemu-system-riscv32",
        machine: RISCV_VIRT,
        flash: Region { origin: 0x8000_0000, length: 4 * MIB },
        model_slot: Region { origin: 0x8040_0000, length: 4 * MIB },
        ram: Region { origin: 0x8080_0000, length: 8 * MIB },
        arena_bytes: MIB as usize,
        counter: Counter::Minstret,
        chip: Chip::Other,
        is_for_speed: false,
    },
    Board {
        core: "riscv32imac",
        title: "RV32IMAC (virt)",
        target: "riscv32imac-unknown-none-elf",
        target_cpu: None,
        emulator: "qemu-system-riscv32",
        machine: RISCV_VIRT,
        flash: Region { origin: 0x8000_0000, length: 4 * MIB },
        model_slot: Region { origin: 0x8040_0000, length: 4 * MIB },
        ram: Region { origin: 0x8080_0000, length: 8 * MIB },
        arena_bytes: MIB as usize,
        counter: Counter::Minstret,
        chip: Chip::Other,
        is_for_speed: false,
    },
    Board {
        core: "arm926",
        title: "ARM926EJ-S (versatilepb)",
        target: "armv5te-none-eabi",
        target_cpu: None,
        emulator: "qemu-system-arm",
        machine: &["-M", "versatilepb"],
        flash: Region { origin: 0x0001_0000, length: 4 * MIB },
        model_slot: Region { origin: 0x0050_0000, length: 4 * MIB },
        ram: Region { origin: 0x0100_0000, length: 8 * MIB },
        arena_bytes: MIB as usize,
        counter: Counter::Sp804,
        chip: Chip::Other,
        is_for_speed: false,
    },
    // Hosts and larger edge devices; no microcontroller, but the same bits.
    Board {
        core: "cortex-a53",
        title: "Cortex-A53 with NEON (virt)",
        target: "aarch64-unknown-none",
        target_cpu: None,
        emulator: "qemu-system-aarch64",
        // Without `-nic none` it wants a boot image for a network card.
        machine: &["-M", "virt", "-cpu", "cortex-a53", "-m", "64M", "-nic", "none"],
        // QEMU puts its device tree at the beginning of the RAM.
        flash: Region { origin: 0x4020_0000, length: 4 * MIB },
        model_slot: Region { origin: 0x4060_0000, length: 4 * MIB },
        ram: Region { origin: 0x40A0_0000, length: 8 * MIB },
        arena_bytes: MIB as usize,
        counter: Counter::Generic,
        chip: Chip::Other,
        is_for_speed: true,
    },
];
