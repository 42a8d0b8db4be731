//! Captures, voids and refunds. Each is derived from the amount due (rule M5):
//!
//! ```text
//! captured > due ──► refund      authorized, and nothing more is due ──► void of the rest      due > captured ──► capture, by policy
//! ```
//!
//! One capture or void of a payment is in flight at a time: a call with an unknown outcome is queried until it is known (rule R6).

use super::command::{CancelReason, LineUnits, Made, RefundWhat, Refusal};
use super::event::{Event, RefundCause, RefundStarted};
use super::saga::{Decided, made};
use super::step::CallKey;
use super::terms::CapturePolicy;
use super::{Attempt, AttentionReason, Call, CallState, LineNumber, Order, Payment, RefundStatus, Stage};
use crate::ids::Request;
use crate::money::Money;
use crate::payment::{Operation, Retry};
use crate::time::Timestamp;
use compact_str::CompactString;

/// The number of refused attempts of a capture, void or refund after which the refusal is final (rule M4).
pub const TRIES_MAX: usize = 3;

impl Order {
    /// The next capture, void or refund, if any.
    pub(super) fn next_money(&self, now: Timestamp) -> Option<Event> {
        self.payments.iter().find_map(|payment| self.next_of(payment, now))
    }

    fn next_of(&self, payment: &Payment, now: Timestamp) -> Option<Event> {
        let Attempt::Authorized { .. } = payment.attempt else { return None };
        if payment.has_open(Operation::Capture) || payment.has_open(Operation::Void) {
            return None;
        }
        let pays = self.paying == Some(payment.number);
        let due = if pays { self.due() } else { 0 };
        let net = self.net_of(payment);
        self.next_refund_try(payment, now)
            .or_else(|| self.next_refund(payment, net.saturating_sub(due), pays, now))
            .or_else(|| (net >= due).then(|| self.next_void(payment, now)).flatten())
            .or_else(|| {
                (pays && self.stage == Stage::Confirmed).then(|| self.next_capture(payment, due, net, now)).flatten()
            })
    }

    /// The captured amount of a payment less refunds, those in flight included, in minor units.
    pub(super) fn net_of(&self, payment: &Payment) -> i64 {
        self.refunds
            .iter()
            .filter(|refund| refund.payment == payment.number && refund.status != RefundStatus::Succeeded)
            .fold(payment.captured.saturating_sub(payment.refunded), |net, refund| net.saturating_sub(refund.amount))
    }

    fn next_refund_try(&self, payment: &Payment, now: Timestamp) -> Option<Event> {
        // The seller pays out what came past the provider, and says so.
        if payment.instruction.is_manual() {
            return None;
        }
        self.refunds
            .iter()
            .filter(|refund| refund.payment == payment.number && refund.status == RefundStatus::Pending)
            .find_map(|refund| {
                let tries = || payment.calls_of(Operation::Refund).filter(|call| call.refund == Some(refund.number));
                if tries().any(Call::open) {
                    return None;
                }
                match refused_for_good(tries()) {
                    Some(call) => Some(call.trouble()),
                    None => Some(payment.start(Operation::Refund, refund.amount, Some(refund.number), None, now)),
                }
            })
    }

    fn next_refund(&self, payment: &Payment, too_much: i64, pays: bool, now: Timestamp) -> Option<Event> {
        let ended = match self.stage {
            Stage::Ending(_) | Stage::Ended(_) => true,
            Stage::Nothing
            | Stage::Freezing
            | Stage::Reserving
            | Stage::Held
            | Stage::Committing
            | Stage::Confirmed => false,
        };
        (too_much > 0).then(|| {
            Event::RefundStarted(Box::new(RefundStarted {
                number: Self::next_number(&self.refunds),
                payment: payment.number,
                amount: too_much,
                cause: if pays && !ended { RefundCause::NotDue } else { RefundCause::Late },
                request: None,
                lines: Vec::new(),
                shipping: false,
                reason: "".into(),
                at: now,
                seller: None,
            }))
        })
    }

    fn next_void(&self, payment: &Payment, now: Timestamp) -> Option<Event> {
        let rest = payment.uncaptured();
        if rest == 0 {
            return None;
        }
        self.next_undo(payment, Operation::Void, rest, now)
    }

    /// The next void of an authorization, or refund of a charge that differs; `amount` in minor units.
    pub(super) fn next_undo(&self, payment: &Payment, undo: Operation, amount: i64, now: Timestamp) -> Option<Event> {
        match refused_for_good(payment.calls_of(undo)) {
            // The rest of a partly captured authorization lapses by itself, where the provider does not let go of it.
            Some(_) if payment.captured > 0 => None,
            Some(call) => self.trouble_once(call),
            None => Some(payment.start(undo, amount, None, None, now)),
        }
    }

