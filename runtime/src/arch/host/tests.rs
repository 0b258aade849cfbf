//! Kernels of hosts are chosen by what the machine has; the operators' tests compare what they compute.

use super::*;

#[test]
fn the_portable_kernels_are_everywhere() {
    let names: Vec<_> = KernelSet::available().into_iter().map(KernelSet::name).collect();
    assert_eq!(names.first(), Some(&"portable"));
    assert_eq!(names.last(), Some(&KernelSet::best().name()));
    #[cfg(bitsback_isa = "x86_64")]
    assert_eq!(names.contains(&"avx2"), std::is_x86_feature_detected!("avx2"));
}
