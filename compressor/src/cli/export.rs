//! `bitsback export`: a model as source code, or for other runtimes.

use std::fmt::Write as _;
use std::path::PathBuf;

use bitsback_runtime::Model;
use serde::Serialize;

use super::model_file;
use super::output::{Context, keeps_inputs};
use crate::error::Error;
use crate::export::{onnx, recover};
use crate::files;
use crate::import::onnx::FloatModel;
use crate::import::{MAX_IMPORT_BYTES, tflite::is_tflite};
use crate::report::number::thousands;

/// Bytes of the model on a line of source.
const BYTES_PER_LINE: usize = 16;
/// What the bytes are aligned to: any word that a kernel loads.
const ALIGNMENT: usize = 16;

/// What to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum To {
    /// A header for C and C++ with the bytes, sizes and the arena's length
    CHeader,
    /// A Rust module with the same
    Rust,
    /// An ONNX file that computes with floats, with the weights that the integers stand for
    Onnx,
    /// An ONNX file with the integers and scales: pairs of QuantizeLinear and DequantizeLinear
    OnnxQdq,
}

/// Write a model as a C header, a Rust source, or an ONNX file for another runtime
///
/// A source has the model's bytes, sizes and arena length and needs nothing else: the bytes are
/// constant and aligned, so that they stay in flash. An ONNX file takes real inputs, images channels
/// first, and gives real outputs; an argmax at the end is left out. An int8 .tflite file and a
/// quantised .onnx file are imported on the way.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bitsback export model.bbk --to c-header -o digits.h
  bitsback export model.bbk --to rust -o src/digits.rs --name digits
  bitsback export model.bbk --to onnx-qdq -o digits.onnx
  bitsback export model.tflite --to onnx -o model.onnx

With --json: source_bytes (what was written), model_bytes, arena_bytes.")]
pub(crate) struct Export {
    /// The .bbk file, or a quantised model of another tool (.tflite, .onnx)
    model: PathBuf,
    /// What to write
    #[arg(long, value_enum)]
    to: To,
    /// Where to write it
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// What the constants are called in a source
    #[arg(long, default_value = "model")]
    name: String,
}

#[derive(Debug, Serialize)]
struct Summary {
    source_bytes: usize,
    model_bytes: usize,
    arena_bytes: usize,
}

impl Export {
    pub(super) fn run(&self, context: &Context) -> Result<(), Error> {
        keeps_inputs(&self.output, &[&self.model])?;
        let bytes = model_file::read(&self.model)?;
        let model = model_file::parse(&self.model, &bytes)?;
        let name = identifier(&self.name);
        let source = match self.to {
            To::CHeader => c_header(&name, &model, &bytes).into_bytes(),
            To::Rust => rust(&name, &model, &bytes).into_bytes(),
            To::Onnx => onnx(&self.floats(context, &model)?, false)?,
            To::OnnxQdq => onnx(&self.floats(context, &model)?, true)?,
        };
        files::write_atomic(&self.output, &source)?;
        if model.margin() > 0 && matches!(self.to, To::Onnx | To::OnnxQdq) {
            context.note(
                "the model abstains below a margin; the exported network has none, and answers always",
            );
        }
        let summary = Summary {
            source_bytes: source.len(),
            model_bytes: bytes.len(),
            arena_bytes: model.arena_len(),
        };
        let kind = match self.to {
            To::CHeader | To::Rust => "source",
            To::Onnx | To::OnnxQdq => "ONNX",
        };
        let text = format!(
            "{}: {} bytes of {kind}, from {} bytes of model; {} bytes of arena",
            self.output.display(),
            thousands(summary.source_bytes as u64),
            thousands(summary.model_bytes as u64),
            thousands(summary.arena_bytes as u64)
        );
        context.result(&text, &summary)
    }

    /// What the integers stand for: of a .tflite file with the scales that it states, else with
    /// scales that fit.
    fn floats(&self, context: &Context, model: &Model<'_>) -> Result<FloatModel, Error> {
        let bytes = files::read(&self.model, MAX_IMPORT_BYTES)?;
        if is_tflite(&bytes) {
            return model_file::read_floats(context, &self.model, None);
        }
        Ok(recover(model)?)
    }
}

/// Words that C or C++ keep for themselves, and what compilers define for their systems; names of types
/// end with `_t`.
const RESERVED: &str = "
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl
    concept const const_cast consteval constexpr constinit continue co_await co_return
    co_yield decltype default delete do double dynamic_cast else enum explicit export extern
    false float for friend goto if inline int long main mutable namespace new noexcept not
    not_eq nullptr operator or or_eq private protected public register reinterpret_cast
    requires restrict return short signed sizeof static static_assert static_cast struct
    switch template this thread_local throw true try typedef typeid typename typeof
    typeof_unqual union unsigned using virtual void volatile while xor xor_eq i386 linux
    unix
";

/// A name that both languages take: letters, digits and underscores, not a digit first.
fn identifier(name: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let name: String = name.chars().map(fits).collect();
    let is_taken = RESERVED.split_whitespace().any(|word| word == name) || name.ends_with("_t");
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) && !is_taken {
        name
    } else {
        format!("model_{name}")
    }
}

