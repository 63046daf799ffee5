//! Counts that nonces have been used with: RFC 7616 §5.5. Requests overtake each other, so a window of counts below the highest one is
//! remembered, not the highest alone.

use std::collections::{HashMap, VecDeque};

/// Nonces in use; one more pushes the oldest out, and what was made before that is stale from then on. 4 MB.
const MOST: usize = 65_536;
/// Counts so far below the highest one are used up.
const WINDOW: u32 = 64;

#[derive(Clone, Copy, Default)]
struct Window {
    highest: u32,
    /// Bit n: whether `highest - n` has been used.
    used: u64,
}

impl Window {
    fn take(&mut self, count: u32) -> bool {
        if count == 0 {
            return false;
        }
        if count > self.highest {
            let shift = count - self.highest;
            self.used = self.used.checked_shl(shift).unwrap_or(0) | 1;
            self.highest = count;
            return true;
        }
        let back = self.highest - count;
        if back >= WINDOW || self.used & (1 << back) != 0 {
            return false;
        }
        self.used |= 1 << back;
        true
    }
}

#[derive(Default)]
pub(super) struct Replays {
    windows: HashMap<u64, Window, foldhash::quality::RandomState>,
    /// In the order of their first use: when that was, the nonce, and when it was made.
    order: VecDeque<(u32, u64, u32)>,
    /// Nonces of this second and before that are not known are used up.
    floor: Option<u32>,
}

impl Replays {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.windows.len()
    }

    /// Uses a count of a nonce that is still good, as they are for `lifetime` seconds; `false`: it may have been used before.
    pub(super) fn take(&mut self, now: u32, lifetime: u32, nonce: u64, made: u32, count: u32) -> bool {
        while self.order.front().is_some_and(|(used, ..)| now.saturating_sub(*used) >= lifetime) {
            self.forget();
        }
        if let Some(window) = self.windows.get_mut(&nonce) {
            return window.take(count);
        }
        if self.floor.is_some_and(|floor| made <= floor) {
            return false;
        }
        let mut window = Window::default();
        if !window.take(count) {
            return false;
        }
        if self.windows.len() >= MOST
            && let Some((_, _, made)) = self.forget()
        {
            self.floor = self.floor.max(Some(made));
        }
        self.windows.insert(nonce, window);
        self.order.push_back((now, nonce, made));
        true
    }

    fn forget(&mut self) -> Option<(u32, u64, u32)> {
        let oldest = self.order.pop_front()?;
        self.windows.remove(&oldest.1);
        if self.windows.is_empty() && self.windows.capacity() > 1024 {
            self.windows = HashMap::default();
            self.order = VecDeque::new();
        }
        Some(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_passes_once_in_any_order() {
        let mut window = Window::default();
        let taken: Vec<bool> =
            [1, 1, 3, 2, 2, 3, 100, 37, 37, 36, 99, u32::MAX, u32::MAX, 100, u32::MAX - 63, u32::MAX - 64, 0]
                .into_iter()
                .map(|count| window.take(count))
                .collect();
        let (y, n) = (true, false);
        assert_eq!(taken, [y, n, y, y, n, n, y, y, n, n, y, y, n, n, y, n, n]);
    }

    #[test]
    fn a_flood_is_bounded_and_what_it_pushed_out_cannot_come_back() {
        let mut replays = Replays::default();
        for nonce in 0..MOST as u64 + 10 {
            assert!(replays.take(50, 300, nonce, if nonce < 20 { 10 } else { 20 }, 1));
        }
        assert_eq!(replays.len(), MOST);
        for nonce in 0..20 {
            assert!(!replays.take(50, 300, nonce, 10, 1), "{nonce}");
        }
        assert!(replays.take(50, 300, 20, 20, 2));
        assert!(!replays.take(50, 300, 1 << 40, 10, 1), "made before: it may have been pushed out");
        assert!(replays.take(50, 300, 1 << 41, 20, 1));
        // All of it ends with the nonces.
        assert!(replays.take(350, 300, 7, 349, 1));
        assert_eq!(replays.len(), 1);
    }
}
