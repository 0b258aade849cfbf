//! Writes `memory.x` and `board.x` for the target's board and tells the crate which board it is.
//!
//! A firmware crate links with `-Tboard.x` whatever the target is, so that its own build script
//! is one line.

#[path = "boards.rs"]
mod boards;

use std::path::PathBuf;
use std::{env, fs, io};

use boards::{BOARDS, Board, Chip, Counter, FLASH_BYTES, Region};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let target = env::var("TARGET")?;
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let board = choose(&target, &flags).ok_or_else(|| {
        let known: Vec<&str> = BOARDS.iter().map(|board| board.target).collect();
        format!(
            "no board for the target {target}: build with --target and one of {known:?}, \
             or add an entry to firmware-examples/board/boards.rs"
        )
    })?;
    fs::write(out.join("memory.x"), memory_script(board))?;
    fs::write(out.join("board.x"), link_script(board))?;
    fs::write(out.join("board.rs"), constants(board))?;
    describe_family(board)?;
    println!("cargo::rustc-link-search={}", out.display());
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=boards.rs");
    Ok(())
}

/// The target's board whose CPU the compiler flags name, else the target's first.
fn choose(target: &str, flags: &str) -> Option<&'static Board> {
    let named = |board: &&Board| board.target_cpu.is_some_and(|cpu| flags.contains(cpu));
    let mut candidates = BOARDS.iter().filter(|board| board.target == target);
    candidates.clone().find(named).or_else(|| candidates.next())
}

fn describe_family(board: &Board) -> io::Result<()> {
    println!(
        "cargo::rustc-check-cfg=cfg(family, values(\"cortex_m\", \"riscv\", \"arm9\", \"aarch64\"))"
    );
    let family = match board.counter {
        Counter::SysTick { .. } => "cortex_m",
        Counter::Minstret => "riscv",
        Counter::Sp804 => "arm9",
        Counter::Generic => "aarch64",
    };
    println!("cargo::rustc-cfg=family=\"{family}\"");
    println!("cargo::rustc-check-cfg=cfg(chip, values(\"nrf51\", \"mps2\", \"other\"))");
    let chip = match board.chip {
        Chip::Nrf51 => "nrf51",
        Chip::Mps2 => "mps2",
        Chip::Other => "other",
    };
    println!("cargo::rustc-cfg=chip=\"{chip}\"");
    Ok(())
}

fn memory_script(board: &Board) -> String {
    let line = |name: &str, region: Region| {
        format!("  {name} : ORIGIN = {:#010x}, LENGTH = {:#x}\n", region.origin, region.length)
    };
    let mut script = String::from("MEMORY\n{\n");
    script += &line("FLASH", board.flash);
    script += &line("MODEL", board.model_slot);
    script += &line("RAM", board.ram);
    script + "}\n"
}

/// What `-Tboard.x` pulls in: the family's own script around our memory.
fn link_script(board: &Board) -> String {
    match board.counter {
        // cortex-m-rt's script includes memory.x itself.
        Counter::SysTick { .. } => "INCLUDE link.x\n".to_owned(),
        Counter::Minstret => {
            let mut script = String::from("INCLUDE memory.x\n");
            for (region, memory) in [
                ("TEXT", "FLASH"),
                ("RODATA", "FLASH"),
                ("DATA", "RAM"),
                ("BSS", "RAM"),
                ("HEAP", "RAM"),
                ("STACK", "RAM"),
            ] {
                script += &format!("REGION_ALIAS(\"REGION_{region}\", {memory});\n");
            }
            script + "INCLUDE link.x\n"
        }
        Counter::Sp804 => format!("{ARM9_VECTORS}{LOADED_SCRIPT}"),
        Counter::Generic => LOADED_SCRIPT.to_owned(),
    }
}

/// Where an ARM926 looks for its exception vectors.
const ARM9_VECTORS: &str = "\
MEMORY { VECTORS : ORIGIN = 0, LENGTH = 0x100 }
SECTIONS { .vectors : { KEEP(*(.vectors)) } > VECTORS }
";

/// Boards without a start-up crate: QEMU loads every section to where it runs.
const LOADED_SCRIPT: &str = "\
INCLUDE memory.x
ENTRY(_start)
SECTIONS
{
  .text : { KEEP(*(.text.start)) *(.text .text.*) } > FLASH
  .rodata : { *(.rodata .rodata.*) } > FLASH
  .data : { *(.data .data.*) } > RAM
  .bss (NOLOAD) : { *(.bss .bss.*) *(COMMON) . = ALIGN(16); _stack_end = .; } > RAM
  _stack_start = ORIGIN(RAM) + LENGTH(RAM);
  /DISCARD/ : { *(.ARM.exidx*) *(.ARM.extab*) *(.eh_frame*) }
}
";

/// The facts that the crate itself needs, as Rust constants.
fn constants(board: &Board) -> String {
    let tick = match board.counter {
        Counter::SysTick { tick_picoseconds } => tick_picoseconds,
        Counter::Minstret => 1_000,
        Counter::Sp804 => 1_000_000,
        Counter::Generic => 16_000,
    };
    format!(
        "/// The core's name, as `cargo xtask qemu --core` knows it.\n\
         pub const CORE: &str = {core:?};\n\
         /// Bytes of RAM that a model's arena may take on this board.\n\
         pub const ARENA_BYTES: usize = {arena};\n\
         /// Bytes of flash that a program which updates itself has for models.\n\
         pub const FLASH_BYTES: usize = {FLASH_BYTES};\n\
         pub(crate) const MODEL_SLOT_ORIGIN: usize = {origin:#x};\n\
         pub(crate) const MODEL_SLOT_BYTES: usize = {length:#x};\n\
         pub(crate) const TICK_PICOSECONDS: u64 = {tick};\n",
        core = board.core,
        arena = board.arena_bytes,
        origin = board.model_slot.origin,
        length = board.model_slot.length,
    )
}
