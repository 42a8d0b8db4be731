//! The parts of the hot path, each alone: what a decision, a record, a frame, a stored state, a body and a look-up cost.
//!
//! ```sh
//! cargo bench --bench micro                 # all
//! cargo bench --bench micro -- reserve      # those whose name contains it
//! ```
//!
//! No disk, no network, no task: the sum of these is the floor that the whole cannot go below.

#![allow(clippy::unwrap_used, reason = "what a benchmark is made of is known to be lawful")]

mod shop;

use divan::{Bencher, black_box};
use doorbuster_api::orders::{OrderBody, OrderView, ShownTo};
use doorbuster_api::reservations::{ReservationBody, ReservationView};
use doorbuster_domain::any::{Event, State};
use doorbuster_domain::entity::{By, Entity};
use doorbuster_domain::ids::{EntityId, RequestId, ReservationId, ReservationName};
use doorbuster_domain::order;
use doorbuster_domain::principal::{Account, Principal, Scope};
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::embedded::log::frame_in_memory;
use doorbuster_storage::wire::{self, Decided, Dirty, Meta};
use doorbuster_storage::{Layout, Record, Shard};

/// Live reservations of the SKU beside the one that is measured.
const LIVE: [u64; 3] = [0, 10_000, 100_000];

/// The allocator that the program is shipped with.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

/// An order's reservation: decided and taken in.
#[divan::bench(args = LIVE)]
fn reserve_decide_and_evolve(bencher: Bencher<'_, '_>, live: u64) {
    let mut stock = shop::stock(live);
    let mut number = live;
    bencher.bench_local(|| {
        number += 1;
        let decision = stock.decide(&shop::reserve(number), shop::NOW).unwrap();
        decision.events.iter().for_each(|event| stock.evolve(event));
        decision.reply
    });
}

/// A reservation without an order: decided and taken in.
#[divan::bench(args = LIVE)]
fn external_decide_and_evolve(bencher: Bencher<'_, '_>, live: u64) {
    let mut stock = shop::stock(live);
    let mut number = live;
    bencher.bench_local(|| {
        number += 1;
        let decision = stock.decide(&shop::reserve_external(number, 1), shop::NOW).unwrap();
        decision.events.iter().for_each(|event| stock.evolve(event));
        decision.reply
    });
}

/// 64 of them in one decision, as a batch brings them.
#[divan::bench(args = LIVE)]
fn external_64_decide_and_evolve(bencher: Bencher<'_, '_>, live: u64) {
    let mut stock = shop::stock(live);
    let mut number = live;
    bencher.counter(divan::counter::ItemsCount::new(64_u32)).bench_local(|| {
        number += 64;
        let decision = stock.decide(&shop::reserve_external(number, 64), shop::NOW).unwrap();
        decision.events.iter().for_each(|event| stock.evolve(event));
        decision.reply
    });
}

/// An order of one line is placed: decided and taken in.
#[divan::bench]
fn order_place_decide_and_evolve(bencher: Bencher<'_, '_>) {
    let place = shop::place(1);
    bencher.bench_local(|| {
        let mut order = order::Order::default();
        let decision = order.decide(black_box(&place), shop::NOW).unwrap();
        decision.events.iter().for_each(|event| order.evolve(event));
        order
    });
}

fn placed() -> Decided {
    let order = order::Order::default();
    let decision = order.decide(&shop::place(1), shop::NOW).unwrap();
    let events = decision.events.into_iter().map(Event::Order).collect();
    Decided { entity: shop::order_entity(1), number: 1, at: shop::NOW, by: By::Seller("sel_main".into()), events }
}

fn reserved_externally(count: u64) -> Decided {
    let stock = shop::stock(0);
    let decision = stock.decide(&shop::reserve_external(count, count), shop::NOW).unwrap();
    let events = decision.events.into_iter().map(Event::Inventory).collect();
    let number = stock.version() + 1;
    Decided { entity: shop::sku_entity(), number, at: shop::NOW, by: By::Seller("sel_main".into()), events }
}

#[divan::bench]
fn record_encode_placed(bencher: Bencher<'_, '_>) {
    let decided = placed();
    bencher.bench_local(|| wire::encode(black_box(&decided)));
}

#[divan::bench]
fn record_decode_placed(bencher: Bencher<'_, '_>) {
    let body = wire::encode(&placed());
    bencher.bench_local(|| wire::decode(black_box(&body)).unwrap());
}

#[divan::bench(args = [1, 64])]
fn record_encode_external(bencher: Bencher<'_, '_>, events: u64) {
    let decided = reserved_externally(events);
    bencher.bench_local(|| wire::encode(black_box(&decided)));
}

