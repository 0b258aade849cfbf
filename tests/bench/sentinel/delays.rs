//! Streams that change: whether it is noticed, and after how many inferences, by the sentinel and by detectors
//! whose thresholds are tuned on the field itself, which a sentinel never sees.

use bitsback_runtime::sentinel::{Sentinel, Watch};
use serde::Serialize;

use crate::chance::Chance;
use crate::field::{Failure, Field};
use crate::images::CHANGES;
use crate::rivals::{Adwin, Detector, PageHinkley};
use crate::{Args, Set, config, parse};

/// Images that a change is applied to.
const IMAGES: usize = 2000;
/// Examples of a reference.
const EXAMPLES: usize = 2000;
/// Sentinels by so many references take turns.
const REFERENCES: usize = 4;
/// Inferences before the change: at least so many, and at most twice as many.
const BEFORE: usize = 500;
/// Inferences after it.
const HORIZON: usize = 5000;
/// Shares of another set's images among those of the own.
const MIXTURES: [f64; 5] = [0.125, 0.25, 0.5, 0.75, 1.0];
/// Rivals are tuned to an alarm in so many inferences, on twenty times as many; ADWIN, which is slow, on fewer.
const RATE: usize = 1_000_000;
const TUNED_ON: usize = 20 * RATE;
const ADWIN_TUNED_ON: usize = 2 * RATE;

/// One change of one set.
#[derive(Serialize)]
pub(crate) struct Condition {
    set: String,
    change: String,
    /// Points of accuracy that it costs.
    drop: f64,
    detectors: Vec<Found>,
}

/// What a detector made of it.
#[derive(Clone, Serialize)]
pub(crate) struct Found {
    detector: &'static str,
    detected_percent: f64,
    /// Inferences from the change on; none where fewer runs than that share noticed it.
    median: Option<usize>,
    ninety_percent: Option<usize>,
}

/// A change as a stream has it: what is fed from then on.
struct Change {
    name: String,
    field: Field,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    /// Inferences drawn from the changed ones.
    All,
    /// This share of them from the changed ones.
    Share(f64),
    /// One inference, again and again.
    Frozen,
    /// Half of all from two classes.
    TwoClasses,
}

pub(crate) fn measure(sets: &[Set], args: &Args) -> Result<Vec<Condition>, Failure> {
    let mut conditions = Vec::new();
    for (number, set) in sets.iter().enumerate() {
        let rivals = Rivals::tuned(&set.field, args.seed);
        let mut chance = Chance::new(args.seed + 100);
        let references = (0..REFERENCES).map(|_| {
            let places: Vec<usize> = (0..EXAMPLES).map(|_| chance.below(set.field.len())).collect();
            set.with_sentinel(&set.field.pick(&places), &config())
        });
        let files = references.collect::<Result<Vec<_>, _>>()?;
        let models = files.iter().map(|file| parse(file)).collect::<Result<Vec<_>, _>>()?;
        let sentinels = models.iter().map(|model| Ok(Sentinel::new(model)?.ok_or("no sentinel")?));
        let sentinels = sentinels.collect::<Result<Vec<_>, Failure>>()?;
        for change in changes(set, &sets[(number + 1) % sets.len()], args.seed)? {
            let drop = drop(&set.field, &change);
            let mut detectors = vec![delays("sentinel", args.runs, |run| {
                let (sentinel, mut watch) = (&sentinels[run % REFERENCES], Watch::new());
                let mut stream = Stream::new(set, &change, run, args.seed);
                stream.delay(|field, at| {
                    let alarm = watch.feed(sentinel, field.looks[at], field.output(at)).is_some();
                    if alarm {
                        watch.reset();
                    }
                    alarm
                })
            })];
            for (name, rival) in &rivals.all {
                detectors.push(delays(name, args.runs, |run| {
                    let mut detector = rival();
                    Stream::new(set, &change, run, args.seed).delay(|field, at| {
                        let alarm = detector.feed(rivals.scores(field, at));
                        if alarm {
                            detector.reset();
                        }
                        alarm
                    })
                }));
            }
            eprintln!(
                "{}, {}: {drop:.1} points; {}",
                set.name,
                change.name,
                detectors.iter().map(said).collect::<Vec<_>>().join(", ")
            );
            conditions.push(Condition {
                set: set.name.clone(),
                change: change.name,
                drop,
                detectors,
            });
        }
    }
    Ok(conditions)
}

fn said(found: &Found) -> String {
    let median = found.median.map_or("–".to_owned(), |delay| delay.to_string());
    format!("{} {:.0} % {median}", found.detector, found.detected_percent)
}

/// All changes of a set's images.
fn changes(set: &Set, other: &Set, seed: u64) -> Result<Vec<Change>, Failure> {
    let model = parse(&set.model)?;
    let images = set.images.first(IMAGES);
    let mut chance = Chance::new(seed + 200);
    let mut changes = Vec::new();
    for change in CHANGES {
        let field = Field::of(&model, &set.model, &images.changed(change, &mut chance))?;
        changes.push(Change { name: change.name(), field, kind: Kind::All });
    }
    if other.name != set.name {
        let mut foreign = other.images.first(IMAGES);
        // No label fits: a foreign image has no right answer.
        foreign.labels.fill(u32::MAX);
        let field = Field::of(&model, &set.model, &foreign)?;
        for share in MIXTURES {
            let name = format!("{} % {}", 100.0 * share, other.name);
            changes.push(Change { name, field: field.clone(), kind: Kind::Share(share) });
        }
    }
    let frozen = Change { name: "frozen".into(), field: set.field.clone(), kind: Kind::Frozen };
    let places: Vec<usize> = (0..set.field.len()).filter(|&at| set.images.labels[at] < 2).collect();
    let classes = Change {
        name: "half of all from two classes".into(),
        field: set.field.pick(&places),
        kind: Kind::TwoClasses,
    };
    changes.extend([frozen, classes]);
    Ok(changes)
}

