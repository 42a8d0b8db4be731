//! A small drop: people, rooms, SKUs, orders, and messages between them that come late, twice, in any order, or never.

use super::room::{Answer, Offer, Raised, Room, Status};
use super::shop::{Order, Shelf, Step};
use super::{Law, Rule};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};

const STEPS: u32 = 800;
/// Rounds in which everything arrives, after the random part.
const CALM_ROUNDS: u32 = 60;
const PRINCIPALS: u8 = 12;
/// People called by one raise.
const RATE: usize = 3;
const ORDERS_MAX: usize = 40;
const MESSAGES_MAX: usize = 24;

/// A law that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) law: Law,
    why: String,
}

#[derive(Debug, Clone)]
enum Message {
    Join { principal: u8, draw: u32, units: u32 },
    Close { room: usize, window: u8 },
    Closed { room: usize, windows: u8 },
    Ask { room: usize, attempt: u32, raised: Raised },
    Answer { room: usize, attempt: u32, answer: Answer },
    AskSupply { sku: usize, attempt: u32 },
    Supply { sku: usize, attempt: u32, supply: u32, committed: u32 },
    Call { room: usize, raised: Raised },
    ToPlace { order: usize, step: Step },
    FromPlace { order: usize, step: Step, is_yes: bool },
    ToShelf { sku: usize, order: usize, step: Step },
    FromShelf { sku: usize, order: usize, step: Step, is_yes: bool },
}

/// A round of the drop. It is in memory only.
#[derive(Debug, Default)]
struct Round {
    attempt: u32,
    answers: BTreeMap<usize, Answer>,
    /// Supply and units committed, as read.
    supply: BTreeMap<usize, (u32, u32)>,
}

pub(crate) struct World {
    random: ChaCha8Rng,
    without: Option<Rule>,
    factor_percent: u32,
    is_written_off: bool,
    rooms: Vec<Room>,
    shelves: Vec<Shelf>,
    orders: Vec<Order>,
    messages: Vec<Message>,
    raised: Raised,
    /// Room and place of those whom the last raise lets in.
    counted: BTreeSet<(usize, usize)>,
    closing: u8,
    closed: Vec<u8>,
    round: Round,
    pub(crate) seen: BTreeSet<&'static str>,
}

