//! The limits of every number in a job file, as one table: docs/JOB.md shows the same ranges, and a
//! test compares the two.

use std::fmt;

use super::Job;

/// Most passes over the training set: at a second each, nearly three hours.
pub(super) const MAX_EPOCHS: f64 = 10_000.0;

/// Most examples per step: beyond it a step no longer fits a workstation's memory.
pub(super) const MAX_BATCH: f64 = 65_536.0;

/// Most examples or groups or weights that a key may count.
pub(super) const MAX_COUNT: f64 = 2_147_483_648.0;

/// Most steps.
pub(super) const MAX_STEPS: f64 = 1e9;

/// Largest size along an axis, number of filters or units.
pub(super) const MAX_SIZE: f64 = 1_048_576.0;

/// What a layer may have of anything: the format counts in 16 bits.
pub(super) const MAX_DIM: f64 = crate::network::MAX_DIM as f64;

/// Most golden vectors: they are committed, and run on slow cores.
pub(super) const MAX_VECTORS: f64 = 100_000.0;

/// Most instructions of an inference that may be asked for: hours on a microcontroller.
pub(super) const MAX_INSTRUCTIONS: f64 = 1e12;

/// Longest inference that may be asked for: an hour.
pub(super) const MAX_MILLISECONDS: f64 = 3.6e6;

/// Most points of a front: each is a training of its own.
pub(super) const MAX_POINTS: f64 = 20.0;

/// Most temperatures of a front: each is a Bayesian stage of its own, and the promises of each are
/// tested at a part of the chance of error.
pub(super) const MAX_TEMPERATURES: usize = 8;

/// Most inferences an hour: a thousand a second.
pub(super) const MAX_PER_HOUR: f64 = 3.6e6;

/// Most inferences that something is promised of: a thousand a second, for thirty years.
pub(super) const MAX_INFERENCES: f64 = 1e12;

/// Which numbers a key takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Limit {
    /// Both ends included.
    Closed(f64, f64),
    /// Both ends excluded.
    Open(f64, f64),
    /// The lower end excluded.
    Above(f64, f64),
    /// The upper end excluded.
    Below(f64, f64),
    /// Weight widths: 1 to 8, or 16.
    Bits,
}

use Limit::{Above, Below, Bits, Closed, Open};

impl Limit {
    /// Whether `value` is allowed; NaN never is.
    pub(super) fn allows(self, value: f64) -> bool {
        match self {
            Closed(low, high) => low <= value && value <= high,
            Open(low, high) => low < value && value < high,
            Above(low, high) => low < value && value <= high,
            Below(low, high) => low <= value && value < high,
            Bits => (1.0..=8.0).contains(&value) || value == 16.0,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Closed(low, high) => write!(f, "{low} … {high}"),
            Open(low, high) => write!(f, "{low} … {high}, both excluded"),
            Above(low, high) => write!(f, "{low} … {high}, {low} excluded"),
            Below(low, high) => write!(f, "{low} … {high}, {high} excluded"),
            Bits => f.write_str("1 … 8, or 16"),
        }
    }
}

