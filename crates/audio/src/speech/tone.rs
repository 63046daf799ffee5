//! Whether a piece of audio is a tone of one or two frequencies, whatever these are: dial tone, busy tone, keys.
//!
//! A sum of two sines x obeys x[n] + x[n-4d] = a (x[n-d] + x[n-3d]) + b x[n-2d] for two numbers a and b, whatever the distance d. These are
//! fitted, and what is left over is compared with what as much noise would leave. d is so long (2 kHz) that what is not made of sines
//! cannot follow, however low its pitch.

/// In samples at 16 kHz.
const DISTANCE: usize = 8;
/// What is left of a tone, as a part of it: codecs, and Opus most of all, add some noise of their own.
const LEFT: f32 = 0.02;

/// `samples`, at 16 kHz: 32 ms.
pub(super) fn is_tone(samples: &[i16]) -> bool {
    // Sums over outer (x0 + x4), inner (x1 + x3) and middle (x2).
    let (mut oo, mut oi, mut om, mut ii, mut im, mut mm) = (0.0_f32, 0.0, 0.0, 0.0, 0.0, 0.0_f32);
    for window in samples.windows(4 * DISTANCE + 1) {
        let [Some(x0), Some(x1), Some(x2), Some(x3), Some(x4)] =
            [0, 1, 2, 3, 4].map(|n| window.get(n * DISTANCE).map(|sample| f32::from(*sample)))
        else {
            continue;
        };
        let (outer, inner) = (x0 + x4, x1 + x3);
        oo += outer * outer;
        oi += outer * inner;
        om += outer * x2;
        ii += inner * inner;
        im += inner * x2;
        mm += x2 * x2;
    }
    // The least squares; one sine alone has many solutions, of which a slight weight picks the smallest.
    let weight = 1e-4 * (ii + mm) + 1.0;
    let (ii_, mm_) = (ii + weight, mm + weight);
    let det = ii_ * mm_ - im * im;
    let (a, b) = ((oi * mm_ - om * im) / det, (om * ii_ - oi * im) / det);
    let left = oo + a * a * ii + b * b * mm - 2.0 * (a * oi + b * om - a * b * im);
    left <= LEFT * mm * (2.0 + 2.0 * a * a + b * b)
}
