//! The window that low-pass filters are made with (Kaiser and Schafer, 1980).

/// The window with parameter `beta` at `place`: 1 in the middle, at 0; the edges are at -1 and 1.
pub(crate) fn kaiser(beta: f64, place: f64) -> f64 {
    bessel_i0(beta * (1.0 - place * place).max(0.0).sqrt()) / bessel_i0(beta)
}

/// The modified Bessel function of the first kind and order 0, by its power series.
fn bessel_i0(x: f64) -> f64 {
    let (mut sum, mut term, mut k) = (1.0, 1.0, 1.0);
    while term > sum * 1e-17 {
        term *= (x / (2.0 * k)).powi(2);
        sum += term;
        k += 1.0;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bessel_function_has_its_tabulated_values() {
        // Abramowitz and Stegun, table 9.8.
        for (x, value) in [(0.0, 1.0), (1.0, 1.266_065_877_752_008_4), (5.0, 27.239_871_823_604_442)] {
            assert!((bessel_i0(x) / value - 1.0).abs() < 1e-14, "{x}");
        }
    }
}
