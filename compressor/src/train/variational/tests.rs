use super::*;
use crate::graph::ops::{Conv2d, Dense, Reshape};
use crate::graph::{Padding, Window};
use crate::train::initialize;

/// 3 filters of 3 × 3 over 6 × 6 positions, and a dense layer: 1,107 weights, 2,052 MACs.
fn state() -> State {
    state_of(3)
}

/// The same of so many filters.
fn state_of(filters: usize) -> State {
    let mut graph = Graph::of_input(vec![8, 8, 1]);
    let rule = Window::with_rule([3; 2], [1; 2], [1; 2], Padding::Valid, [8; 2]);
    let conv = Conv2d { window: rule.unwrap().0 };
    let x = graph.push("conv2d_1", conv, vec![0], vec![6, 6, filters], Some(()));
    let x = graph.push("reshape_1", Reshape {}, vec![x], vec![36 * filters], None);
    graph.push("dense_1", Dense {}, vec![x], vec![10], Some(()));
    let network = initialize::deterministic(&graph, 1);
    let mut state = State::new(initialize::posterior(&network, &VariationalConfig::default()));
    state.step = ShrinkConfig::default().from_step;
    state
}

#[test]
fn shrinking_ends_at_its_targets() {
    let state = state();
    for (weights, macs, wanted) in [
        (0, 0, Some(Scope::All)),
        (1_000, 0, Some(Scope::All)),
        (1_107, 0, None),
        (0, 2_000, Some(Scope::All)),
        (0, 2_052, None),
        (1_000, 2_052, Some(Scope::All)),
        (1_107, 2_000, Some(Scope::Convolutions)),
        (1_107, 2_052, None),
    ] {
        let shrink = ShrinkConfig {
            target_weights: Some(weights),
            target_macs: macs,
            ..ShrinkConfig::default()
        };
        let config = VariationalConfig { shrink, ..VariationalConfig::default() };
        assert_eq!(scope(&config, &state), wanted, "{weights} {macs}");
    }
}

fn config(target_instructions: u64) -> VariationalConfig {
    let shrink = ShrinkConfig {
        from_step: 2,
        every: 3,
        examples: 60,
        floor: Some(-100.0),
        target_weights: Some(0),
        target_instructions,
        ..ShrinkConfig::default()
    };
    let (epochs, batch) = (Some(12), Some(20));
    VariationalConfig { cost: Cost::Instructions, epochs, batch, shrink, ..Default::default() }
}

#[test]
fn shrinking_ends_at_its_instructions() {
    let mut state = state();
    state.measure(&config(1), &Target::default()).unwrap();
    let now = state.costs.as_ref().unwrap().whole.instructions;
    for (wanted, scope_then) in [(0, Some(Scope::All)), (now - 1, Some(Scope::All)), (now, None)] {
        let shrink = ShrinkConfig { target_instructions: wanted, ..ShrinkConfig::default() };
        let config = VariationalConfig { shrink, ..config(0) };
        let config = config.resolve_for(100, 1_107);
        assert_eq!(config.shrink.target_weights, Some(0));
        assert_eq!(scope(&config, &state), scope_then, "{wanted}");
        let excess = state.price(&config).unwrap().excess;
        assert_eq!(excess, if wanted == now - 1 { 1.0 } else { f64::INFINITY });
    }
}

#[test]
fn costs_weigh_the_kl_on_top_of_the_job_s_factors() {
    let mut state = state();
    let mut config = VariationalConfig { scale_weight: vec![3.0], ..config(0) };
    state.measure(&config, &Target::default()).unwrap();
    let factors = state.costs.as_ref().unwrap().kl_factors(Cost::Instructions);
    assert!(factors[0] > 1.0 && factors[1] < 1.0, "{factors:?}");
    assert_eq!(state.scale_weights(&config), [3.0 * factors[0], factors[1]]);
    assert!(!config.is_bound());
    config.cost = Cost::None;
    assert_eq!(state.scale_weights(&config), [3.0]);
    assert!(state.price(&config).is_none());
}

/// Stops after so many steps.
struct Until(u64);

impl Observer<State> for Until {
    fn step(&mut self, state: &State, _: &StepReport) -> Result<(), TrainError> {
        if state.step == self.0 { Err(TrainError::Interrupted) } else { Ok(()) }
    }
}

