//! Sentinels from references that are drawn from a law which is known here, run by the runtime.

use bitsback_runtime::sentinel::{Answers, Bet, CLASSES_AT, Draft, Look, Sentinel, Watch};
use bitsback_runtime::writer::set_sentinel;
use bitsback_runtime::{Engine, Model};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::attach::{Examples, attach};
use super::bins::{Bins, Counts, bin};
use super::delay::{frozen, predicted, scores};
use super::reference::{Form, Seen};
use super::seed::{SeedError, Seeded, ordinals, reseed, seed, steps};
use super::{SentinelConfig, SentinelError, SentinelProfile};

/// Any model of 64 inputs and 10 scores; it isn't run.
const MODEL: &[u8] = include_bytes!("../../../tests/golden/digits/model.bbk");
const FORM: Form = Form { inputs: 64, outputs: 10, answers: Answers::Scores, classes: 10 };

/// A law: so many inferences, one as likely as the other.
struct Pool {
    inputs: Vec<[i8; 64]>,
    outputs: Vec<[i8; 10]>,
}

impl Pool {
    /// Inputs of some brightness and roughness, and leads and classes that have to do with them.
    fn new(brighter: f64, surer: f64, count: usize) -> Self {
        let mut noise = ChaCha8Rng::seed_from_u64(9);
        let mut pool = Self { inputs: Vec::new(), outputs: Vec::new() };
        for _ in 0..count {
            let level = brighter + 40.0 * (noise.random::<f64>() + noise.random::<f64>() - 1.0);
            let width = noise.random_range(5.0..40.0);
            let value = |noise: &mut ChaCha8Rng| (level + width * noise.random::<f64>()) as i8;
            pool.inputs.push(std::array::from_fn(|_| value(&mut noise)));
            let class = (10.0 * noise.random::<f64>().powf(1.3)) as usize;
            let lead = surer * (noise.random::<f64>() * 100.0 + 0.5 * (level + 40.0));
            let mut output = [0; 10];
            output[class] = lead.clamp(0.0, 127.0) as i8;
            pool.outputs.push(output);
        }
        pool
    }

    fn seen(&self) -> Vec<Seen> {
        FORM.see(self.inputs.as_flattened(), self.outputs.as_flattened())
    }

    fn drawn(&self, count: usize, noise: &mut ChaCha8Rng) -> Vec<Seen> {
        let seen = self.seen();
        (0..count).map(|_| seen[noise.random_range(0..seen.len())]).collect()
    }

    /// Feeds until the alarm, of at most so many that are drawn.
    fn run(&self, sentinel: &Sentinel, most: usize, noise: &mut ChaCha8Rng) -> Option<usize> {
        let mut watch = Watch::new();
        (1..=most).find(|_| {
            let at = noise.random_range(0..self.inputs.len());
            watch.feed(sentinel, Look::of(&self.inputs[at]), &self.outputs[at]).is_some()
        })
    }
}

fn config(profile: SentinelProfile) -> SentinelConfig {
    SentinelConfig { profile, ..SentinelConfig::default() }
}

/// What a device does with the section.
fn with<T>(draft: &Draft, then: impl FnOnce(&Sentinel) -> T) -> T {
    let mut bytes = MODEL.to_vec();
    let section = draft.to_bytes().unwrap();
    assert!(section.len() <= 256);
    set_sentinel(&mut bytes, &section);
    let model = Model::parse(&bytes).unwrap();
    then(&Sentinel::new(&model).unwrap().unwrap())
}

#[test]
fn every_section_is_one_that_a_device_accepts_and_reads_alike() {
    let pool = Pool::new(0.0, 1.0, 1_500);
    let seen = pool.seen();
    for (profile, bets) in
        [(SentinelProfile::All, 28), (SentinelProfile::Quiet, 6), (SentinelProfile::NoPrior, 18)]
    {
        let seeded = seed(&FORM, &seen, None, &config(profile)).unwrap();
        assert_eq!(seeded.examples, 1_500);
        with(&seeded.draft, |sentinel| {
            assert_eq!(sentinel.bets(), bets);
            assert!(seeded.bets * 4 > bets * 3, "{} of {bets} can rise", seeded.bets);
            assert_eq!(Draft::of(sentinel), seeded.draft);
            for (at, seen) in seen.iter().enumerate() {
                let look = Look::of(&pool.inputs[at]);
                let symbols = sentinel.symbols(look, &pool.outputs[at]);
                for (statistic, of) in ordinals(&seeded.draft) {
                    let bin = bin(&of.edges, seen.values[statistic]);
                    assert_eq!(usize::from(symbols.bins[statistic]), bin);
                }
                let class = if profile == SentinelProfile::All { seen.class } else { 0 };
                assert_eq!(u16::from(symbols.class), class);
            }
        });
    }
}

