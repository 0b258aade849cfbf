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

#[test]
fn windows_of_few_channels_are_folded_by_all_kernels() {
    let value = |at: usize| (at.wrapping_mul(2_654_435_761) >> 7) as i8;
    for (channels, taps, stride) in
        [(1, 2, 2), (3, 3, 1), (15, 2, 2), (16, 2, 3), (31, 1, 1), (32, 4, 4)]
    {
        let windows = 5;
        let len = ((windows - 1) * stride + taps) * channels;
        let line: Vec<i8> = (0..len + LANES).map(value).collect();
        let largest = |at: usize| {
            let first = at / channels * stride * channels + at % channels;
            (0..taps).map(|tap| line[first + tap * channels]).max()
        };
        let expected: Vec<i8> = (0..windows * channels).filter_map(largest).collect();
        for kernels in KernelSet::available() {
            let mut most = std::vec![0; windows * channels];
            kernels.raise_pixels(&line, [channels, taps, stride * channels], &mut most);
            assert_eq!(most, expected, "{} with {channels} channels", kernels.name());
        }
    }
}