/// Images of noise, brighter by class.
fn examples() -> Examples {
    let labels: Vec<u32> = (0..60).map(|example| example % 10).collect();
    let pixel = |(label, at): (u32, usize)| label as f32 * 0.1 + ((at * 7919) % 101) as f32 / 101.0;
    let inputs = labels.iter().flat_map(|&l| (0..64).map(move |at| (l, at))).map(pixel);
    let shape = crate::numbers::Shape::Image { height: 8, width: 8, channels: 1 };
    Examples { shape, inputs: inputs.collect(), labels: labels.clone(), classes: 10 }
}

/// Outer rows and columns have left, with what each of the dense layer's inputs from there saves.
fn assert_cropped(state: &State) {
    let crops = state.removed.iter().filter(|record| record.reason == Reason::EdgeHarmless);
    let crops: Vec<_> = crops.map(|record| (record.layer.as_str(), record.saved)).collect();
    let is_whole = |saved: Option<f32>| saved.is_some_and(|saved| saved > 0.0);
    assert!(!crops.is_empty() && crops.iter().all(|&(l, s)| l == "dense_1" && is_whole(s)));
    let part = state.network.input_part().unwrap();
    let size = [part.rows, part.columns].map(|[first, last]| last + 1 - first);
    assert!(size[0] * size[1] < 64, "{part}");
    let filters = &state.network.values[state.network.nodes[1].output].dims;
    assert_eq!(filters[..2], size.map(|size| size - 2), "{part}");
}

#[test]
fn what_is_interrupted_goes_on_to_the_same_bits_and_the_target() {
    let examples = examples();
    let device = crate::device::DeviceName::default().open().unwrap().autodiff();
    let (target, mut start) = (Target::default(), state_of(24));
    start.step = 0;
    start.measure(&config(1), &target).unwrap();
    let whole = start.costs.take().unwrap().whole.instructions;
    // As jobs are: what depends on the weights there are is settled before any has left.
    let config = config(whole / 2).resolve_for(60, weight_count(&start.network));
    let train = |state: &mut State, until: u64| {
        let plan = Plan { config: &config, seed: 5, target: &target };
        let material = Material::new(&examples, 0.0);
        train(state, plan, &material, &examples, &device, &mut Until(until))
    };
    let mut straight = start.clone();
    train(&mut straight, u64::MAX).unwrap();
    let found = target.costs(&posterior(&straight.network)).unwrap().whole.instructions;
    assert!(found <= whole / 2 && found > whole / 4, "{found} of {whole}");
    assert!(straight.removed.iter().any(|record| record.saved.is_some_and(|s| s > 0.0)));
    assert_cropped(&straight);
    let mut broken = start;
    for until in [3, 5, 6, 17] {
        assert!(matches!(train(&mut broken, until), Err(TrainError::Interrupted)));
        let bytes = postcard::to_stdvec(&broken).unwrap();
        broken = postcard::from_bytes(&bytes).unwrap();
    }
    train(&mut broken, u64::MAX).unwrap();
    // Bytes, as records of the ledger may hold what isn't a number.
    let bytes = |state: &State| postcard::to_stdvec(state).unwrap();
    assert_eq!(bytes(&broken), bytes(&straight));
}

#[test]
fn a_price_doubles_only_where_it_kept_groups_that_could_go() {
    let (examples, target) = (examples(), Target::default());
    let device = crate::device::DeviceName::default().open().unwrap().autodiff();
    let mut start = state_of(24);
    start.measure(&config(1), &target).unwrap();
    let whole = start.costs.take().unwrap().whole.instructions;
    // So little is asked for that no edge is tried, which floors don't keep.
    let doublings = |floor: f32| {
        let mut config = config(whole - 1).resolve_for(60, 24 * 9);
        (config.shrink.floor, config.shrink.loss_rise) = (Some(floor), Some(vec![0.0]));
        config.shrink.loss_ratio = 0.0;
        let mut state = state_of(24);
        state.step = 0;
        let plan = Plan { config: &config, seed: 5, target: &target };
        let material = Material::new(&examples, 0.0);
        let mut observer = Until(12);
        let end = train(&mut state, plan, &material, &examples, &device, &mut observer);
        assert!(matches!(end, Err(TrainError::Interrupted)));
        (state.doublings, state.removed.len())
    };
    assert_eq!(doublings(1_000.0), (0, 0));
    assert!(doublings(-100.0).0 > 0);
}