/// Points of accuracy that a change costs.
fn drop(field: &Field, change: &Change) -> f64 {
    let rise = change.field.error_percent - field.error_percent;
    match change.kind {
        Kind::All => rise,
        Kind::Share(share) => share * rise,
        Kind::Frozen | Kind::TwoClasses => 0.0,
    }
}

/// A stream that changes once.
struct Stream<'a> {
    clean: &'a Field,
    change: &'a Change,
    chance: Chance,
    before: usize,
    frozen: usize,
}

impl<'a> Stream<'a> {
    /// The same for every detector.
    fn new(set: &'a Set, change: &'a Change, run: usize, seed: u64) -> Self {
        let mut chance = Chance::new(seed + 1000 * (run as u64 + 1));
        let before = BEFORE + chance.below(BEFORE + 1);
        let frozen = chance.below(change.field.len());
        Self { clean: &set.field, change, chance, before, frozen }
    }

    /// Feeds the stream, and gives the inferences from the change to the first alarm; alarms before it don't
    /// count.
    fn delay(&mut self, mut feed: impl FnMut(&Field, usize) -> bool) -> Option<usize> {
        for _ in 0..self.before {
            feed(self.clean, self.chance.below(self.clean.len()));
        }
        (1..=HORIZON).find(|_| {
            let (field, at) = self.next();
            feed(field, at)
        })
    }

    fn next(&mut self) -> (&'a Field, usize) {
        let changed = &self.change.field;
        let share = match self.change.kind {
            Kind::All => 1.0,
            Kind::Share(share) => share,
            Kind::Frozen => return (changed, self.frozen),
            Kind::TwoClasses => 0.5,
        };
        match self.chance.share() < share {
            true => (changed, self.chance.below(changed.len())),
            false => (self.clean, self.chance.below(self.clean.len())),
        }
    }
}

fn delays(
    detector: &'static str,
    runs: usize,
    mut delay: impl FnMut(usize) -> Option<usize>,
) -> Found {
    let mut found: Vec<usize> = (0..runs).filter_map(&mut delay).collect();
    found.sort_unstable();
    let at = |share: f64| found.get(((runs as f64 * share).ceil() as usize).max(1) - 1).copied();
    Found {
        detector,
        detected_percent: 100.0 * found.len() as f64 / runs as f64,
        median: at(0.5),
        ninety_percent: at(0.9),
    }
}

/// Makes a detector anew.
type Maker = Box<dyn Fn() -> Box<dyn Detector>>;

/// The detectors that the sentinel is held against, tuned on a field.
struct Rivals {
    moments: [(f64, f64); 3],
    all: Vec<(&'static str, Maker)>,
}

impl Rivals {
    fn tuned(field: &Field, seed: u64) -> Self {
        let mut rivals = Self { moments: field.moments(), all: Vec::new() };
        for (name, statistics) in [("Page–Hinkley, lead", 1), ("Page–Hinkley, all three", 3)] {
            let of = move |threshold| PageHinkley::new(statistics, 0.25, threshold);
            let threshold = rivals.tune(field, seed, TUNED_ON, (2.0, 200.0), of);
            eprintln!("{name}: threshold {threshold:.2}");
            rivals.all.push((name, Box::new(move || Box::new(of(threshold)))));
        }
        let of = |threshold: f64| Adwin::new((-threshold).exp2());
        let threshold = rivals.tune(field, seed, ADWIN_TUNED_ON, (1.0, 40.0), of);
        eprintln!("ADWIN, lead: δ {:.2e}", (-threshold).exp2());
        rivals.all.push(("ADWIN, lead", Box::new(move || Box::new(of(threshold)))));
        rivals
    }

    fn scores(&self, field: &Field, at: usize) -> [f64; 3] {
        let mut z = field.values[at];
        for (z, (mean, deviation)) in z.iter_mut().zip(self.moments) {
            *z = (*z - mean) / deviation;
        }
        z
    }

    /// The least threshold, to a hundredth, with which there are no more alarms than one in [`RATE`].
    fn tune<D: Detector>(
        &self,
        field: &Field,
        seed: u64,
        inferences: usize,
        (mut low, mut high): (f64, f64),
        of: impl Fn(f64) -> D,
    ) -> f64 {
        while high - low > 0.01 * low {
            let middle = 0.5 * (low + high);
            let (mut detector, mut alarms) = (of(middle), 0);
            let mut chance = Chance::new(seed + 300);
            for _ in 0..inferences {
                if detector.feed(self.scores(field, chance.below(field.len()))) {
                    alarms += 1;
                    detector.reset();
                }
                if alarms > inferences / RATE {
                    break;
                }
            }
            if alarms > inferences / RATE { low = middle } else { high = middle }
        }
        high
    }
}
