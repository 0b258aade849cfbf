//! `cargo xtask bench`: what a model costs on a core or on this machine, what training costs here, what
//! becomes of networks that come from elsewhere, what the storage of weights costs, how well that is
//! predicted, and whether promises about what a model is sure of, and about sentinels, are kept.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use bitsback_runtime::Model;
use bitsback_runtime::format::Layout;
use serde::Serialize;

use super::{cost, decision, host, pytorch, sentinel, storage, training};
use crate::boards::{self, Board};
use crate::certificate::thousands;
use crate::error::XtaskError;
use crate::footprint::{self, Checked};
use crate::golden::{self, MODEL_FILE};
use crate::measure::{self, Layer, Measured};
use crate::paths;
use crate::peers::{self, Peer};
use crate::synthetic::shapes::{self, SHAPES};

/// Measure inference on microcontrollers or on this machine, training here, networks from PyTorch, the
/// storage of imported weights, predictions of instructions, or promises about what a model is sure of and
/// about sentinels.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to measure.
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Inference on microcontrollers.
    ///
    /// Without --model: the shapes that runtimes are compared by, with random int8 weights, each in
    /// the layout that takes fewer instructions on the core. What doesn't fit a board is left out,
    /// and said. `stack_bytes` is the deepest of loading and inference. --json prints an array of
    /// rows with core, shape, layout, macs, model_bytes, instructions, load_instructions,
    /// code_bytes, checked_code_bytes,
    /// arena_bytes, stack_bytes and layers; docs/results/mcu.json holds one.
    Mcu(McuArgs),
    Training(training::Args),
    Pytorch(pytorch::Args),
    Storage(storage::Args),
    Host(host::Args),
    Cost(cost::Args),
    Decision(decision::Args),
    Sentinel(sentinel::Args),
}

#[derive(clap::Args)]
struct McuArgs {
    /// Measure a model file instead.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Measure the committed models (tests/golden) instead.
    #[arg(long, conflicts_with = "model")]
    committed: bool,
    /// Measure only the shape of this name.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["model", "committed"])]
    shape: Option<String>,
    /// The core, or `all`.
    #[arg(long, default_value = "cortex-m4")]
    core: String,
    /// Show the layers, too; they are always in the JSON.
    #[arg(long)]
    per_layer: bool,
    /// Measure other runtimes, too, on the shapes that they have operators for.
    #[arg(long, conflicts_with_all = ["model", "committed"])]
    peers: bool,
    /// Print a JSON array of rows.
    #[arg(long)]
    json: bool,
}