/// Of every bet, the law that the threshold is computed by is above the reference's own, a share within the
/// tolerance moved to its best symbol.
#[test]
fn thresholds_are_of_laws_that_rise_more_than_the_references() {
    let reference = Pool::new(0.0, 1.0, 3_000).seen();
    let Seeded { draft, .. } =
        seed(&FORM, &reference, None, &config(SentinelProfile::All)).unwrap();
    let (steps, scores) = (steps(&draft), scores(&draft));
    assert_eq!((steps.len(), scores.len()), (28, 28));
    for (bet, scores) in scores {
        let at = match bet {
            Bet::Ordinal(place) => usize::from(place),
            Bet::Class(class) => CLASSES_AT + usize::from(class),
        };
        let (_, steps) = steps.iter().find(|(place, _)| *place == at).unwrap();
        let found: Vec<i16> = reference.iter().map(|seen| scores.of(seen)).collect();
        let mut distinct = found.clone();
        distinct.sort_unstable();
        distinct.dedup();
        for least in distinct {
            let count = found.iter().filter(|&&score| score >= least).count();
            let likely = 4096.0 * count as f64 / found.len() as f64;
            let moved = (likely + f64::from(draft.tolerance)).min(4096.0);
            assert!(moved <= f64::from(steps.at_least(least)), "{bet}: {least} has {moved}");
        }
    }
}

/// A promise of one stream in two within 200 feeds, without tolerance and with little confidence, so that there
/// are alarms to be counted at all.
#[test]
fn streams_like_the_reference_alarm_no_more_often_than_promised() {
    let pool = Pool::new(0.0, 1.0, 4_000);
    let promise = SentinelConfig {
        tolerance_percent: 0.0,
        confidence: 0.5,
        false_alarms: 0.5,
        inferences: 200,
        ..config(SentinelProfile::All)
    };
    let mut noise = ChaCha8Rng::seed_from_u64(21);
    let (mut alarms, streams) = (0, 150);
    for _ in 0..10 {
        let reference = pool.drawn(4_000, &mut noise);
        let Seeded { draft, .. } = seed(&FORM, &reference, None, &promise).unwrap();
        let found = with(&draft, |sentinel| {
            (0..streams).filter(|_| pool.run(sentinel, 200, &mut noise).is_some()).count()
        });
        assert!(found <= streams / 2 + 25, "{found} of {streams}");
        alarms += found;
    }
    assert!((10..=750).contains(&alarms), "{alarms} of {}", 10 * streams);
}

#[test]
fn changes_are_noticed_as_soon_as_predicted() {
    let mut noise = ChaCha8Rng::seed_from_u64(33);
    let reference = Pool::new(0.0, 1.0, 4_000).seen();
    let Seeded { draft, .. } =
        seed(&FORM, &reference, None, &config(SentinelProfile::All)).unwrap();
    assert_eq!(predicted(&draft, &reference), None, "nothing changed");
    let quiet = seed(&FORM, &reference, None, &config(SentinelProfile::Quiet)).unwrap().draft;
    for (brighter, surer) in [(20.0, 1.0), (-30.0, 1.0), (0.0, 0.4)] {
        let pool = Pool::new(brighter, surer, 2_000);
        let (feeds, _) = predicted(&draft, &pool.seen()).unwrap();
        let runs = 60;
        let found: Vec<usize> = with(&draft, |sentinel| {
            (0..runs).filter_map(|_| pool.run(sentinel, 5_000, &mut noise)).collect()
        });
        assert_eq!(found.len(), runs, "all are noticed");
        let mean = found.iter().sum::<usize>() as f64 / runs as f64;
        assert!(mean <= 1.1 * feeds && mean >= 0.4 * feeds, "{brighter} {surer}: {mean} {feeds}");
        assert!(brighter != 0.0 || predicted(&quiet, &pool.seen()).is_some());
    }
    let (feeds, _) = frozen(&draft, &reference).unwrap();
    assert!((5.0..200.0).contains(&feeds), "{feeds}");
}