/// Every number of a job file. `[]` stands for any index.
pub(super) const LIMITS: &[(&str, Limit)] = &[
    ("seed", Closed(0.0, super::MAX_SEED as f64)),
    ("data.label_column", Closed(-MAX_SIZE, MAX_SIZE)),
    ("data.shape[]", Closed(1.0, MAX_SIZE)),
    ("data.resize[]", Closed(1.0, 8192.0)),
    ("data.validation_fraction", Open(0.0, 1.0)),
    ("data.validation_count", Closed(1.0, MAX_COUNT)),
    ("data.test_fraction", Open(0.0, 1.0)),
    ("data.test_count", Closed(1.0, MAX_COUNT)),
    ("data.rare_class_share", Closed(0.0, 1.0)),
    ("data.split_seed", Closed(0.0, super::MAX_SEED as f64)),
    ("network.width", Closed(0.03125, 4.0)),
    ("network.layers[].units", Closed(1.0, MAX_DIM)),
    ("network.layers[].filters", Closed(1.0, MAX_DIM)),
    ("network.layers[].kernel[]", Closed(1.0, MAX_DIM)),
    ("network.layers[].size[]", Closed(1.0, MAX_DIM)),
    ("network.layers[].stride[]", Closed(1.0, MAX_DIM)),
    ("network.layers[].dilation[]", Closed(1.0, MAX_DIM)),
    ("network.layers[].rate", Open(0.0, 1.0)),
    ("network.layers[].slope", Open(0.0, 1.0)),
    ("pretrain.epochs", Closed(0.0, MAX_EPOCHS)),
    ("pretrain.batch", Closed(1.0, MAX_BATCH)),
    ("pretrain.learning_rate", Open(0.0, 1.0)),
    ("pretrain.weight_decay", Closed(0.0, 1.0)),
    ("pretrain.patience", Closed(0.0, MAX_EPOCHS)),
    ("variational.epochs", Closed(0.0, MAX_EPOCHS)),
    ("variational.batch", Closed(1.0, MAX_BATCH)),
    ("variational.learning_rate.mean", Open(0.0, 1.0)),
    ("variational.learning_rate.log_variance", Open(0.0, 1.0)),
    ("variational.learning_rate.scale_mean", Open(0.0, 1.0)),
    ("variational.learning_rate.scale_log_variance", Open(0.0, 1.0)),
    ("variational.beta2", Open(0.0, 1.0)),
    ("variational.temperature[][]", Closed(0.0, MAX_EPOCHS)),
    ("variational.scale_weight[]", Closed(0.0, 10_000.0)),
    ("variational.initial_log_variance", Closed(-30.0, 2.0)),
    ("variational.first_log_variance_most", Closed(-30.0, 2.0)),
    ("variational.initial_scale_log_variance", Closed(-30.0, 2.0)),
    ("variational.tau0", Above(0.0, 1.0)),
    ("variational.patience", Closed(0.0, MAX_EPOCHS)),
    ("variational.shrink.from_step", Closed(0.0, MAX_STEPS)),
    ("variational.shrink.every", Closed(0.0, MAX_STEPS)),
    ("variational.shrink.examples", Closed(1.0, MAX_COUNT)),
    ("variational.shrink.floor", Closed(-100.0, 100.0)),
    ("variational.shrink.loss_rise[]", Closed(0.0, 100.0)),
    ("variational.shrink.loss_ratio", Closed(0.0, 100.0)),
    ("variational.shrink.most_at_once", Above(0.0, 1.0)),
    ("variational.shrink.target_weights", Closed(0.0, MAX_COUNT)),
    ("variational.shrink.target_macs", Closed(0.0, MAX_INSTRUCTIONS)),
    ("variational.shrink.target_instructions", Closed(0.0, MAX_INSTRUCTIONS)),
    ("prune.threshold", Closed(-100.0, 100.0)),
    ("prune.loss_rise", Closed(0.0, 100.0)),
    ("finetune.epochs", Closed(0.0, MAX_EPOCHS)),
    ("finetune.batch", Closed(1.0, MAX_BATCH)),
    ("finetune.learning_rate", Open(0.0, 1.0)),
    ("finetune.average", Below(0.0, 1.0)),
    ("finetune.distill", Closed(0.0, 1.0)),
    ("finetune.temperature", Above(0.0, 100.0)),
    ("finetune.smoothing", Below(0.0, 1.0)),
    ("finetune.patience", Closed(0.0, MAX_EPOCHS)),
    ("quantize.epochs", Closed(0.0, MAX_EPOCHS)),
    ("quantize.bits[]", Closed(2.0, 8.0)),
    ("quantize.batch", Closed(1.0, MAX_BATCH)),
    ("quantize.learning_rate", Open(0.0, 1.0)),
    ("quantize.step_learning_rate", Open(0.0, 1.0)),
    ("quantize.rate", Closed(0.0, 1000.0)),
    ("quantize.average", Below(0.0, 1.0)),
    ("quantize.bias_tolerance", Closed(0.0, 1.0)),
    ("augment.copies", Closed(1.0, 1000.0)),
    ("augment.rotation", Closed(0.0, 180.0)),
    ("augment.scale", Closed(0.0, 0.9)),
    ("augment.shear", Closed(0.0, 1.0)),
    ("augment.shift", Closed(0.0, 1000.0)),
    ("augment.clean", Closed(0.0, 1.0)),
    ("bits.least", Bits),
    ("bits.most", Bits),
    ("bits.tolerance_points", Closed(0.0, 100.0)),
    ("target.weights_ram_bytes", Closed(0.0, MAX_COUNT)),
    ("size.flash_bytes", Closed(1.0, MAX_COUNT)),
    ("size.instructions", Closed(1.0, MAX_INSTRUCTIONS)),
    ("calibration.examples", Closed(1.0, MAX_COUNT)),
    ("golden.vectors", Closed(1.0, MAX_VECTORS)),
    ("requirements.error_rise_points", Closed(0.0, 100.0)),
    ("requirements.error_percent", Open(0.0, 100.0)),
    ("requirements.class_error_percent[]", Open(0.0, 100.0)),
    ("requirements.accepted_error_percent", Open(0.0, 100.0)),
    ("requirements.flash_bytes", Closed(1.0, MAX_COUNT)),
    ("requirements.arena_bytes", Closed(1.0, MAX_COUNT)),
    ("requirements.instructions", Closed(1.0, MAX_INSTRUCTIONS)),
    ("requirements.milliseconds", Above(0.0, MAX_MILLISECONDS)),
    ("requirements.confidence", Closed(0.5, 0.9999)),
    ("requirements.hold_out", Open(0.0, 1.0)),
    ("sentinel.tolerance_percent", Closed(0.0, 20.0)),
    ("sentinel.confidence", Closed(0.5, 0.9999)),
    ("sentinel.false_alarms", Above(0.0, 1.0)),
    ("sentinel.inferences", Closed(1.0, MAX_INFERENCES)),
    ("sentinel.decimate", Closed(1.0, 255.0)),
    ("front.temperatures[]", Above(0.0, 100.0)),
    ("front.points", Closed(1.0, MAX_POINTS)),
    ("front.gentlest", Above(0.0, 1.0)),
    ("front.harshest", Closed(1.0, 100.0)),
    ("front.keep", Above(0.0, 1.0)),
    ("front.narrower", Closed(0.0, 6.0)),
    ("report.megahertz", Above(0.0, 10_000.0)),
    ("report.inferences_per_hour", Above(0.0, MAX_PER_HOUR)),
    ("report.battery_mah", Above(0.0, 1e6)),
];