    fn next_capture(&self, payment: &Payment, due: i64, net: i64, now: Timestamp) -> Option<Event> {
        // What was taken back is not taken again before somebody has looked (rule M13).
        if self.is_unpaid_again() {
            return None;
        }
        let rest = payment.uncaptured().min(due.saturating_sub(net));
        if rest <= 0 {
            return None;
        }
        if let Some(call) = refused_for_good(payment.calls_of(Operation::Capture)) {
            // The amount cannot be captured without the shopper: what has not shipped is cancelled, the rest is for the operator (rule M4).
            let unshipped = self.lines.iter().any(|line| line.left() > 0);
            return if unshipped && payment.capture != CapturePolicy::Manual {
                Some(self.cancel_unshipped(None, CancelReason::Declined))
            } else {
                self.trouble_once(call)
            };
        }
        let wanted = if self.lapses_soon(payment, now) {
            rest
        } else {
            match payment.capture {
                CapturePolicy::OnConfirmation => rest,
                CapturePolicy::OnShipment => rest.min(self.shipped_worth().saturating_sub(payment.captured)),
                CapturePolicy::Manual => 0,
            }
        };
        (wanted > 0).then(|| payment.start(Operation::Capture, wanted, None, None, now))
    }

    /// Captures an authorized amount before the authorization lapses.
    fn lapses_soon(&self, payment: &Payment, now: Timestamp) -> bool {
        self.capture_by(payment).is_some_and(|by| now >= by)
    }

    /// When the amount due must be captured because the authorization would lapse.
    pub(super) fn capture_by(&self, payment: &Payment) -> Option<Timestamp> {
        let margin_s = self.terms()?.payment.lapse_margin_s;
        payment.lapses_at().map(|at| Timestamp(at.0.saturating_sub(margin_s.saturating_mul(1_000))))
    }

    /// The value of all shipped units, in minor units; the whole order, once nothing is left to ship. It is what remains of each line without
    /// the worth of its other units, counted as [`OrderLine::worth`] counts those that are cancelled later: so the rest takes no second
    /// capture of a penny.
    fn shipped_worth(&self) -> i64 {
        if self.lines.iter().all(|line| line.left() == 0) {
            return self.total();
        }
        self.lines.iter().fold(0_i64, |sum, line| {
            let whole = line.priced.total.saturating_add(line.priced.shipping_share);
            sum.saturating_add(whole).saturating_sub(line.first_worth(line.units.saturating_sub(line.shipped), true))
        })
    }

    fn trouble_once(&self, call: &Call) -> Option<Event> {
        (!self.troubled(call.key)).then(|| call.trouble())
    }

    /// Decides on a capture by hand, with the policy `manual`.
    pub(super) fn capture_by_hand(&self, request: &Request, amount: Option<Money>, now: Timestamp) -> Decided {
        if let Some(again) = self.seen(request) {
            return again;
        }
        let paying = self.paying.and_then(|number| self.payment(number)).ok_or_else(|| self.wrong_state())?;
        let by_hand = self.stage == Stage::Confirmed && paying.capture == CapturePolicy::Manual;
        if !by_hand || paying.has_open(Operation::Capture) || paying.has_open(Operation::Void) {
            return Err(self.wrong_state());
        }
        let capturable = self.money(self.capturable());
        let wanted = amount.unwrap_or(capturable);
        if wanted.currency != capturable.currency {
            return Err(Refusal::CurrencyMismatch);
        }
        if wanted.amount <= 0 || wanted.amount > capturable.amount {
            return Err(Refusal::CaptureTooLarge { capturable });
        }
        let started = paying.start(Operation::Capture, wanted.amount, None, Some(*request), now);
        let reply = made(Made::Capture { payment: paying.number, attempt: paying.next_attempt(Operation::Capture) });
        Ok(self.follow(vec![started], now, reply))
    }

    /// What is due and not taken, in minor units, of a payment of which the seller may take no more; `None`: there is none. While units are
    /// to ship they are to be paid: they can be cancelled.
    pub(super) fn waivable(&self) -> Option<(u16, i64)> {
        let paying = self.paying.and_then(|number| self.payment(number)).filter(|_| self.stage == Stage::Confirmed)?;
        let is_waiting = paying.uncaptured() > 0 || (!paying.settled() && paying.instruction.is_manual());
        let in_flight = paying.has_open(Operation::Capture) || paying.has_open(Operation::Void);
        if !is_waiting || in_flight || self.lines.iter().any(|line| line.left() > 0) {
            return None;
        }
        let rest = self.due().saturating_sub(self.net_of(paying));
        (rest > 0).then_some((paying.number, rest))
    }

    /// The seller takes no more of a payment. What is due and was not taken is waived; so nothing is due that is not covered (rule M5).
    pub(super) fn void_by_hand(&self, request: &Request, number: u16, now: Timestamp) -> Decided {
        if let Some(again) = self.seen(request) {
            return again;
        }
        if self.payment(number).is_none() {
            return Err(if self.exists() { Refusal::UnknownPart } else { Refusal::Unknown });
        }
        let Some((payment, amount)) = self.waivable().filter(|(paying, _)| *paying == number) else {
            return Err(self.wrong_state());
        };
        let waived = Event::Waived { payment, amount, request: *request };
        Ok(self.follow(vec![waived], now, made(Made::Payment(number))))
    }