#[test]
fn of_many_classes_the_commonest_are_bet_on() {
    let form = Form { outputs: 40, classes: 40, ..FORM };
    let mut noise = ChaCha8Rng::seed_from_u64(4);
    let inputs: Vec<i8> = (0..64 * 2_000).map(|_| noise.random()).collect();
    let mut outputs = vec![0i8; 40 * 2_000];
    for (at, output) in outputs.chunks_mut(40).enumerate() {
        let common = [33, 2, 17, 39, 8][at % 5];
        output[if at % 3 == 0 { noise.random_range(0..40) } else { common }] = 50;
    }
    let seeded =
        seed(&form, &form.see(&inputs, &outputs), None, &config(SentinelProfile::All)).unwrap();
    assert_eq!(seeded.draft.map, Some([2, 8, 17, 33, 39]));
    assert_eq!(seeded.draft.classes.len(), 5);
    assert!(seeded.draft.to_bytes().unwrap().len() <= 256);
}

#[test]
fn values_and_lone_classes_have_sentinels() {
    let mut noise = ChaCha8Rng::seed_from_u64(4);
    let inputs: Vec<i8> = (0..3 * 400).map(|_| noise.random()).collect();
    let outputs: Vec<i8> = (0..400).map(|_| noise.random()).collect();
    let form = Form { inputs: 3, outputs: 1, answers: Answers::Values, classes: 0 };
    let draft = seed(&form, &form.see(&inputs, &outputs), None, &config(SentinelProfile::All))
        .unwrap()
        .draft;
    assert!(draft.values && draft.classes.is_empty() && draft.inputs.is_some());
    assert!(draft.to_bytes().is_ok());
    let outputs: Vec<i8> = (0..400).flat_map(|at| [(at % 7) as i8, 0]).collect();
    let form = Form { inputs: 3, outputs: 2, answers: Answers::Class, classes: 7 };
    let seen = form.see(&inputs, &outputs);
    let draft = seed(&form, &seen, None, &config(SentinelProfile::All)).unwrap().draft;
    assert!(draft.answer.is_none() && draft.classes.len() == 7 && draft.to_bytes().is_ok());
    assert_eq!(
        seed(&form, &seen, None, &config(SentinelProfile::Quiet)),
        Err(SeedError::NothingToWatch)
    );
}

#[test]
fn a_statistic_that_never_changes_is_watched_for_that() {
    let inputs = vec![5i8; 64 * 1_000];
    let outputs = [[9i8, -128, 0, 0, 0, 0, 0, 0, 0, 0]; 1_000];
    let reference = FORM.see(&inputs, outputs.as_flattened());
    let draft = seed(&FORM, &reference, None, &config(SentinelProfile::All)).unwrap().draft;
    assert!(draft.to_bytes().is_ok());
    assert_eq!(predicted(&draft, &reference), None);
    let darker = FORM.see(&vec![4i8; 64 * 10], &[outputs[0]; 10].concat());
    let (feeds, bet) = predicted(&draft, &darker).unwrap();
    assert!(feeds < 40.0 && bet.name().starts_with("brightness"), "{feeds} {bet}");
}

/// By what devices count, of a law that isn't the reference's: it is no change any more, and what was the
/// reference is one.
#[test]
fn a_fleet_that_differs_becomes_the_reference() {
    let (lab, field) = (Pool::new(0.0, 1.0, 3_000).seen(), Pool::new(25.0, 0.8, 9_000).seen());
    let all = config(SentinelProfile::All);
    let first = seed(&FORM, &lab, None, &all).unwrap().draft;
    assert!(predicted(&first, &field).is_some(), "the field is a change");
    let bins = Bins::of_section(&first, SentinelProfile::All).unwrap();
    let counts = bins.count(&field);
    let anew = reseed(&first, &counts, &all).unwrap();
    assert_eq!((anew.examples, predicted(&anew.draft, &field)), (9_000, None));
    assert!(predicted(&anew.draft, &lab).is_some());
    assert_eq!(ordinals(&anew.draft).len(), 3);
    let edges =
        |draft: &Draft| ordinals(draft).into_iter().map(|(_, of)| of.edges).collect::<Vec<_>>();
    assert_eq!(edges(&anew.draft), edges(&first), "bins stay, or counts would mean nothing");
    // With the same counts as the first had, the same bets.
    let few = Bins::of_section(&first, SentinelProfile::Quiet).unwrap();
    assert_eq!(few.count(&lab).ordinals[0], bins.count(&lab).ordinals[0]);
    let quiet = reseed(&first, &few.count(&lab), &config(SentinelProfile::Quiet)).unwrap().draft;
    assert!(quiet.inputs.is_none() && quiet.classes.is_empty() && quiet.to_bytes().is_ok());
    let none = Counts { all: 299, ..counts };
    assert_eq!(reseed(&first, &none, &all), Err(SeedError::TooFew { found: 299 }));
}

