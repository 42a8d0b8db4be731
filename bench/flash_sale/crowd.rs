//! Who comes when, and what they want: decided before the sale, by the seed alone.

use super::options::JourneyKind;
use doorbuster_bench::number::{float, whole};

/// The whole crowd.
#[derive(Debug)]
pub(crate) struct Crowd {
    /// When each buyer means to send, in nanoseconds from the beginning; rising.
    pub(crate) arrivals: Vec<u64>,
    /// The SKUs, most wanted first.
    pub(crate) skus: Vec<String>,
    cumulative: Vec<f64>,
    tokens: Vec<(String, u64)>,
    journey: JourneyKind,
    seed: u64,
}

/// How far a buyer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aim {
    /// Only an order.
    Order,
    /// Product, cart, line, order.
    Journey,
    /// Only the product.
    Look,
}

/// One pseudo-random number per (seed, what for, buyer): `SplitMix64` (Steele, Lea, Flood 2014), so nothing needs to be stored.
fn mixed(seed: u64, purpose: u64, buyer: u64) -> u64 {
    let mut z = seed.wrapping_add(purpose.wrapping_mul(0x9e37_79b9_7f4a_7c15)).rotate_left(17) ^ buyer;
    for _ in 0..2 {
        z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
    }
    z
}

/// In `[0, 1)`.
fn unit(seed: u64, purpose: u64, buyer: u64) -> f64 {
    float(mixed(seed, purpose, buyer) >> 11) / float(1 << 53)
}

impl Crowd {
    /// `buyers` who arrive as a Poisson process of `rate` per second.
    pub(crate) fn new(
        (buyers, rate): (u64, f64),
        (skus, skew): (Vec<String>, f64),
        tokens: Vec<(String, u64)>,
        journey: JourneyKind,
        seed: u64,
    ) -> Self {
        let mut at = 0.0;
        let arrivals = (0..buyers)
            .map(|buyer| {
                // The gap between arrivals that come independently of each other is exponential.
                at += -(1.0 - unit(seed, 1, buyer)).ln() / rate;
                whole(at * 1e9)
            })
            .collect();
        let mut sum = 0.0;
        let mut rank = 0.0_f64;
        let cumulative = skus
            .iter()
            .map(|_sku| {
                rank += 1.0;
                sum += rank.powf(-skew);
                sum
            })
            .collect();
        Self { arrivals, skus, cumulative, tokens, journey, seed }
    }

    /// What the buyer wants.
    pub(crate) fn sku(&self, buyer: u64) -> &str {
        let total = self.cumulative.last().copied().unwrap_or(0.0);
        let point = unit(self.seed, 2, buyer) * total;
        let rank = self.cumulative.partition_point(|sum| *sum <= point);
        self.skus.get(rank).or(self.skus.last()).map_or("", String::as_str)
    }

    /// What the buyer pays with.
    pub(crate) fn token(&self, buyer: u64) -> Option<&str> {
        let total: u64 = self.tokens.iter().map(|(_, weight)| weight).sum();
        let mut point = mixed(self.seed, 3, buyer).checked_rem(total)?;
        for (token, weight) in &self.tokens {
            if point < *weight {
                return Some(token);
            }
            point -= weight;
        }
        None
    }

    /// How far the buyer goes.
    pub(crate) fn aim(&self, buyer: u64) -> Aim {
        match (self.journey, mixed(self.seed, 4, buyer) % 10) {
            (JourneyKind::Hot, _) | (JourneyKind::Mixed, 0..5) => Aim::Order,
            (JourneyKind::BrowseCartCheckout, _) | (JourneyKind::Mixed, 5..8) => Aim::Journey,
            (JourneyKind::Mixed, _) => Aim::Look,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(skew: f64, journey: JourneyKind) -> Crowd {
        let skus = (0..10).map(|n| format!("S{n}")).collect();
        let tokens = vec![("tok_ok".to_owned(), 3), ("tok_slow".to_owned(), 1)];
        Crowd::new((10_000, 1_000.0), (skus, skew), tokens, journey, 7)
    }

    #[test]
    fn the_same_seed_is_the_same_crowd() {
        let (one, two) = (crowd(1.0, JourneyKind::Mixed), crowd(1.0, JourneyKind::Mixed));
        assert_eq!(one.arrivals, two.arrivals);
        assert!((0..10_000).all(|buyer| one.sku(buyer) == two.sku(buyer) && one.token(buyer) == two.token(buyer)));
    }

    #[test]
    fn arrivals_rise_and_keep_the_rate() {
        let crowd = crowd(0.0, JourneyKind::Hot);
        assert!(crowd.arrivals.is_sorted());
        let seconds = float(*crowd.arrivals.last().unwrap()) / 1e9;
        assert!((9.5..10.5).contains(&seconds), "{seconds}");
    }

    #[test]
    fn skew_makes_the_first_sku_the_most_wanted() {
        let share = |crowd: &Crowd| (0..10_000).filter(|buyer| crowd.sku(*buyer) == "S0").count();
        assert!((800..1_200).contains(&share(&crowd(0.0, JourneyKind::Hot))));
        assert!(share(&crowd(1.2, JourneyKind::Hot)) > 3_500);
    }

    #[test]
    fn tokens_come_by_their_weights_and_journeys_by_their_shares() {
        let crowd = crowd(0.0, JourneyKind::Mixed);
        let slow = (0..10_000).filter(|buyer| crowd.token(*buyer) == Some("tok_slow")).count();
        let looks = (0..10_000).filter(|buyer| crowd.aim(*buyer) == Aim::Look).count();
        assert!((2_300..2_700).contains(&slow) && (1_800..2_200).contains(&looks), "{slow} {looks}");
    }
}
