//! Servers that are wrong in one way each, so that the checker can be seen to find it.

use crate::check::{Answer, Op};
use crate::shop::{Heard, Shop};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// Numbers of orders that no client gave.
const FORGED: u64 = 1 << 40;

/// What is wrong with the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// Nothing.
    Nothing,
    /// Some reads are answered from a copy that was true a moment ago.
    StaleReads,
    /// Some releases are answered, and never done.
    LostUpdates,
    /// Some reservations are made twice, as if their key were forgotten.
    DoubleGrants,
    /// Some shoppers are given what is not there.
    Oversold,
}

/// What stands between clients and the shop.
#[derive(Debug)]
pub struct Doctor {
    wrong: Wrong,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    asked: u64,
    reads: BTreeMap<u32, Heard>,
    newest: BTreeMap<u32, u64>,
}

impl Doctor {
    /// A server that is wrong in this way.
    pub fn new(wrong: Wrong) -> Self {
        Self { wrong, state: Mutex::default() }
    }

    /// Asks through it.
    pub async fn ask(&self, shop: &Shop, sku: u32, op: Op) -> Option<Heard> {
        let turn = {
            let mut state = self.state.lock().unwrap();
            state.asked += 1;
            state.asked.is_multiple_of(37)
        };
        match (self.wrong, op) {
            (Wrong::StaleReads, Op::Read) if turn => {
                let copy = self.state.lock().unwrap().reads.get(&sku).copied();
                if copy.is_some() {
                    return copy;
                }
            }
            (Wrong::LostUpdates, Op::Release { .. }) if turn => {
                let newest = self.state.lock().unwrap().newest.get(&sku).copied();
                return Some(Heard { answer: Answer::Done, seen: newest.map(|newest| newest + 1), repeated: false });
            }
            _ => {}
        }
        let heard = shop.ask(sku, op).await;
        if let Some(heard) = heard {
            let mut state = self.state.lock().unwrap();
            if op == Op::Read {
                state.reads.insert(sku, heard);
            }
            if let Some(seen) = heard.seen {
                let newest = state.newest.entry(sku).or_default();
                *newest = seen.max(*newest);
            }
        }
        match (self.wrong, op, heard) {
            (Wrong::DoubleGrants, Op::Reserve { order, units }, Some(_)) if turn => {
                shop.ask(sku, Op::Reserve { order: order + FORGED, units }).await;
                heard
            }
            (Wrong::Oversold, Op::Reserve { .. }, Some(Heard { answer: Answer::SoldOut { .. }, .. })) if turn => {
                let newest = self.state.lock().unwrap().newest.get(&sku).copied().unwrap_or(0);
                let number = newest + 1;
                Some(Heard { answer: Answer::Reserved { number }, seen: Some(number), repeated: false })
            }
            _ => heard,
        }
    }
}
