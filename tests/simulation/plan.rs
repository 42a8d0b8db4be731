//! What a seed means: how large its world is, and everything that will go wrong in it.

use doorbuster_actors::settings::Settings;
use doorbuster_simulator::{Behaviour, WebhookBehaviour};
use doorbuster_storage::memory::{Fault, Faults, Groups};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::time::Duration;

/// One world.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) shards: u16,
    pub(crate) groups: Groups,
    pub(crate) skus: usize,
    pub(crate) warehouses: usize,
    /// Units of each SKU in each warehouse at the beginning, at most.
    pub(crate) stock_max: u32,
    pub(crate) clients: u64,
    /// Shoppers who come through the API's filter; the clients ask the actors.
    pub(crate) shoppers: u64,
    /// Shops with a checkout of their own.
    pub(crate) reservers: u64,
    /// What one client does, at most.
    pub(crate) actions_max: usize,
    /// Pauses between actions, at most.
    pub(crate) think_max_ms: u64,
    /// Seconds an order may hold stock.
    pub(crate) hold_s: u64,
    pub(crate) settings: Settings,
    pub(crate) behaviour: Behaviour,
    pub(crate) faults: Faults,
    /// Things that go wrong, by when, in ms after the opening.
    pub(crate) chaos: Vec<(u64, Mishap)>,
    /// Chances in a hundred that a start is cut off before it is done.
    pub(crate) cut_starts: u32,
}

/// Something that goes wrong at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// The process dies.
    Crash,
    /// The process is stopped in good order, and started again.
    Stop,
    /// An entity's actor panics, this many times.
    Panic(u32),
    /// A message of one kind of step is lost on its way, this many times.
    Lose(&'static str, u32),
    /// The clock jumps, in ms.
    Jump(i64),
    /// The provider answers nothing but errors, for this many ms.
    Outage(u64),
    /// Another owner claims a shard.
    Fence,
    /// From now on an append takes this many ms longer.
    SlowDisk(u64),
    /// From now on each message to an entity of one shard takes this many ms longer.
    SlowShard(u64),
}

/// The generator's stream for loads that take their time.
const LOADS: u64 = 9;
/// The generator's stream for what reservers bring about.
const RESERVERS: u64 = 7;
/// The generator's stream for shards that are slow.
const SLOW_SHARDS: u64 = 11;
/// Their steps whose messages may be lost.
const RESERVERS_STEPS: [&str; 3] = ["promise", "end_promise", "ask_reservation"];
/// Steps whose messages may be lost.
const STEPS: [&str; 17] = [
    "freeze",
    "thaw",
    "close",
    "reserve",
    "commit",
    "release",
    "forget",
    "forget_moves",
    "ship",
    "return",
    "offer",
    "ask_order",
    "authorize",
    "capture",
    "query",
    "cancel_call",
    "unship",
];

impl Plan {
    /// The world of a seed.
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = rng_of(seed, 0);
        let rng = &mut rng;
        // A fifth of all worlds is calm: nothing but shoppers, so that what they alone bring about is found there first.
        let calm = rng.random_ratio(1, 5);
        let chaos_ms: u64 = rng.random_range(4_000..14_000);
        let behaviour = behaviour(rng, calm);
        let settings = settings(rng);
        let faults = if calm { Faults::default() } else { with_slow_loads(seed, faults(rng)) };
        Self {
            seed,
            shards: rng.random_range(1..=4),
            groups: if rng.random_bool(0.5) { Groups::One } else { Groups::PerShard },
            skus: rng.random_range(1..=3),
            warehouses: rng.random_range(1..=3),
            stock_max: rng.random_range(1..=10),
            clients: rng.random_range(5..=12),
            shoppers: if rng.random_ratio(1, 8) { rng.random_range(2..=5) } else { 0 },
            reservers: rng_of(seed, RESERVERS).random_range(0..=2),
            actions_max: rng.random_range(3..=6),
            think_max_ms: rng.random_range(50..2_000),
            hold_s: rng.random_range(3..=15),
            settings,
            behaviour,
            faults,
            chaos: if calm {
                Vec::new()
            } else {
                with_slow_shards(seed, chaos_ms, with_lost_reservations(seed, chaos_ms, chaos(rng, chaos_ms)))
            },
            cut_starts: if rng.random_bool(0.5) { 40 } else { 0 },
        }
    }
}

