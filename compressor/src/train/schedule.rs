//! Learning-rate schedules.

/// Share of the peak at which the cosine ends.
const COSINE_END: f32 = 0.01;

/// Cosine from 1 to 1 % over `steps`, after a linear warm-up over `warm_up` steps.
pub(super) fn cosine(step: u64, steps: u64, warm_up: u64) -> f32 {
    let progress = step as f32 / steps.max(1) as f32;
    let decay = 0.5 * (1.0 + (std::f32::consts::PI * progress.min(1.0)).cos());
    let ramp = (step + 1) as f32 / warm_up.max(1) as f32;
    (COSINE_END + (1.0 - COSINE_END) * decay) * ramp.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_warms_up_peaks_and_ends_low() {
        assert!((cosine(0, 1000, 100) - 0.01).abs() < 1e-3);
        assert!(cosine(99, 1000, 100) > 0.97);
        assert!((cosine(1000, 1000, 0) - COSINE_END).abs() < 1e-6);
        assert!((cosine(500, 1000, 0) - 0.505).abs() < 1e-3);
    }
}