/// Something to be measured: one file, or the same network in several layouts.
struct Subject {
    shape: String,
    variants: Vec<(Option<&'static str>, Vec<u8>)>,
}

#[derive(Serialize)]
struct Row {
    core: &'static str,
    shape: String,
    /// The name of another runtime; absent for ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime: Option<String>,
    /// How weights lie; absent for a model that was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    layout: Option<&'static str>,
    macs: u64,
    instructions: u64,
    stack_bytes: u64,
    /// What isn't measured of other runtimes.
    #[serde(flatten)]
    own: Option<Own>,
}

#[derive(Serialize)]
struct Own {
    model_bytes: u64,
    load_instructions: u64,
    /// Code of a firmware that holds what the model needs and whose build has checked the model.
    code_bytes: u64,
    /// Code of the same firmware where the device checks the model.
    checked_code_bytes: u64,
    arena_bytes: u64,
    layers: Vec<Layer>,
}

pub(crate) fn run(args: &Args) -> Result<(), XtaskError> {
    match &args.what {
        What::Mcu(args) => mcu(args),
        What::Training(args) => training::run(args),
        What::Pytorch(args) => pytorch::run(args),
        What::Storage(args) => storage::run(args),
        What::Host(args) => host::run(args),
        What::Cost(args) => cost::run(args),
        What::Decision(args) => decision::run(args),
        What::Sentinel(args) => sentinel::run(args),
    }
}

fn mcu(args: &McuArgs) -> Result<(), XtaskError> {
    let root = paths::root()?;
    let subjects = subjects(&root, args)?;
    let samples = samples(&subjects)?;
    let mut rows = Vec::new();
    for board in boards::select(&args.core)? {
        let mut bench = Bench::new(&root, board, &samples)?;
        for subject in &subjects {
            match bench.row(subject)? {
                Some(row) => rows.push(row),
                None => eprintln!("{} on {}: doesn't fit the board", subject.shape, board.core),
            }
        }
        if args.peers {
            let found = peers(&root, board, &rows)?;
            rows.extend(found);
        }
    }
    if args.json {
        println!("{:#}", serde_json::json!(rows));
    } else {
        print(&rows, args.per_layer);
    }
    Ok(())
}

fn subjects(root: &Path, args: &McuArgs) -> Result<Vec<Subject>, XtaskError> {
    let one = |shape: String, bytes| Subject { shape, variants: vec![(None, bytes)] };
    if let Some(path) = &args.model {
        let bytes = fs::read(path).map_err(|source| XtaskError::File {
            action: "read",
            path: path.clone(),
            source,
        })?;
        Model::parse(&bytes).map_err(|error| XtaskError::Golden {
            path: path.clone(),
            problem: error.to_string(),
        })?;
        return Ok(vec![one(golden::name(path), bytes)]);
    }
    if args.committed {
        let models = golden::committed(&root.join("tests/golden"))?;
        return Ok(models.into_iter().map(|golden| one(golden.name, golden.model)).collect());
    }
    let mut subjects = Vec::new();
    let is_chosen = |name: &str| args.shape.as_deref().is_none_or(|chosen| chosen == name);
    for shape in SHAPES.into_iter().filter(|shape| is_chosen(shape.name)) {
        let mut variants = Vec::new();
        for (name, layout) in [("rows", Layout::RowMajor), ("pairs", Layout::Pairs)] {
            variants.push((Some(name), shape.model(layout)?));
        }
        subjects.push(Subject { shape: shape.name.to_owned(), variants });
    }
    Ok(subjects)
}

/// Models to link code with, the smallest first: boards with little flash can't embed the large ones.
fn samples(subjects: &[Subject]) -> Result<Vec<Vec<u8>>, XtaskError> {
    let variants = subjects.iter().flat_map(|subject| &subject.variants);
    let mut samples: Vec<Vec<u8>> = variants.map(|(_, bytes)| bytes.clone()).collect();
    samples.extend(shapes::least_dense()?);
    samples.sort_by_key(Vec::len);
    Ok(samples)
}

/// The programs of one board: those that serve every model are built once.
struct Bench<'a> {
    root: &'a Path,
    board: &'static Board,
    elf: PathBuf,
    /// The flash of start-up alone.
    start_up: u64,
    /// Flash of code by what it must be able to do: nothing else decides it.
    code: HashMap<(u32, Vec<&'static str>), [u64; 2]>,
    /// Models, the smallest first.
    samples: &'a [Vec<u8>],
}

impl<'a> Bench<'a> {
    fn new(
        root: &'a Path,
        board: &'static Board,
        samples: &'a [Vec<u8>],
    ) -> Result<Self, XtaskError> {
        let elf = measure::build_slot(root, board)?;
        let start_up = footprint::start_up(root, board)?;
        Ok(Self { root, board, elf, start_up, code: HashMap::new(), samples })
    }