impl World {
    pub(crate) fn new(seed: u64, without: Option<Rule>) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let rooms = random.random_range(1..=3);
        let skus = random.random_range(1..=2);
        let allotment = random.random_range(2..=10);
        let factor_percent = if random.random_bool(0.7) { 100 } else { 150 };
        Self {
            without,
            factor_percent,
            is_written_off: false,
            rooms: vec![Room::default(); rooms],
            shelves: vec![Shelf { allotment, ..Shelf::default() }; skus],
            orders: Vec::new(),
            messages: Vec::new(),
            raised: Raised::default(),
            counted: BTreeSet::new(),
            closing: 0,
            closed: vec![0; rooms],
            round: Round::default(),
            seen: BTreeSet::new(),
            random,
        }
    }

    pub(crate) fn run(&mut self) -> Result<(), Broken> {
        for _ in 0..STEPS {
            self.step()?;
            self.check_order()?;
        }
        for round in 0..CALM_ROUNDS {
            self.calm_round(round)?;
            self.check_order()?;
        }
        self.check_never_stuck()
    }

    fn step(&mut self) -> Result<(), Broken> {
        match self.random.random_range(0..100) {
            0..62 => self.deliver_any()?,
            62..66 => {
                let (principal, draw, units) =
                    (self.random.random_range(0..PRINCIPALS), self.random.random(), self.random.random_range(1..=2));
                self.send(Message::Join { principal, draw, units });
            }
            66..70 => self.drop_acts(self.closing < 4),
            70..80 => self.nudge_any(),
            80..86 => {
                if let Some((room, place)) = self.any_place() {
                    self.begin_order(room, place);
                }
            }
            86..94 => {
                let is_present = self.random.random_bool(0.6);
                if let Some((room, place)) = self.any_place() {
                    self.rooms[room].seen(place, is_present);
                }
            }
            94..95 => {
                if let Some((room, place)) = self.any_place() {
                    self.rooms[room].deadline(place);
                }
            }
            95..96 => self.begin_order_past_the_room(),
            96..97 => {
                let room = self.random.random_range(0..self.rooms.len());
                self.rooms[room].crash();
            }
            97..98 => self.drop_crashes(),
            _ => self.write_off(),
        }
        Ok(())
    }

    /// Everything arrives, everybody who is called and present buys, and who is absent stays away.
    fn calm_round(&mut self, round: u32) -> Result<(), Broken> {
        self.drop_acts(round < 10);
        for order in 0..self.orders.len() {
            self.nudge(order, true);
        }
        for room in 0..self.rooms.len() {
            for index in 0..self.rooms[room].places.len() {
                let place = &self.rooms[room].places[index];
                let is_called = place.status == Status::Called;
                if is_called && place.is_present && !place.is_late && self.orders.len() < 2 * ORDERS_MAX {
                    self.order(Some((room, index)), place.units);
                } else if is_called {
                    self.rooms[room].deadline(index);
                }
            }
        }
        for message in std::mem::take(&mut self.messages) {
            self.deliver(message)?;
        }
        Ok(())
    }

    fn send(&mut self, message: Message) {
        if self.messages.len() < MESSAGES_MAX {
            self.messages.push(message);
        }
    }

    fn deliver_any(&mut self) -> Result<(), Broken> {
        if self.messages.is_empty() {
            return Ok(());
        }
        let index = self.random.random_range(0..self.messages.len());
        match self.random.random_range(0..10) {
            0 => {
                self.messages.swap_remove(index); // lost
                Ok(())
            }
            1 | 2 => self.deliver(self.messages[index].clone()), // and once more later
            _ => {
                let message = self.messages.swap_remove(index);
                self.deliver(message)
            }
        }
    }

    fn deliver(&mut self, message: Message) -> Result<(), Broken> {
        match message {
            Message::Join { principal, draw, units } => {
                let room = usize::from(principal) % self.rooms.len();
                if self.rooms[room].join(principal, draw, units, self.without) {
                    self.seen.insert("a repeated join");
                }
                self.check_one_place(room)?;
            }
            Message::Close { room, window } => {
                self.rooms[room].close(window);
                self.send(Message::Closed { room, windows: self.rooms[room].closed });
            }
            Message::Closed { room, windows } => self.closed[room] = self.closed[room].max(windows),
            Message::Ask { room, attempt, raised } => {
                if self.without != Some(Rule::CallBeforeAnswer) {
                    self.room_calls(room, &raised)?;
                }
                if let Some(answer) = self.rooms[room].answer(attempt, &raised, self.without) {
                    self.send(Message::Answer { room, attempt, answer });
                }
            }
            Message::Answer { room, attempt, answer } => {
                if self.is_of_this_attempt(attempt) {
                    self.round.answers.entry(room).or_insert(answer);
                    self.go_on()?;
                }
            }
            Message::AskSupply { sku, attempt } => {
                let (supply, committed) = (self.shelves[sku].supply(), self.shelves[sku].committed);
                self.send(Message::Supply { sku, attempt, supply, committed });
            }
            Message::Supply { sku, attempt, supply, committed } => {
                if self.is_of_this_attempt(attempt) {
                    self.round.supply.entry(sku).or_insert((supply, committed));
                    self.go_on()?;
                }
            }
            Message::Call { room, raised } => self.room_calls(room, &raised)?,
            Message::ToPlace { order, step } => self.at_the_place(order, step),
            Message::FromPlace { order, step, is_yes } => self.place_answered(order, step, is_yes),
            Message::ToShelf { sku, order, step } => self.at_the_shelf(sku, order, step),
            Message::FromShelf { sku, order, step, is_yes } => self.shelf_answered(sku, order, step, is_yes)?,
        }
        Ok(())
    }

    fn room_calls(&mut self, room: usize, raised: &Raised) -> Result<(), Broken> {
        let called = |room: &Room| -> BTreeSet<usize> {
            let places = room.places.iter().enumerate();
            places.filter(|(_, place)| place.status == Status::Called).map(|(index, _)| index).collect()
        };
        let before = called(&self.rooms[room]);
        let seen = self.rooms[room].call(raised, self.without);
        self.seen.extend(seen);
        let mut new = called(&self.rooms[room]).into_iter().filter(|index| !before.contains(index));
        match new.find(|index| !self.counted.contains(&(room, *index))) {
            Some(index) => {
                let why = format!("raise {}: room {room} calls place {index}", raised.n);
                Err(Broken { law: Law::Counted, why })
            }
            None => Ok(()),
        }
    }

    // The drop.

    fn is_of_this_attempt(&mut self, attempt: u32) -> bool {
        if attempt != self.round.attempt {
            self.seen.insert("an answer of an earlier attempt");
        }
        attempt == self.round.attempt || self.without == Some(Rule::FreshAnswers)
    }

    fn drop_crashes(&mut self) {
        if !self.round.answers.is_empty() {
            self.seen.insert("the drop crashes in a round");
        }
        self.next_attempt();
    }

    fn next_attempt(&mut self) {
        self.round = Round { attempt: self.round.attempt + 1, ..Round::default() };
    }

    /// Its timer: closes a window, tells the rooms what it raised, and goes on with its round.
    fn drop_acts(&mut self, may_close: bool) {
        if may_close && self.closed.iter().all(|closed| *closed == self.closing) {
            self.closing += 1;
        }
        if self.round.attempt == 0 {
            self.next_attempt();
        }
        let (attempt, raised) = (self.round.attempt, self.raised);
        for room in 0..self.rooms.len() {
            if self.closed[room] < self.closing {
                self.send(Message::Close { room, window: self.closing - 1 });
            }
            if !self.round.answers.contains_key(&room) {
                self.send(Message::Call { room, raised });
                self.send(Message::Ask { room, attempt, raised });
            }
        }
        if self.all_rooms_answered() || self.without == Some(Rule::RoomsBeforeSkus) {
            for sku in 0..self.shelves.len() {
                self.send(Message::AskSupply { sku, attempt });
            }
        }
    }

    fn all_rooms_answered(&self) -> bool {
        let is_enough = self.without == Some(Rule::WholeRound) && !self.round.answers.is_empty();
        is_enough || self.round.answers.len() == self.rooms.len()
    }

    fn go_on(&mut self) -> Result<(), Broken> {
        if !self.all_rooms_answered() || self.round.supply.len() < self.shelves.len() {
            return Ok(());
        }
        let supply = self.round.supply.values().map(|(supply, _)| *supply).min().unwrap_or(0);
        let mut demand: u32 = self.round.answers.values().map(|answer| answer.demand).sum();
        let mut next = Raised { n: self.raised.n + 1, threshold: self.raised.threshold, returners: None };
        let mut is_raise = false;
        for offer in self.offers().into_iter().take(RATE) {
            let is_too_many = (demand + offer.units) * 100 > self.factor_percent * supply;
            if is_too_many || !offer.is_present {
                break;
            }
            is_raise = true;
            demand += offer.units;
            let upto = if offer.is_returner { &mut next.returners } else { &mut next.threshold };
            *upto = Some(offer.rank);
        }
        if is_raise {
            self.seen.insert("a raise");
            self.raised = next;
            self.counted = self.due();
            self.check_demand()?;
        }
        self.next_attempt();
        Ok(())
    }

    fn due(&self) -> BTreeSet<(usize, usize)> {
        let rooms = self.rooms.iter().enumerate();
        rooms
            .flat_map(|(room, the)| the.places.iter().enumerate().map(move |(index, place)| (room, index, place)))
            .filter(|(_, _, place)| place.is_due(&self.raised))
            .map(|(room, index, _)| (room, index))
            .collect()
    }

    /// Who may be called next: who came back first, then by rank, up to the rank that every room has told of.
    fn offers(&self) -> Vec<Offer> {
        let answers = || self.round.answers.values();
        let closed = answers().map(|answer| answer.closed).min().unwrap_or(0);
        let upto = answers().filter_map(|answer| answer.upto).min();
        let mut offers: Vec<Offer> = answers()
            .flat_map(|answer| answer.offers.iter().copied())
            .filter(|offer| offer.is_returner || upto.is_none_or(|upto| offer.rank <= upto))
            .filter(|offer| self.without == Some(Rule::ClosedEverywhere) || offer.rank.0 < closed)
            .collect();
        offers.sort_by_key(|offer| (!offer.is_returner, offer.rank));
        offers
    }

    // People and their orders.

    fn any_place(&mut self) -> Option<(usize, usize)> {
        let room = self.random.random_range(0..self.rooms.len());
        let places = self.rooms[room].places.len();
        (places > 0).then(|| (room, self.random.random_range(0..places)))
    }

    fn order(&mut self, place: Option<(usize, usize)>, units: u32) {
        let step = if place.is_some() { Step::Claim } else { Step::Reserve };
        self.orders.push(Order { place, units, step, answered: BTreeSet::new(), is_refused: false });
    }

    fn begin_order(&mut self, room: usize, index: usize) {
        let place = &self.rooms[room].places[index];
        if place.is_let_in() && self.orders.len() < ORDERS_MAX {
            if !place.ended.is_empty() && place.status == Status::Called {
                self.seen.insert("an admission is given back and used again");
            }
            self.order(Some((room, index)), place.units);
        }
    }

    fn begin_order_past_the_room(&mut self) {
        if self.orders.len() < ORDERS_MAX {
            self.order(None, 1);
        }
    }

    fn write_off(&mut self) {
        if self.random.random_bool(0.2) {
            let sku = self.random.random_range(0..self.shelves.len());
            if self.shelves[sku].write_off() {
                self.is_written_off = true;
                self.seen.insert("units are written off");
            }
        }
    }

    fn nudge_any(&mut self) {
        if !self.orders.is_empty() {
            let order = self.random.random_range(0..self.orders.len());
            let is_paid = self.random.random_bool(0.6);
            self.nudge(order, is_paid);
        }
    }

    /// Sends what the order's step needs, again.
    fn nudge(&mut self, order: usize, is_paid: bool) {
        let the = &mut self.orders[order];
        let skus = self.shelves.len();
        if the.step == Step::Reserve && the.answered.len() == skus {
            let is_sold = is_paid && !the.is_refused;
            the.answered.clear();
            let is_place_first = self.without == Some(Rule::StockFirst);
            the.step = if is_place_first { Step::EndPlace { is_sold } } else { Step::EndStock { is_sold } };
        }
        let step = the.step;
        match step {
            Step::Claim | Step::EndPlace { .. } => self.send(Message::ToPlace { order, step }),
            Step::Reserve | Step::EndStock { .. } => {
                for sku in 0..skus {
                    self.send(Message::ToShelf { sku, order, step });
                }
            }
            Step::Done => {}
        }
    }

    fn at_the_place(&mut self, order: usize, step: Step) {
        let Some((room, index)) = self.orders[order].place else {
            self.send(Message::FromPlace { order, step, is_yes: true });
            return;
        };
        let is_yes = match step {
            Step::Claim => self.rooms[room].claim(index, order, self.without),
            Step::EndPlace { is_sold } => {
                if self.rooms[room].places[index].is_late && !is_sold {
                    self.seen.insert("an order ends after its deadline");
                }
                self.rooms[room].end(index, order, is_sold);
                true
            }
            Step::Reserve | Step::EndStock { .. } | Step::Done => false,
        };
        self.send(Message::FromPlace { order, step, is_yes });
    }

    fn place_answered(&mut self, order: usize, step: Step, is_yes: bool) {
        let the = &mut self.orders[order];
        if the.step != step {
            return;
        }
        let is_stock_left = self.without == Some(Rule::StockFirst);
        the.step = match step {
            Step::Claim if is_yes => Step::Reserve,
            Step::EndPlace { is_sold } if is_stock_left => Step::EndStock { is_sold },
            Step::Claim | Step::EndPlace { .. } | Step::Reserve | Step::EndStock { .. } | Step::Done => Step::Done,
        };
    }

    fn at_the_shelf(&mut self, sku: usize, order: usize, step: Step) {
        let the = &self.orders[order];
        let is_yes = match step {
            Step::Reserve if the.place.is_none() && self.without != Some(Rule::PlaceHolders) => false,
            Step::Reserve => match self.shelves[sku].reserve(order, the.units) {
                Some(is_yes) => is_yes,
                None => return, // the order is past this step
            },
            Step::EndStock { is_sold } => {
                self.shelves[sku].end(order, is_sold);
                true
            }
            Step::Claim | Step::EndPlace { .. } | Step::Done => return,
        };
        self.send(Message::FromShelf { sku, order, step, is_yes });
    }

    fn shelf_answered(&mut self, sku: usize, order: usize, step: Step, is_yes: bool) -> Result<(), Broken> {
        let is_promised = self.factor_percent == 100 && !self.is_written_off;
        let (skus, is_place_done) = (self.shelves.len(), self.without == Some(Rule::StockFirst));
        let the = &mut self.orders[order];
        if the.step != step {
            return Ok(());
        }
        if step == Step::Reserve && !is_yes {
            if is_promised && the.place.is_some() {
                let why = format!("order {order} was let in and SKU {sku} has nothing for it");
                return Err(Broken { law: Law::NobodyInVain, why });
            }
            the.is_refused = true;
        }
        the.answered.insert(sku);
        if let Step::EndStock { is_sold } = step
            && the.answered.len() == skus
        {
            the.step = if is_place_done { Step::Done } else { Step::EndPlace { is_sold } };
            if is_sold && skus > 1 {
                self.seen.insert("an order of two SKUs is committed");
            }
        }
        if self.shelves.iter().all(|shelf| shelf.supply() == 0) {
            self.seen.insert("all units are sold");
        }
        Ok(())
    }

    // The laws.

    /// Looks at the truth, not at what the drop was told: what may still be taken at each SKU, and what was since it was read.
    fn check_demand(&self) -> Result<(), Broken> {
        for (sku, shelf) in self.shelves.iter().enumerate() {
            let mut holders = BTreeSet::new();
            let mut need = 0;
            for place in self.rooms.iter().flat_map(|room| &room.places) {
                let is_sold = place.order.is_some_and(|order| shelf.sold.contains(&order));
                if (place.is_let_in() || place.is_due(&self.raised)) && !is_sold {
                    need += place.units;
                    holders.extend(place.order.filter(|_| place.is_let_in()));
                }
            }
            // Held by an order whose place no longer says so.
            need +=
                shelf.held.iter().filter(|(order, _)| !holders.contains(order)).map(|(_, units)| units).sum::<u32>();
            let (supply, committed) = self.round.supply[&sku];
            let since = shelf.committed - committed;
            if (need + since) * 100 > self.factor_percent * supply {
                let why = format!(
                    "raise {}: {need} may be taken of SKU {sku}, {since} were since {supply} were read",
                    self.raised.n
                );
                return Err(Broken { law: Law::Demand, why });
            }
        }
        Ok(())
    }

    fn check_order(&self) -> Result<(), Broken> {
        for room in &self.rooms {
            let passed = room.places.iter().find(|place| {
                place.status == Status::Waiting
                    && place.passes == 0
                    && place.rank.0 < room.closed
                    && room.called.threshold.is_some_and(|threshold| place.rank <= threshold)
            });
            if let Some(place) = passed {
                let why = format!("{:?} waits below {:?}", place.rank, room.called.threshold);
                return Err(Broken { law: Law::Order, why });
            }
        }
        Ok(())
    }

    fn check_one_place(&self, room: usize) -> Result<(), Broken> {
        let places = &self.rooms[room].places;
        let principals: BTreeSet<u8> = places.iter().map(|place| place.principal).collect();
        if principals.len() < places.len() {
            return Err(Broken { law: Law::OnePlace, why: format!("{} places of {}", places.len(), principals.len()) });
        }
        Ok(())
    }

    fn check_never_stuck(&self) -> Result<(), Broken> {
        let places = || self.rooms.iter().flat_map(|room| &room.places);
        let demand: u32 = places().filter(|place| place.is_let_in()).map(|place| place.units).sum();
        let supply = self.shelves.iter().map(Shelf::supply).min().unwrap_or(0);
        let next = places()
            .filter(|place| place.status == Status::Waiting && place.is_present)
            .min_by_key(|place| (place.passes == 0, place.rank));
        match next {
            Some(next) if (demand + next.units) * 100 <= self.factor_percent * supply => {
                let why = format!("{:?} waits, {demand} of {supply} are asked for", next.rank);
                Err(Broken { law: Law::NeverStuck, why })
            }
            _ => Ok(()),
        }
    }
}