#[test]
fn a_recording_says_how_far_apart() {
    let pool = Pool::new(0.0, 1.0, 3_000).seen();
    // Each frame comes ten times.
    let slow: Vec<Seen> = pool.iter().flat_map(|one| [*one; 10]).collect();
    let all = config(SentinelProfile::All);
    let seeded = |frames: &[Seen]| seed(&FORM, &pool, Some(frames), &all);
    assert_eq!(seeded(&pool).unwrap().draft.decimate, 1);
    let apart = seeded(&slow).unwrap().draft.decimate;
    assert!((9..=11).contains(&apart), "{apart}");
    assert_eq!(seeded(&pool[..999]), Err(SeedError::FewFrames { found: 999 }));
    assert_eq!(seeded(&[pool[0]; 2_000]), Err(SeedError::Dependent));
}

#[test]
fn what_cannot_be_promised_is_refused() {
    let seen = Pool::new(0.0, 1.0, 299).seen();
    assert_eq!(
        seed(&FORM, &seen, None, &config(SentinelProfile::All)),
        Err(SeedError::TooFew { found: 299 })
    );
    let text = SeedError::TooFew { found: 299 }.to_string();
    assert!(text.contains("300") && text.contains("299"), "{text}");
}

fn run(model: &Model, inputs: &[i8]) -> Result<Vec<i8>, SentinelError> {
    let mut outputs = vec![0; inputs.len() / model.input().len() * model.output().len()];
    Engine::new(model).run(inputs, &mut outputs).unwrap();
    Ok(outputs)
}

#[test]
fn a_model_gets_one_sentinel_and_answers_as_before() {
    let golden: &[u8] = include_bytes!("../../../tests/golden/digits/inputs.i8");
    let mut noise = ChaCha8Rng::seed_from_u64(8);
    let mut inputs: Vec<i8> = Vec::new();
    for input in golden.chunks_exact(64).cycle().take(600) {
        let factor: f64 = noise.random_range(0.8..1.0);
        inputs.extend(
            input.iter().map(|&x| (128.0 * (factor - 1.0) + factor * f64::from(x as i8)) as i8),
        );
    }
    let labels: Vec<u32> = (0..600).map(|at| at % 10).collect();
    let examples =
        Examples { inputs: &inputs, labels: &labels, classes: 10, values: false, recording: None };
    let mut bytes = MODEL.to_vec();
    let summary = attach(&mut bytes, &examples, &config(SentinelProfile::All), run).unwrap();
    assert_eq!(bytes.len() as u64, MODEL.len() as u64 + summary.bytes);
    let nothing = summary.delays.first().unwrap();
    assert_eq!((nothing.inferences, nothing.error_points), (None, Some(0.0)));
    let dark = summary.delays.iter().find(|delay| delay.change == "values times 0.2").unwrap();
    assert!(dark.inferences.is_some_and(|after| after < 100.0), "{dark:?}");
    let json = serde_json::to_string(&summary).unwrap();
    assert_eq!(serde_json::from_str::<super::SentinelSummary>(&json).unwrap(), summary);
    // Every second inference: the same evidence is for half as many feeds, and takes twice as long.
    let seldom = SentinelConfig { decimate: 2, ..config(SentinelProfile::Quiet) };
    let second = attach(&mut bytes, &examples, &seldom, run).unwrap();
    assert_eq!(bytes.len() as u64, MODEL.len() as u64 + second.bytes);
    let model = Model::parse(&bytes).unwrap();
    let sentinel = Sentinel::new(&model).unwrap().unwrap();
    assert_eq!((sentinel.decimate(), sentinel.bets()), (2, 6));
    assert!(second.threshold_bits < summary.threshold_bits);
}