impl Plan {
    /// A longer sale in which nothing goes wrong but what shoppers bring about, in many small batches.
    pub(crate) fn busy(seed: u64) -> Self {
        let rng = &mut rng_of(seed, 0);
        Self {
            seed,
            shards: 3,
            groups: Groups::One,
            skus: 3,
            warehouses: 2,
            stock_max: 15,
            clients: 16,
            shoppers: 0,
            reservers: 0,
            actions_max: 6,
            think_max_ms: 600,
            hold_s: 5,
            settings: Settings { batch_records_max: 4, checkpoint_interval_ms: 3_000, ..settings(rng) },
            behaviour: behaviour(rng, true),
            faults: Faults { append_takes: (Duration::ZERO, Duration::from_millis(2)), ..Faults::default() },
            chaos: Vec::new(),
            cut_starts: 0,
        }
    }
}

/// Dice of a seed: each stream is a sequence of its own, so that one client's throws do not depend on another's.
pub(crate) fn rng_of(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

fn settings(rng: &mut ChaCha8Rng) -> Settings {
    Settings {
        writer_thread: false,
        tick_ms: rng.random_range(100..300),
        idle_ms: rng.random_range(200..3_000),
        effect_retry_min_ms: rng.random_range(150..600),
        effect_retry_max_ms: 2_000,
        restart_delay_min_ms: 50,
        restart_delay_max_ms: 1_000,
        checkpoint_interval_ms: if rng.random_bool(0.3) { 60_000 } else { rng.random_range(200..4_000) },
        checkpoint_bytes: if rng.random_bool(0.3) { rng.random_range(1_000..20_000) } else { 8 << 20 },
        provider_timeout_ms: rng.random_range(300..1_500),
        batch_records_max: if rng.random_bool(0.2) { rng.random_range(1..4) } else { 512 },
        residents_per_shard_max: if rng.random_bool(0.2) { 2 } else { 1_000 },
        ..Settings::default()
    }
}

/// What goes wrong with a real provider, more often and faster.
fn behaviour(rng: &mut ChaCha8Rng, calm: bool) -> Behaviour {
    let often = |share: u32| if calm { share / 10 } else { share };
    Behaviour {
        latency_p50_ms: rng.random_range(0..60),
        stall_ppm: often(20_000),
        stall_ms: 2_500,
        too_many_ppm: often(40_000),
        timeout_before_ppm: often(40_000),
        timeout_after_ppm: often(40_000),
        error_after_ppm: often(30_000),
        error_before_ppm: often(30_000),
        decline_soft_ppm: 60_000,
        decline_hard_ppm: 40_000,
        processing_ppm: 50_000,
        follow_up_soft_ppm: often(30_000),
        follow_up_hard_ppm: if rng.random_ratio(1, 10) { 100_000 } else { 0 },
        other_amount_ppm: often(20_000),
        other_reference_ppm: often(20_000),
        slow_ms: 2_000,
        processing_ms: 600,
        action_s: 10,
        webhooks: WebhookBehaviour {
            every_outcome: rng.random_bool(0.7),
            copies_max: 3,
            late_ms: 500,
            very_late_ppm: 100_000,
            lost_ppm: 100_000,
        },
        ..Behaviour::REALISTIC
    }
}

fn faults(rng: &mut ChaCha8Rng) -> Faults {
    let mut appends = BTreeMap::new();
    if rng.random_bool(0.5) {
        for _ in 0..rng.random_range(1..=3) {
            let fault = if rng.random_bool(0.8) { Fault::Fail { written: rng.random_bool(0.5) } } else { Fault::Hang };
            appends.insert(rng.random_range(1..250), fault);
        }
    }
    let mut checkpoints = BTreeMap::new();
    if rng.random_bool(0.2) {
        let fault = if rng.random_bool(0.7) { Fault::Fail { written: rng.random_bool(0.5) } } else { Fault::Hang };
        checkpoints.insert(rng.random_range(1..20), fault);
    }
    let mut append_stalls = BTreeMap::new();
    if rng.random_bool(0.3) {
        append_stalls.insert(rng.random_range(1..200), Duration::from_millis(rng.random_range(100..3_000)));
    }
    let slowest = if rng.random_bool(0.5) { 4 } else { 60 };
    Faults {
        appends,
        checkpoints,
        append_takes: (Duration::ZERO, Duration::from_millis(rng.random_range(0..slowest))),
        append_stalls,
        checkpoint_takes: Duration::from_millis(rng.random_range(0..200)),
        load_stalls: BTreeMap::new(),
    }
}

fn with_slow_loads(seed: u64, faults: Faults) -> Faults {
    let rng = &mut rng_of(seed, LOADS);
    let slow = |rng: &mut ChaCha8Rng| (rng.random_range(1..300), Duration::from_millis(rng.random_range(5..600)));
    let load_stalls = (0..rng.random_range(0..=30)).map(|_| slow(rng)).collect();
    Faults { load_stalls, ..faults }
}

fn with_lost_reservations(seed: u64, chaos_ms: u64, mut chaos: Vec<(u64, Mishap)>) -> Vec<(u64, Mishap)> {
    let rng = &mut rng_of(seed, RESERVERS + 1);
    for _ in 0..rng.random_range(0..=3) {
        let step = RESERVERS_STEPS[rng.random_range(0..RESERVERS_STEPS.len())];
        chaos.push((rng.random_range(0..chaos_ms), Mishap::Lose(step, rng.random_range(1..=5))));
    }
    chaos.sort_by_key(|(at, _)| *at);
    chaos
}

fn with_slow_shards(seed: u64, chaos_ms: u64, mut chaos: Vec<(u64, Mishap)>) -> Vec<(u64, Mishap)> {
    let rng = &mut rng_of(seed, SLOW_SHARDS);
    if rng.random_bool(0.25) {
        chaos.push((rng.random_range(0..chaos_ms), Mishap::SlowShard(rng.random_range(100..2_000))));
        chaos.sort_by_key(|(at, _)| *at);
    }
    chaos
}

fn chaos(rng: &mut ChaCha8Rng, chaos_ms: u64) -> Vec<(u64, Mishap)> {
    let mut chaos = Vec::new();
    for _ in 0..rng.random_range(0..=4) {
        chaos.push((rng.random_range(0..chaos_ms), Mishap::Crash));
    }
    if rng.random_bool(0.3) {
        chaos.push((rng.random_range(0..chaos_ms), Mishap::Stop));
    }
    for _ in 0..rng.random_range(0..=4) {
        let times = if rng.random_bool(0.8) { 1 } else { rng.random_range(2..=7) };
        chaos.push((rng.random_range(0..chaos_ms), Mishap::Panic(times)));
    }
    for _ in 0..rng.random_range(0..=3) {
        let step = STEPS[rng.random_range(0..STEPS.len())];
        chaos.push((rng.random_range(0..chaos_ms), Mishap::Lose(step, rng.random_range(1..=5))));
    }
    if rng.random_bool(0.25) {
        for _ in 0..rng.random_range(1..=3) {
            chaos.push((rng.random_range(0..chaos_ms), Mishap::Jump(rng.random_range(-3_600_000..=3_600_000))));
        }
    }
    if rng.random_bool(0.3) {
        chaos.push((rng.random_range(0..chaos_ms), Mishap::Outage(rng.random_range(500..4_000))));
    }
    if rng.random_bool(0.2) {
        chaos.push((rng.random_range(0..chaos_ms), Mishap::Fence));
    }
    if rng.random_bool(0.2) {
        chaos.push((rng.random_range(0..chaos_ms), Mishap::SlowDisk(rng.random_range(1..300))));
    }
    chaos.sort_by_key(|(at, _)| *at);
    chaos
}