#[divan::bench(args = [1, 64])]
fn record_decode_external(bencher: Bencher<'_, '_>, events: u64) {
    let body = wire::encode(&reserved_externally(events));
    bencher.bench_local(|| wire::decode(black_box(&body)).unwrap());
}

/// The frame of the records of several orders, CRC included, into memory.
#[divan::bench(args = [1, 30, 256])]
fn frame_in_memory_of_records(bencher: Bencher<'_, '_>, records: u64) {
    let body = wire::encode(&placed());
    let record = |seq| Record { shard: Shard(1), epoch: 1, seq, events: 1, body: body.clone() };
    let records: Vec<Record> = (1..=records).map(record).collect();
    let bytes = u64::try_from(body.len()).unwrap() * u64::try_from(records.len()).unwrap();
    let mut out = Vec::new();
    bencher
        .counter(divan::counter::BytesCount::new(bytes))
        .bench_local(|| frame_in_memory(black_box(&records), &mut out));
}

/// An order's state as a checkpoint stores it, and back.
#[divan::bench]
fn order_state_to_rows(bencher: Bencher<'_, '_>) {
    let state = State::Order(Box::new(shop::held_order()));
    let mut dirty = Dirty::default();
    dirty.mark(wire::HEAD);
    bencher.bench_local(|| wire::rows_of(black_box(&state), &Meta::default(), &dirty));
}

#[divan::bench]
fn order_state_from_rows(bencher: Bencher<'_, '_>) {
    let state = State::Order(Box::new(shop::held_order()));
    let mut dirty = Dirty::default();
    dirty.mark(wire::HEAD);
    let rows = wire::rows_of(&state, &Meta::default(), &dirty);
    bencher.bench_local(|| wire::state_of(&shop::order_entity(1), black_box(&rows)).unwrap());
}

/// One changed chunk of a hot SKU, which holds 1/256 of its reservations.
#[divan::bench(args = LIVE)]
fn stock_chunk_to_rows(bencher: Bencher<'_, '_>, live: u64) {
    let state = State::Inventory(Box::new(shop::stock(live)));
    let mut dirty = Dirty::default();
    dirty.mark(7);
    bencher.bench_local(|| wire::rows_of(black_box(&state), &Meta::default(), &dirty));
}

#[divan::bench]
fn json_read_order(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| doorbuster_api::json::read::<OrderBody>(black_box(shop::ORDER_JSON)).unwrap());
}

#[divan::bench]
fn json_read_reservation(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| doorbuster_api::json::read::<ReservationBody>(black_box(shop::RESERVATION_JSON)).unwrap());
}

#[divan::bench]
fn json_write_order(bencher: Bencher<'_, '_>) {
    let order = shop::held_order();
    let who = Principal::Platform(Account { id: "sel_main".into(), scopes: Scope::ALL.into_iter().collect() });
    let shown = ShownTo { who: &who, ships: false, token: Some("ot_1") };
    bencher.bench_local(|| {
        let view = OrderView::new(black_box(&order), &Meta::default(), &shown, shop::NOW).unwrap();
        serde_json::to_vec(&view).unwrap()
    });
}

#[divan::bench]
fn json_write_reservation(bencher: Bencher<'_, '_>) {
    let stock = shop::stock(1);
    let (id, reservation) = stock.external_reservations().next().unwrap();
    let name = ReservationName { id, sku: Some(shop::sku()) };
    bencher.bench_local(|| {
        serde_json::to_vec(&ReservationView::of_external(&name, &shop::sku(), black_box(reservation))).unwrap()
    });
}

/// An order's id from caller, path and key; and a reservation's from caller and reference.
#[divan::bench]
fn id_of_request() -> RequestId {
    RequestId::new(black_box("seller:sel_main"), "/v1/orders", black_box("run-123456"))
}

#[divan::bench]
fn id_of_reference() -> ReservationId {
    ReservationId::of_reference(black_box("seller:sel_main"), black_box("run-123456"))
}

/// The router's look-up: the hash of an id, and the shard it belongs to.
#[divan::bench]
fn shard_of_order(bencher: Bencher<'_, '_>) {
    let layout = Layout { shards: 8, hash_version: 1 };
    let entity = shop::order_entity(1);
    bencher.bench_local(|| layout.shard_of(black_box(&entity)));
}

#[divan::bench]
fn shard_of_sku(bencher: Bencher<'_, '_>) {
    let layout = Layout { shards: 8, hash_version: 1 };
    let entity: EntityId = shop::sku_entity();
    bencher.bench_local(|| layout.shard_of(black_box(&entity)));
}

/// An instant as an answer shows it.
#[divan::bench]
fn instant_shown() -> String {
    doorbuster_api::view::At(black_box(Timestamp(1_764_547_200_007))).to_string()
}