    /// The variant with the fewest instructions; `None` when the board can hold none.
    fn row(&mut self, subject: &Subject) -> Result<Option<Row>, XtaskError> {
        let mut best: Option<(Option<&'static str>, &[u8], Measured)> = None;
        for (layout, bytes) in &subject.variants {
            eprintln!("  {} {} on {}", subject.shape, layout.unwrap_or(""), self.board.core);
            let folder = folder_with(bytes)?;
            let found = match measure::in_slot(&self.elf, self.board, folder.path()) {
                Err(error @ XtaskError::Uncounted { .. }) => {
                    eprintln!("  left out: {error}");
                    continue;
                }
                found => found?,
            };
            let Some(found) = found else { continue };
            if best.as_ref().is_none_or(|(.., old)| found.instructions < old.instructions) {
                best = Some((*layout, bytes, found));
            }
        }
        let Some((layout, bytes, measured)) = best else { return Ok(None) };
        let [code_bytes, checked_code_bytes] = self.code_bytes(bytes)?;
        Ok(Some(Row {
            core: self.board.core,
            shape: subject.shape.clone(),
            runtime: None,
            layout,
            macs: measured.layers.iter().map(|layer| layer.macs).sum(),
            instructions: measured.instructions,
            stack_bytes: measured.stack_bytes,
            own: Some(Own {
                code_bytes,
                checked_code_bytes,
                model_bytes: bytes.len() as u64,
                load_instructions: measured.load_instructions,
                arena_bytes: measured.arena_bytes,
                layers: measured.layers,
            }),
        }))
    }

    /// The code of firmware whose model was checked before, and of firmware that checks it.
    fn code_bytes(&mut self, model: &[u8]) -> Result<[u64; 2], XtaskError> {
        let needs = needs(model);
        if let Some(&known) = self.code.get(&needs) {
            return Ok(known);
        }
        let sample = self.samples.iter().find(|sample| self::needs(sample) == needs);
        let folder = folder_with(sample.map_or(model, Vec::as_slice))?;
        let path = folder.path().join(MODEL_FILE);
        let of =
            |checked| footprint::code_bytes(self.root, self.board, &path, self.start_up, checked);
        let bytes = [of(Checked::Built)?, of(Checked::Started)?];
        self.code.insert(needs, bytes);
        Ok(bytes)
    }
}

/// The operators and the features that a model needs.
fn needs(model: &[u8]) -> (u32, Vec<&'static str>) {
    Model::parse(model).map_or_else(
        |_| Default::default(),
        |model| (model.header().op_kinds, model.features().names().collect()),
    )
}

/// The rows of other runtimes, with the multiply-accumulates of ours; none where they don't fit.
fn peers(root: &Path, board: &'static Board, ours: &[Row]) -> Result<Vec<Row>, XtaskError> {
    eprintln!("  other runtimes on {}", board.core);
    let found = match peers::run(root, board) {
        Err(XtaskError::DoesNotFit { .. }) => {
            eprintln!("other runtimes on {}: don't fit the board", board.core);
            return Ok(Vec::new());
        }
        other => other?,
    };
    let macs = |shape: &str| ours.iter().find(|row| row.shape == shape).map_or(0, |row| row.macs);
    let row = |peer: Peer| Row {
        core: board.core,
        runtime: Some(peer.runtime),
        layout: None,
        macs: macs(&peer.shape),
        shape: peer.shape,
        instructions: peer.instructions,
        stack_bytes: peer.stack_bytes,
        own: None,
    };
    let is_ours = |peer: &Peer| ours.iter().any(|row| row.shape == peer.shape);
    Ok(found.into_iter().filter(is_ours).map(row).collect())
}

fn folder_with(model: &[u8]) -> Result<tempfile::TempDir, XtaskError> {
    let failed = |source| XtaskError::File {
        action: "write a model to",
        path: std::env::temp_dir(),
        source,
    };
    let folder = tempfile::tempdir().map_err(failed)?;
    fs::write(folder.path().join(MODEL_FILE), model).map_err(failed)?;
    Ok(folder)
}

fn print(rows: &[Row], per_layer: bool) {
    println!("instructions per inference, counted by QEMU (not cycles)");
    println!(
        "{:<12} {:<20} {:<6} {:>12} {:>8} {:>8} {:>8} {:>6}",
        "core", "shape", "layout", "instructions", "per MAC", "code", "arena", "stack"
    );
    for row in rows {
        let own = |value: fn(&Own) -> u64| {
            row.own.as_ref().map_or("-".to_owned(), |own| thousands(value(own)))
        };
        println!(
            "{:<12} {:<20} {:<6} {:>12} {:>8.2} {:>8} {:>8} {:>6} {}",
            row.core,
            row.shape,
            row.layout.unwrap_or("-"),
            thousands(row.instructions),
            row.instructions as f64 / row.macs.max(1) as f64,
            own(|own| own.code_bytes),
            own(|own| own.arena_bytes),
            thousands(row.stack_bytes),
            row.runtime.as_deref().unwrap_or_default()
        );
        let layers = row.own.iter().flat_map(|own| &own.layers);
        for layer in layers.filter(|_| per_layer) {
            let count = layer.instructions.map_or("-".to_owned(), thousands);
            println!("{:>15} {:<24} {count:>12}", layer.layer, layer.op);
        }
    }
}