    /// Decides on a refund without a return.
    /// `seller`: only of its own lines.
    pub(super) fn refund_by_hand(
        &self,
        request: &Request,
        what: &RefundWhat,
        reason: &str,
        seller: Option<&CompactString>,
        now: Timestamp,
    ) -> Decided {
        if let Some(again) = self.seen(request) {
            return again;
        }
        let paying = self.paying.filter(|_| self.stage == Stage::Confirmed).ok_or_else(|| self.wrong_state())?;
        let group = match seller {
            Some(seller) => Some(self.group(seller).ok_or(Refusal::Unknown)?),
            None => None,
        };
        let refundable = group.map_or_else(|| self.refundable(), |group| group.refundable());
        let is_own = |line: LineNumber| group.is_none_or(|group| group.has(line));
        let (amount, lines, shipping) = match what {
            RefundWhat::Amount(money) if *money == self.money(money.amount) => (money.amount, Vec::new(), false),
            RefundWhat::Amount(_) => return Err(Refusal::CurrencyMismatch),
            RefundWhat::Everything => {
                let rest =
                    self.numbered().map(|(line, it)| LineUnits { line, units: it.units.saturating_sub(it.settled) });
                (refundable, rest.filter(|one| one.units > 0 && is_own(one.line)).collect(), true)
            }
            RefundWhat::Lines { lines, shipping } => {
                let lines = self.distinct(lines)?;
                let mut amount = 0_i64;
                for one in &lines {
                    let line = self.line(one.line).filter(|_| is_own(one.line)).ok_or(Refusal::UnknownPart)?;
                    let left = line.units.saturating_sub(line.settled);
                    if one.units > left {
                        return Err(Refusal::TooMany { line: one.line, left });
                    }
                    amount = amount.saturating_add(line.worth(one.units, *shipping));
                }
                (amount, lines, *shipping)
            }
        };
        if amount <= 0 || amount > refundable {
            return Err(Refusal::RefundTooLarge { refundable: self.money(refundable) });
        }
        let number = Self::next_number(&self.refunds);
        let started = RefundStarted {
            number,
            payment: paying,
            amount,
            cause: RefundCause::Goodwill,
            request: Some(*request),
            seller: seller.filter(|_| lines.is_empty()).cloned(),
            lines,
            shipping,
            reason: reason.into(),
            at: now,
        };
        Ok(self.follow(vec![Event::RefundStarted(Box::new(started))], now, made(Made::Refund(number))))
    }

    /// Checks the lines of a request: each exists, has units, and is named once.
    pub(super) fn distinct(&self, lines: &[LineUnits]) -> Result<Vec<LineUnits>, Refusal> {
        let mut sorted = lines.to_vec();
        sorted.sort_by_key(|one| one.line);
        let twice = sorted.windows(2).any(|pair| pair.first().map(|one| one.line) == pair.last().map(|one| one.line));
        if twice || sorted.is_empty() || sorted.iter().any(|one| one.units == 0) {
            return Err(Refusal::Malformed);
        }
        if sorted.iter().any(|one| self.line(one.line).is_none()) {
            return Err(Refusal::UnknownPart);
        }
        Ok(sorted)
    }
}

impl Payment {
    fn next_attempt(&self, operation: Operation) -> u16 {
        u16::try_from(self.calls_of(operation).count()).unwrap_or(u16::MAX).saturating_add(1)
    }

    fn start(
        &self,
        operation: Operation,
        amount: i64,
        refund: Option<u16>,
        request: Option<Request>,
        at: Timestamp,
    ) -> Event {
        let call = CallKey { operation, payment: self.number, attempt: self.next_attempt(operation) };
        Event::CallStarted { call, amount, request, refund, at }
    }
}

impl Call {
    fn trouble(&self) -> Event {
        let code = match &self.state {
            CallState::Refused { code, .. } => code.clone(),
            CallState::Asked
            | CallState::QueryOnly
            | CallState::GivenUp
            | CallState::Succeeded(_)
            | CallState::Retried => "".into(),
        };
        Event::Troubled(AttentionReason::Refused { call: self.key, code })
    }
}

/// The last refusal, if it is final: the provider said so, or all attempts since the last success are used up.
fn refused_for_good<'a>(calls: impl Iterator<Item = &'a Call>) -> Option<&'a Call> {
    let mut tries = 0_usize;
    let mut last = None;
    for call in calls {
        match &call.state {
            CallState::Refused { retry, .. } => {
                tries = tries.saturating_add(match retry {
                    Retry::SameMethod => 1,
                    Retry::OtherMethod | Retry::Never => TRIES_MAX,
                });
                last = Some(call);
            }
            CallState::Succeeded(_) | CallState::Retried => {
                tries = 0;
                last = None;
            }
            CallState::Asked | CallState::QueryOnly | CallState::GivenUp => {}
        }
    }
    last.filter(|_| tries >= TRIES_MAX)
}
