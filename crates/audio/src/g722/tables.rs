//! The tables of ITU-T G.722, as numbers of 16 bits.

/// Table 11: half the coefficients of the quadrature mirror filters, times 2^13. The other half mirrors them.
pub(super) const QMF: [i32; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];

/// Table 14: the lower band's decision levels.
pub(super) const QUANTIZER_6: [i32; 29] = [
    35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023, 1121, 1219, 1339,
    1458, 1612, 1765, 1980, 2195, 2557, 2919,
];

/// The upper band's decision level.
pub(super) const QUANTIZER_HIGH: i32 = 564;

/// 2^(i/32) times 2048: the mantissa of the quantizer scale.
pub(super) const SCALE: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834, 2896, 2960, 3025,
    3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];

#[inline(always)]
pub(super) fn inverse_6(code: u8) -> i32 {
    QM6[usize::from(code & 63)]
}

#[inline(always)]
pub(super) fn inverse_4(code: u8) -> i32 {
    QM4[usize::from(code & 15)]
}

#[inline(always)]
pub(super) fn inverse_2(code: u8) -> i32 {
    QM2[usize::from(code & 3)]
}

/// What the lower band's code adds to the logarithmic scale.
#[inline(always)]
pub(super) fn log_step_low(code: u8) -> i32 {
    WL[usize::from(code & 15)]
}

#[inline(always)]
pub(super) fn log_step_high(code: u8) -> i32 {
    WH[usize::from(code & 3)]
}

#[rustfmt::skip]
static QM6: [i32; 64] = [
      -136,   -136,   -136,   -136, -24808, -21904, -19008, -16704,
    -14984, -13512, -12280, -11192, -10232,  -9360,  -8576,  -7856,
     -7192,  -6576,  -6000,  -5456,  -4944,  -4464,  -4008,  -3576,
     -3168,  -2776,  -2400,  -2032,  -1688,  -1360,  -1040,   -728,
     24808,  21904,  19008,  16704,  14984,  13512,  12280,  11192,
     10232,   9360,   8576,   7856,   7192,   6576,   6000,   5456,
      4944,   4464,   4008,   3576,   3168,   2776,   2400,   2032,
      1688,   1360,   1040,    728,    432,    136,   -432,   -136,
];

#[rustfmt::skip]
static QM4: [i32; 16] = [
         0, -20456, -12896, -8968, -6288, -4240, -2584, -1200,
     20456,  12896,   8968,  6288,  4240,  2584,  1200,     0,
];

static QM2: [i32; 4] = [-7408, -1616, 7408, 1616];

#[rustfmt::skip]
static WL: [i32; 16] = [
     -60, 3042, 1198, 538, 334, 172, 58, -30,
    3042, 1198,  538, 334, 172,  58, -30, -60,
];

static WH: [i32; 4] = [798, -214, 798, -214];
