//! What groups are ordered by when the least needed are looked for.
//!
//! The posterior is this program's answer. The other one is its control: the very same removal, with
//! the ablation that makes it safe, ordered by the size of the weights. What the two differ by is
//! what the posterior's order is worth.

use serde::{Deserialize, Serialize};

use super::PruneError;
use super::weights::{group_squares, posterior_mean};
use crate::posterior::Posterior;

/// Smallest root mean square that is told from 0, so that a group of zeros has a finite place at the
/// end of the order.
const LEAST_MAGNITUDE: f32 = 1e-20;

/// What the prune score of a group is, by which removal goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// log α (normal-Jeffreys) or v − m (horseshoe) of its scale.
    #[default]
    Posterior,
    /// −ln of the root mean square of its weights in the posterior's mean.
    Magnitude,
}

impl Order {
    /// The posterior with prune scores of this order.
    ///
    /// # Errors
    /// When a vector of the posterior doesn't fit its layer, or holds a number that isn't finite.
    pub fn applied(self, mut posterior: Posterior) -> Result<Posterior, PruneError> {
        if self == Self::Magnitude {
            let squares = group_squares(&posterior_mean(&posterior)?);
            for (layer, squares) in posterior.graph.parameters_mut().zip(squares) {
                let measure = |square: &f32| -square.sqrt().max(LEAST_MAGNITUDE).ln();
                layer.prune_score = squares.iter().map(measure).collect();
            }
        }
        Ok(posterior)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Graph;
    use crate::graph::ops::Dense;
    use crate::posterior::{LayerPosterior, Prior};

    fn posterior() -> Posterior {
        let layer = LayerPosterior {
            weight_mean: vec![3.0, 0.0, 4.0, 0.0],
            weight_variance: vec![0.1; 4],
            bias_mean: vec![0.0; 2],
            bias_variance: vec![0.1; 2],
            scale_mean: vec![2.0, 1.0],
            scale_variance: vec![0.1; 2],
            prune_score: vec![-1.0, -2.0],
            description_length_nats: 0.0,
        };
        let mut graph = Graph::of_input(vec![2]);
        graph.push("dense_1", Dense {}, vec![0], vec![2], Some(layer));
        Posterior { prior: Prior::NormalJeffreys, graph, description_length_nats: 0.0 }
    }

    #[test]
    fn the_posterior_s_own_order_is_left_alone() {
        assert_eq!(Order::Posterior.applied(posterior()).unwrap(), posterior());
    }

    #[test]
    fn magnitude_is_that_of_the_scaled_columns() {
        let ordered = Order::Magnitude.applied(posterior()).unwrap();
        // Column 0 is (6, 8): root mean square √50.
        let layer = ordered.graph.parameters().next().unwrap();
        let [first, zero] = layer.prune_score[..] else { panic!() };
        assert!((first + 50f32.sqrt().ln()).abs() < 1e-5, "{first}");
        assert!(zero.is_finite() && zero > first, "{zero}");
    }
}
