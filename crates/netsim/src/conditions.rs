use std::time::Duration;

/// What a path does to packets. Probabilities are from 0.0 to 1.0, each decided for each packet on its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conditions {
    /// Never delivered.
    pub loss: f64,
    /// Delivered twice, each copy with a delay of its own.
    pub duplication: f64,
    /// Held back by `held_back` beyond its delay, so that later packets overtake it.
    pub reordering: f64,
    pub held_back: Duration,
    /// The least time under way.
    pub delay: Duration,
    /// The delay grows by a random part of this.
    pub jitter: Duration,
}

impl Conditions {
    /// Instant, whole, in order.
    pub const PERFECT: Conditions = Conditions {
        loss: 0.0,
        duplication: 0.0,
        reordering: 0.0,
        held_back: Duration::ZERO,
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
    };

    /// A quiet local network: 1 ms, nothing lost.
    pub const LAN: Conditions = Conditions { delay: Duration::from_millis(1), ..Conditions::PERFECT };

    /// Nothing arrives.
    pub const CUT: Conditions = Conditions { loss: 1.0, ..Conditions::PERFECT };

    pub const fn with_loss(self, loss: f64) -> Self {
        Conditions { loss, ..self }
    }

    pub const fn with_duplication(self, duplication: f64) -> Self {
        Conditions { duplication, ..self }
    }

    pub const fn with_reordering(self, reordering: f64, held_back: Duration) -> Self {
        Conditions { reordering, held_back, ..self }
    }

    pub const fn with_delay(self, delay: Duration, jitter: Duration) -> Self {
        Conditions { delay, jitter, ..self }
    }
}

impl Default for Conditions {
    fn default() -> Self {
        Conditions::LAN
    }
}