/// The limit of a key, given with or without indices.
pub(super) fn limit(key: &str) -> Option<Limit> {
    let key = without_indices(key);
    LIMITS.iter().find(|(known, _)| *known == key).map(|(_, limit)| *limit)
}

/// `network.layers[2].units` → `network.layers[].units`.
fn without_indices(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    let mut inside = false;
    for c in key.chars() {
        inside = (inside || c == '[') && c != ']';
        if !inside || c == '[' {
            out.push(c);
        }
    }
    out
}

/// A number outside its limits.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Broken {
    /// The key's full path.
    pub key: String,
    /// What it is.
    pub value: String,
    /// What it may be.
    pub allowed: String,
}

/// The first number outside its limits.
pub(super) fn first_broken(job: &Job) -> Option<Broken> {
    let value = toml::Value::try_from(job).ok()?;
    let mut broken = None;
    numbers(&value, "", &mut |key, value, text| {
        let Some(limit) = limit(key) else { return };
        if broken.is_none() && !limit.allows(value) {
            let allowed = limit.to_string();
            broken = Some(Broken { key: key.to_owned(), value: text, allowed });
        }
    });
    broken
}

/// Visits every number with its full path and its text.
pub(super) fn numbers(value: &toml::Value, path: &str, visit: &mut impl FnMut(&str, f64, String)) {
    match value {
        toml::Value::Integer(n) => visit(path, *n as f64, n.to_string()),
        // Most floats of a job are f32: their own digits, not those of their f64 neighbour.
        toml::Value::Float(x) => visit(path, *x, (*x as f32).to_string()),
        toml::Value::Array(array) => {
            for (index, element) in array.iter().enumerate() {
                numbers(element, &format!("{path}[{index}]"), visit);
            }
        }
        toml::Value::Table(table) => {
            for (key, element) in table {
                let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                numbers(element, &inner, visit);
            }
        }
        toml::Value::String(_) | toml::Value::Boolean(_) | toml::Value::Datetime(_) => {}
    }
}
