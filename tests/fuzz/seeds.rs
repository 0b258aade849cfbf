//! Writes the seeds, one small sound model per operator, into the unpacked corpora; `cargo xtask corpus pack`
//! then puts them into the archives.

use std::io;
use std::path::Path;

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for target in ["parse_and_run", "mutate_model", "trust_and_run"] {
        let folder = corpus.join(target);
        std::fs::create_dir_all(&folder)?;
        for (name, file) in bitsback_fuzz::samples() {
            std::fs::write(folder.join(format!("{name}.bbk")), file)?;
        }
    }
    Ok(())
}
