//! Stationary streams: how many alarms there are, beside how many were promised at the most.

use bitsback_runtime::sentinel::{Sentinel, Watch};
use serde::Serialize;

use crate::chance::Chance;
use crate::field::{Failure, Field};
use crate::{Args, Set, config, parse};

/// Examples of a reference.
const SIZES: [usize; 4] = [500, 1000, 2000, 5000];

/// Sentinels by references of one size and kind.
#[derive(Serialize)]
pub(crate) struct Stationary {
    set: String,
    /// Whether the stream shows the images that references were drawn from, or others.
    same_images: bool,
    examples: usize,
    references: usize,
    inferences: u64,
    alarms: u64,
    /// The expectation is at most this.
    promised: f64,
    /// Mean of the thresholds, in bits.
    threshold_bits: f64,
    /// The highest evidence that any stream reached, as a share of its threshold.
    highest_share: f64,
}

pub(crate) fn measure(sets: &[Set], args: &Args) -> Result<Vec<Stationary>, Failure> {
    let mut rows = Vec::new();
    for set in sets {
        let mut places: Vec<usize> = (0..set.field.len()).collect();
        shuffle(&mut places, &mut Chance::new(args.seed));
        let (one, other) = places.split_at(places.len() / 2);
        for same_images in [true, false] {
            for examples in SIZES {
                let (from, stream) =
                    if same_images { (&places[..], &places[..]) } else { (one, other) };
                let row = row(set, args, examples, same_images, (from, stream))?;
                eprintln!(
                    "{}, {examples} examples: {} alarms in {} inferences",
                    set.name, row.alarms, row.inferences
                );
                rows.push(row);
            }
        }
    }
    Ok(rows)
}

fn row(
    set: &Set,
    args: &Args,
    examples: usize,
    same_images: bool,
    (from, stream): (&[usize], &[usize]),
) -> Result<Stationary, Failure> {
    let config = config();
    let mut chance = Chance::new(args.seed ^ examples as u64 ^ u64::from(same_images) << 32);
    let (mut alarms, mut bits, mut highest) = (0, 0.0, 0.0f64);
    let field = set.field.pick(stream);
    for _ in 0..args.references {
        let reference = match same_images {
            // Independent draws from the very law that the stream has.
            true => draw(&set.field, from, examples, &mut chance),
            false => {
                let mut from = from.to_vec();
                shuffle(&mut from, &mut chance);
                set.field.pick(&from[..examples.min(from.len())])
            }
        };
        let file = set.with_sentinel(&reference, &config)?;
        let model = parse(&file)?;
        let sentinel = Sentinel::new(&model)?.ok_or("no sentinel")?;
        let threshold = f64::from(sentinel.threshold());
        bits += threshold / 16.0;
        let mut watch = Watch::new();
        for _ in 0..args.stream {
            let at = chance.below(field.len());
            if watch.feed(&sentinel, field.looks[at], field.output(at)).is_some() {
                alarms += 1;
                watch.reset();
            }
            highest = highest.max(f64::from(watch.evidence()) / threshold);
        }
    }
    let inferences = args.references as u64 * args.stream as u64;
    Ok(Stationary {
        set: set.name.clone(),
        same_images,
        examples,
        references: args.references,
        inferences,
        alarms,
        promised: inferences as f64 * config.false_alarms / config.inferences as f64,
        threshold_bits: bits / args.references as f64,
        highest_share: highest,
    })
}

/// So many inferences, each drawn from all of them.
fn draw(field: &Field, from: &[usize], count: usize, chance: &mut Chance) -> Field {
    let places: Vec<usize> = (0..count).map(|_| from[chance.below(from.len())]).collect();
    field.pick(&places)
}

pub(crate) fn shuffle(places: &mut [usize], chance: &mut Chance) {
    for end in (1..places.len()).rev() {
        places.swap(end, chance.below(end + 1));
    }
}
