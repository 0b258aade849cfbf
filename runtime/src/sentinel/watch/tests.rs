use super::*;
use crate::Model;
use crate::sentinel::Event;
use crate::sentinel::Symbols;
use crate::sentinel::testing::{any_table, draft, draft_with, kinds, model};
use crate::sentinel::{Bet, CLASSES_AT, Draft, RECORD_LEN, Record, TAILS_AT};
use crate::writer::set_sentinel;
use proptest::prelude::*;
use std::vec::Vec;

/// Runs `check` on the sentinel of a model.
fn with<R>(
    (draft, values, class): &(Draft, u16, bool),
    check: impl FnOnce(&Sentinel<'_>) -> R,
) -> R {
    let mut file = model(*values, *class);
    set_sentinel(&mut file, &draft.to_bytes().unwrap());
    let model = Model::parse(&file).unwrap();
    check(&Sentinel::new(&model).unwrap().unwrap())
}

/// Ten classes and all bets.
fn all(draft: Draft) -> (Draft, u16, bool) {
    (draft, 10, false)
}

/// An output of ten scores with this class and lead.
fn output(class: u8, lead: u8) -> [i8; 10] {
    core::array::from_fn(
        |i| if i == usize::from(class) { (i16::from(lead) - 128) as i8 } else { -128 },
    )
}

/// In the middle of everything.
const USUAL: Look = Look { brightness: 2, roughness: 170 };
/// Very dark.
const DARK: Look = Look { brightness: -4000, roughness: 170 };

/// Evidence as its definition says, bet by bet, from the draft.
fn evidence(draft: &Draft, fed: &[Symbols], start: i32) -> Vec<u16> {
    let mut found = [0; MAX_BETS];
    let inputs = draft.inputs.map_or([None; 2], |inputs| inputs.map(Some));
    let ordinals = [draft.answer, inputs[0], inputs[1]];
    for (place, evidence) in found.iter_mut().enumerate() {
        let score = |symbols: &Symbols| -> Option<i32> {
            let event = |event: Event, is: bool| {
                if is { i32::from(event.hit) } else { -i32::from(event.loss) }
            };
            if place < TAILS_AT {
                let bin = usize::from(symbols.bins[place / 4]);
                Some(ordinals[place / 4]?.table[bin][place % 4].into())
            } else if place < CLASSES_AT {
                let (statistic, high) = ((place - TAILS_AT) / 2, (place - TAILS_AT) % 2 == 1);
                let (of, bin) = (ordinals[statistic]?, symbols.bins[statistic]);
                Some(match (high, statistic) {
                    (true, _) => event(of.high, bin == 7),
                    (false, 0) => event(of.low, bin < 2),
                    (false, _) => event(of.low, bin == 0),
                })
            } else {
                let bet = draft.classes.get(place - CLASSES_AT)?;
                Some(event(bet.event, usize::from(symbols.class) == place - CLASSES_AT))
            }
        };
        let sum = fed.iter().map(score).try_fold(start, |sum, score| Some((sum + score?).max(0)));
        *evidence = sum.unwrap_or(0) as u16;
    }
    found.to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn evidence_is_what_it_is_defined_as(
        table in any_table(),
        kind in 0usize..13,
        trial: bool,
        fed in prop::collection::vec((prop::array::uniform10(any::<i8>()), any::<[i16; 2]>()), 1..60),
    ) {
        let mut kind = kinds().swap_remove(kind);
        let drawn = draft_with(kind.0.classes.len(), table);
        kind.0 = Draft {
            threshold: 30_000,
            answer: kind.0.answer.and(drawn.answer),
            inputs: kind.0.inputs.and(drawn.inputs),
            ..kind.0
        };
        with(&kind, |sentinel| {
            let mut watch = if trial { Watch::on_trial(sentinel, 5) } else { Watch::new() };
            let mut symbols = Vec::new();
            for (output, [brightness, roughness]) in &fed {
                let look = Look { brightness: (*brightness).into(), roughness: (*roughness).into() };
                let output = if kind.2 { &output[..2] } else { &output[..] };
                symbols.push(sentinel.symbols(look, output));
                assert_eq!(watch.feed(sentinel, look, output), None);
            }
            let start = if trial { 5 * 16 } else { 0 };
            let expected = evidence(&kind.0, &symbols, start);
            assert_eq!(watch.all()[..], expected);
            assert_eq!(watch.evidence(), expected.into_iter().max().unwrap());
        });
    }

    /// What was counted comes back from a record.
    #[test]
    fn records_come_back(
        kind in 0usize..13,
        window: u16,
        id: u32,
        fed in prop::collection::vec((prop::array::uniform10(any::<i8>()), any::<[i16; 2]>()), 0..80),
    ) {
        let kind = kinds().swap_remove(kind);
        with(&kind, |sentinel| {
            let mut watch = Watch::new();
            for (output, [brightness, roughness]) in &fed {
                let look = Look { brightness: (*brightness).into(), roughness: (*roughness).into() };
                watch.feed(sentinel, look, if kind.2 { &output[..2] } else { &output[..] });
            }
            let mut bytes = [0xAA; RECORD_LEN];
            watch.record(sentinel, id, window, &mut bytes);
            let record = Record::read(&bytes).unwrap();
            assert_eq!((record.model, record.window), (id, window));
            assert_eq!(usize::from(record.fed), fed.len());
            let there = [sentinel.has_answer(), sentinel.has_inputs(), sentinel.has_inputs()];
            for ((counts, own), is_there) in record.counts.iter().zip(watch.counts.chunks(BINS)).zip(there) {
                assert_eq!(counts.as_ref().map(|counts| &counts[..]), is_there.then_some(own));
            }
            let classes = record.classes.as_ref().map(|counts| &counts[..]);
            assert_eq!(classes, sentinel.has_classes().then_some(&watch.counts[ORDINALS * BINS..]));
            assert_eq!(u16::from(record.evidence), watch.evidence() / 16);
            let bet = record.alarm.and_then(|place| sentinel.bet_at(place));
            assert_eq!(bet, watch.alarm(sentinel).map(|alarm| alarm.bet));
        });
    }
}

#[test]
fn an_alarm_names_the_bet_and_stays() {
    with(&all(draft(10)), |sentinel| {
        let mut watch = Watch::new();
        let mut classes = (0..10).cycle();
        let mut feed = |watch: &mut Watch, look| {
            let class = classes.next().unwrap_or(0);
            watch.feed(sentinel, look, &output(class, [1, 20, 60, 130][usize::from(class) % 4]))
        };
        let alarm = (0..200).find_map(|_| feed(&mut watch, DARK)).unwrap();
        assert!(alarm.evidence >= sentinel.threshold());
        assert_eq!(watch.alarm(sentinel), Some(alarm));
        assert!(["brightness lo6", "brightness low"].contains(&alarm.bet.name()), "{alarm:?}");
        let evidence = *watch.all();
        for _ in 0..300 {
            assert_eq!(feed(&mut watch, USUAL), Some(alarm), "it stays");
        }
        assert_eq!(watch.all(), &evidence);
        watch.settle();
        assert_eq!(watch.alarm(sentinel), Some(alarm), "settling is no reset");
        let fed = watch.fed();
        watch.reset();
        assert_eq!((watch.alarm(sentinel), watch.evidence(), watch.fed()), (None, 0, fed));
        assert_eq!(feed(&mut watch, USUAL), None);
    });
}

#[test]
fn classes_are_named_by_their_number() {
    let of_class = |kind: &(Draft, u16, bool), output: &[i8]| {
        with(kind, |sentinel| {
            let mut watch = Watch::new();
            // Leads and looks that are drawn evenly from all bins.
            (0..600)
                .find_map(|_| watch.feed(sentinel, Look::default(), output))
                .map(|alarm| alarm.bet)
        })
    };
    let kinds = kinds();
    let only = |draft: &Draft| Draft { answer: None, inputs: None, ..draft.clone() };
    let ten = all(only(&kinds[0].0));
    assert_eq!(of_class(&ten, &output(3, 9)), Some(Bet::Class(3)));
    let mapped = (only(&kinds[2].0), 1000, false);
    let many: Vec<i8> = (0..1000).map(|i| i8::from(i == 300)).collect();
    assert_eq!(of_class(&mapped, &many), Some(Bet::Class(300)));
    let others: Vec<i8> = (0..1000).map(|i| i8::from(i == 301)).collect();
    assert_eq!(of_class(&mapped, &others), None, "there is no bet on the others");
    assert_eq!(of_class(&kinds[9], &[44, 1]), Some(Bet::Class(300)));
    let class_alone = (only(&kinds[8].0), 10, true);
    assert_eq!(of_class(&class_alone, &[9, 0]), Some(Bet::Class(9)));
    assert_eq!(
        of_class(&class_alone, &[10, 0]),
        None,
        "no bet is on a class that it can't be about"
    );
    assert_eq!(std::format!("{}", Bet::Class(300)), "class 300");
    assert_eq!(std::format!("{}", Bet::Ordinal(17)), "roughness high");
    assert_eq!(Bet::Ordinal(200).name(), "");
}

#[test]
fn bets_have_their_places() {
    with(&all(draft(10)), |sentinel| {
        let places: Vec<_> = (0..=255u8).filter_map(|place| sentinel.bet_at(place)).collect();
        let ordinals = (0..CLASSES_AT as u8).map(Bet::Ordinal);
        assert_eq!(places, ordinals.chain((0..10).map(Bet::Class)).collect::<Vec<_>>());
        let names = ["answer", "brightness", "roughness"];
        for (place, bet) in places.iter().enumerate().take(CLASSES_AT) {
            let of = if place < TAILS_AT { place / 4 } else { (place - TAILS_AT) / 2 };
            assert!(bet.name().starts_with(names[of]), "{place}: {}", bet.name());
        }
    });
    let quiet = (Draft { classes: Vec::new(), inputs: None, ..draft(0) }, 10, false);
    with(&quiet, |sentinel| {
        let places: Vec<u8> = (0..=255).filter(|&place| sentinel.bet_at(place).is_some()).collect();
        assert_eq!(places, [0, 1, 2, 3, 12, 13]);
    });
}

#[test]
fn every_so_many_inferences_one_is_fed() {
    with(&all(Draft { decimate: 3, ..draft(10) }), |sentinel| {
        let mut watch = Watch::new();
        for inference in 0..10 {
            assert_eq!(watch.is_due(), inference % 3 == 0);
            watch.feed(sentinel, DARK, &output(0, 50));
            assert_eq!(watch.fed(), inference / 3 + 1);
        }
        let mut every = Watch::new();
        with(&all(draft(10)), |sentinel| {
            for _ in 0..4 {
                every.feed(sentinel, DARK, &output(0, 50));
            }
        });
        assert_eq!(watch.all(), every.all());
    });
}

#[test]
fn a_full_window_counts_no_more_and_evidence_goes_on() {
    with(&all(Draft { threshold: 30_000, ..draft(10) }), |sentinel| {
        let mut watch = Watch::new();
        for class in (0..10).cycle().take(MAX_WINDOW.into()) {
            watch.feed(sentinel, USUAL, &output(class, 50));
        }
        assert_eq!(watch.fed(), MAX_WINDOW);
        let counts = watch.counts;
        let before = watch.evidence();
        for _ in 0..20 {
            watch.feed(sentinel, DARK, &output(0, 50));
        }
        assert_eq!((watch.fed(), watch.counts), (MAX_WINDOW, counts));
        let evidence = watch.evidence();
        assert!(evidence > before + 100);
        let mut bytes = [0; RECORD_LEN];
        watch.record(sentinel, 1, 2, &mut bytes);
        assert_eq!(Record::read(&bytes).unwrap().fed, MAX_WINDOW);
        watch.start_window();
        assert_eq!((watch.fed(), watch.evidence()), (0, evidence));
        watch.feed(sentinel, DARK, &output(0, 50));
        assert_eq!(
            (watch.fed(), &watch.counts[BINS..2 * BINS]),
            (1, &[1, 0, 0, 0, 0, 0, 0, 0][..])
        );
    });
}

#[test]
fn a_trial_starts_ahead_and_ends() {
    with(&all(draft(10)), |sentinel| {
        let until = |mut watch: Watch| {
            (1..).find(|_| watch.feed(sentinel, DARK, &output(1, 50)).is_some()).unwrap()
        };
        let (plain, ahead) = (until(Watch::new()), until(Watch::on_trial(sentinel, 10)));
        assert!(ahead < plain, "{ahead} {plain}");
        let mut watch = Watch::on_trial(sentinel, 10);
        assert_eq!((watch.evidence(), watch.alarm(sentinel)), (160, None));
        watch.settle();
        assert_eq!(watch, Watch::new());
        // Never above the threshold.
        let mut watch = Watch::on_trial(sentinel, 255);
        assert_eq!((watch.evidence(), watch.alarm(sentinel)), (446, None));
        assert!(watch.feed(sentinel, DARK, &output(1, 50)).is_some());
    });
}

#[test]
fn a_trials_exponent_is_rounded_up() {
    for (bets, &log2) in LOG2_BETS.iter().enumerate().skip(1) {
        let exact = 16.0 * f64::log2(bets as f64);
        assert_eq!(f64::from(log2), (exact - 1e-9).ceil(), "{bets}");
    }
    // The note's example: 1000 inferences, 28 bets here.
    with(&all(draft(10)), |sentinel| assert_eq!(sentinel.trial_exponent(10), 176 + 77 - 447));
}

/// Inferences from the laws that the section is about, one after another: the promise is that hardly any of
/// such streams is in alarm.
#[test]
fn what_looks_like_the_reference_is_no_alarm() {
    with(&all(draft(10)), |sentinel| {
        let (mut watch, mut state) = (Watch::new(), 1u32);
        let mut below = |limit: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 16) * limit) >> 16
        };
        let mut highest = 0;
        for _ in 0..50_000 {
            let lead = [1, 5, 10, 20, 40, 60, 90, 130][below(8) as usize];
            let brightness = (below(8) as i32 - 4) * 400 + 100;
            let roughness = below(8) as i32 * 40 + 20;
            let output = output(below(10) as u8, lead);
            let alarm = watch.feed(sentinel, Look { brightness, roughness }, &output);
            assert_eq!(alarm, None);
            highest = highest.max(watch.evidence());
        }
        assert!(highest > 32, "{highest}: nothing was bet");
    });
}