/// The numbers that firmware needs, and what they are.
fn numbers(model: &Model<'_>, bytes: &[u8]) -> [(&'static str, usize, &'static str); 4] {
    [
        ("LEN", bytes.len(), "Bytes of the model."),
        ("ARENA_LEN", model.arena_len(), "Bytes of RAM that inference needs."),
        ("INPUT_LEN", model.input().len(), "int8 values of an input."),
        ("OUTPUT_LEN", model.output().len(), "int8 values of an output."),
    ]
}

fn lines(bytes: &[u8], indent: &str) -> String {
    let mut text = String::with_capacity(bytes.len() * 6);
    for line in bytes.chunks(BYTES_PER_LINE) {
        let numbers: Vec<String> = line.iter().map(|byte| format!("0x{byte:02x}")).collect();
        // Writing to a string can't fail.
        let _ = writeln!(text, "{indent}{},", numbers.join(", "));
    }
    text
}

fn c_header(name: &str, model: &Model<'_>, bytes: &[u8]) -> String {
    let guard = format!("BITSBACK_{}_H", name.to_uppercase());
    let mut text = format!(
        "/* A bitsback model, written by `bitsback export`. */\n#ifndef {guard}\n#define {guard}\n\n\
         #include <stdint.h>\n\n"
    );
    for (key, value, what) in numbers(model, bytes) {
        let _ = writeln!(text, "/* {what} */\n#define {}_{key} {value}u", name.to_uppercase());
    }
    let _ = write!(
        text,
        "\n#if defined(__cplusplus)\n#define BITSBACK_ALIGNED alignas({ALIGNMENT})\n\
         #elif defined(__GNUC__)\n\
         #define BITSBACK_ALIGNED __attribute__((aligned({ALIGNMENT})))\n\
         #else\n#define BITSBACK_ALIGNED _Alignas({ALIGNMENT})\n#endif\n\n\
         BITSBACK_ALIGNED static const uint8_t {name}[{}_LEN] = {{\n{}}};\n\n\
         #undef BITSBACK_ALIGNED\n#endif /* {guard} */\n",
        name.to_uppercase(),
        lines(bytes, "    ")
    );
    text
}

fn rust(name: &str, model: &Model<'_>, bytes: &[u8]) -> String {
    let upper = name.to_uppercase();
    let mut text = String::from("// A bitsback model, written by `bitsback export`.\n\n");
    for (key, value, what) in numbers(model, bytes) {
        let _ = writeln!(text, "/// {what}\npub const {upper}_{key}: usize = {value};");
    }
    let _ = write!(
        text,
        "\n#[repr(C, align({ALIGNMENT}))]\nstruct Aligned([u8; {upper}_LEN]);\n\n\
         static {upper}_ALIGNED: Aligned = Aligned([\n{}]);\n\n\
         /// The model, for `bitsback_runtime::Model::parse`.\n\
         pub static {upper}: &[u8] = &{upper}_ALIGNED.0;\n",
        lines(bytes, "    ")
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_identifiers() {
        assert_eq!(identifier("LeNet-5"), "lenet_5");
        assert_eq!(identifier("8-13"), "model_8_13");
        assert_eq!(identifier(""), "model_");
        for name in ["int", "Class", "uint8_t", "main", "linux", "co_await"] {
            assert_eq!(identifier(name), format!("model_{}", name.to_lowercase()));
        }
    }

    /// The header as every standard of both languages takes it, where their compilers are installed.
    #[test]
    fn headers_compile_as_c_and_as_cpp() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/dense-w8/model.bbk");
        let bytes = std::fs::read(path).unwrap();
        let model = Model::parse(&bytes).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let text =
            c_header("digits", &model, &bytes) + &c_header(&identifier("class"), &model, &bytes);
        std::fs::write(folder.path().join("model.h"), text).unwrap();
        // Twice, as a file that includes it by others does.
        let source = "#include \"model.h\"\n#include \"model.h\"\n\
                      int main(void) { return digits[DIGITS_LEN - 1] == model_class[0]; }\n";
        let compilers: [(&str, &str, &[&str]); 2] = [
            ("cc", "c", &["c99", "c11", "c17"]),
            ("c++", "c++", &["c++11", "c++14", "c++17", "c++20"]),
        ];
        for (compiler, language, standards) in compilers {
            for standard in standards {
                let file = folder.path().join("main.txt");
                std::fs::write(&file, source).unwrap();
                let compiled = std::process::Command::new(compiler)
                    .args(["-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only"])
                    .args([&format!("-std={standard}"), "-x", language])
                    .arg(&file)
                    .output();
                match compiled {
                    Err(error) => {
                        assert!(std::env::var_os("CI").is_none(), "CI must run this");
                        println!("not run: {compiler}: {error}");
                    }
                    Ok(output) => {
                        let words = String::from_utf8_lossy(&output.stderr);
                        assert!(output.status.success(), "{standard}: {words}");
                    }
                }
            }
        }
    }

    #[test]
    fn bytes_come_in_lines() {
        let text = lines(&[0; 17], "  ");
        assert_eq!(text.lines().count(), 2);
        assert!(text.ends_with("  0x00,\n"));
    }
}
