//! What people do in the world: shoppers, sellers, an operator; at any moment, sensible or not.

use super::super::Patch;
use super::*;
use crate::claims::{self, ClaimKind};
use crate::ids::CounterId;

impl World {
    pub(super) fn place(&mut self) {
        let capture = [CapturePolicy::OnConfirmation, CapturePolicy::OnShipment, CapturePolicy::Manual][self.pick(3)];
        let mut terms = terms(capture);
        if self.chance(10) {
            terms.keys_life_s_for_test(200);
        }
        if self.chance(10) {
            terms.expected_total = Some(gbp(1));
        }
        terms.claims = self.some_claims();
        let source = if self.chance(30) { self.cart_source() } else { self.line_source() };
        let payment =
            self.chance(50).then(|| instruction(if self.rng.random_bool(0.2) { "bank_transfer" } else { "card" }));
        let request = self.new_request("orders");
        let place =
            PlaceOrder { request, source, terms, personal: personal("A"), payment, installation: Some(INSTALLATION) };
        let id = EntityId::Order(place.id());
        for _ in 0..=self.pick(2) {
            let _first_or_again = self.tell(&id, &message::Command::Order(Command::Place(Box::new(place.clone()))));
        }
    }

    /// Another mailbox, and with it another counter.
    fn some_edit(&mut self) -> Command {
        let number = self.pick(3);
        let at = CounterId((2 << 100) + u128::try_from(number).unwrap());
        let wanted = self.chance(80).then_some(claims::Wanted { kind: ClaimKind::UnpaidByBuyer, at, limit: 8 });
        let email = Some(format!("{number}@b.example").into());
        let buyer = Some(Buyer { email, name: Some("A".into()), phone: None, locale: None });
        let shipping = self.chance(50).then(|| Shipping {
            option: "std".into(),
            price: gbp(i64::try_from(number).unwrap() * 100),
            tax_included: true,
        });
        let claims = vec![(ClaimKind::UnpaidByBuyer, wanted)];
        Command::Patch(Box::new(Patch { buyer, shipping, claims, ..Patch::default() }))
    }

    /// None, or up to four kinds of claims beside stock, at few counters with low limits.
    fn some_claims(&mut self) -> Option<Vec<claims::Wanted>> {
        if self.chance(40) {
            return None;
        }
        let kinds = [
            (ClaimKind::ExternalId, 1),
            (ClaimKind::Coupon, 2),
            (ClaimKind::UnpaidByBuyer, 8),
            (ClaimKind::UnpaidByInstrument, 6),
        ];
        let mut wanted = Vec::new();
        for (place, (kind, limit)) in (0_u128..).zip(kinds) {
            if self.chance(60) {
                let at = CounterId((place << 100) + u128::try_from(self.pick(2)).unwrap());
                wanted.push(claims::Wanted { kind, at, limit });
            }
        }
        Some(wanted)
    }

    pub(super) fn line_source(&mut self) -> Source {
        let mut lines = Vec::new();
        for _ in 0..=self.pick(3) {
            let number = self.pick(SKUS);
            let expected_unit_price = self.chance(3).then(|| gbp(1));
            let units = u32::try_from(1 + self.pick(3)).unwrap();
            lines.push(Wanted { sku: sku(number), units, expected_unit_price });
        }
        Source::Lines(lines)
    }

    pub(super) fn cart_source(&mut self) -> Source {
        let cart = CartId(u128::try_from(self.pick(3) + 1).unwrap());
        let id = EntityId::Cart(cart);
        let owner = cart::Owner::Guest("gst_1".into());
        let create =
            cart::Command::Create { terms: RequestFingerprint(1), owner, currency: Currency::GBP, life_s: 604_800 };
        let _made = self.tell(&id, &message::Command::Cart(create));
        for number in 0..2 {
            let snapshot = cart::Snapshot { title: "A".into(), seller: "sel_main".into(), unit_price: gbp(100) };
            let set = cart::Command::SetLine { sku: sku(number), quantity: 1, snapshot, expected_version: None };
            let _set = self.tell(&id, &message::Command::Cart(set));
        }
        Source::Cart(cart)
    }

    /// The shopper on the provider's pages, or the bank behind it.
    pub(super) fn shopper_acts(&mut self) {
        if self.chance(20)
            && let Some(report) = self.provider.take_back(&mut self.rng)
        {
            self.network.push(Message::Webhook { report });
        }
        if let Some(report) = self.provider.act(self.now, &mut self.rng)
            && self.chance(70)
        {
            self.network.push(Message::Webhook { report });
        }
    }

    pub(super) fn somebody_acts(&mut self) {
        let orders = self.orders();
        if orders.is_empty() {
            return;
        }
        let confirmed: Vec<OrderId> =
            orders.iter().copied().filter(|id| self.order(*id).stage == Stage::Confirmed).collect();
        let among = if confirmed.is_empty() || self.chance(40) { &orders } else { &confirmed };
        let id = among[self.pick(among.len())];
        let command = self.some_command(id);
        let copies = 1 + self.pick(2);
        let first = self.tell(&EntityId::Order(id), &message::Command::Order(command.clone()));
        for _ in 1..copies {
            let again = self.tell(&EntityId::Order(id), &message::Command::Order(command.clone()));
            // A change may wait for its claims: the next one is refused until they are answered.
            let is_edit = matches!(command, Command::Patch(_));
            if let (Ok(first), Ok(again)) = (&first, &again) {
                assert_eq!(first, again, "seed {}: the same request again is another answer: {command:?}", self.seed);
            }
            assert!(is_edit || !(first.is_ok() && again.is_err()), "seed {}: {command:?} then {again:?}", self.seed);
        }
    }

    pub(super) fn some_lines(&mut self, order: OrderId) -> Vec<LineUnits> {
        let count = self.order(order).lines.len();
        if count == 0 || self.chance(40) {
            return Vec::new();
        }
        let line = u16::try_from(1 + self.pick(count)).unwrap();
        vec![LineUnits { line, units: u32::try_from(1 + self.pick(2)).unwrap() }]
    }

    pub(super) fn some_command(&mut self, id: OrderId) -> Command {
        let request = self.new_request("acts");
        let lines = self.some_lines(id);
        match self.pick(16) {
            14 | 15 => self.some_edit(),
            0 | 1 => Command::Pay { request, instruction: instruction("card") },
            2 => Command::Cancel { request, lines, reason: CancelReason::Customer },
            3 if self.chance(30) => Command::Cancel { request, lines: Vec::new(), reason: CancelReason::Fraud },
            4 => Command::Refund {
                request,
                what: RefundWhat::Amount(gbp(self.rng.random_range(1..500))),
                reason: "sorry".into(),
                seller: None,
            },
            5 => {
                let what = if lines.is_empty() {
                    RefundWhat::Everything
                } else {
                    RefundWhat::Lines { lines, shipping: self.chance(50) }
                };
                Command::Refund { request, what, reason: "late".into(), seller: None }
            }
            6..=8 => Command::Ship {
                request,
                lines,
                warehouse: self.rng.random_bool(0.5).then(|| warehouse(0)),
                carrier: Some("post".into()),
                tracking_number: None,
                tracking_url: None,
            },
            9 => Command::Deliver { request, shipment: 1 },
            10 if self.chance(30) => Command::Lose { request, shipment: 1 + u16::from(self.rng.random_bool(0.5)) },
            10 if self.chance(40) => Command::UndoShipment { request, shipment: 1 },
            10 => Command::Resend { request, shipment: 1 + u16::from(self.rng.random_bool(0.5)) },
            11 => {
                let refunds = self.order(id).refunds.len();
                let refund = (refunds > 0 && self.chance(50)).then(|| u16::try_from(1 + self.pick(refunds)).unwrap());
                let lines = lines.iter().map(|one| ReturnLine {
                    line: one.line,
                    units: one.units,
                    reason: "small".into(),
                    refund,
                });
                Command::RequestReturn { request, lines: lines.collect() }
            }
            12 => {
                let open = self.order(id).returns.iter().find(|one| one.status == ReturnStatus::Approved);
                let number = open.map_or(1, |one| one.number);
                let lines = open.map_or(lines, |one| vec![LineUnits { line: one.lines[0].line, units: 1 }]);
                let money = self.chance(30).then(|| gbp(self.rng.random_range(0..400)));
                let lines = lines.iter().map(|one| ReceivedLine {
                    line: one.line,
                    units: one.units,
                    condition: Condition::AsNew,
                    restock: true,
                    money,
                });
                Command::ReceiveReturn { request, number, lines: lines.collect() }
            }
            13 if self.chance(60) => Command::Capture { request, amount: None },
            13 => Command::Void { request, payment: self.order(id).paying.unwrap_or(1) },
            _ => Command::Read,
        }
    }

    pub(super) fn operator_acts(&mut self) {
        for id in self.orders() {
            let order = self.order(id).clone();
            let mut settle = Vec::new();
            for trouble in &order.troubles {
                match trouble {
                    AttentionReason::NotAnswered(call) | AttentionReason::Conflict(call) => {
                        let reference = order.reference(*call);
                        let answer = self.provider.truth(&reference);
                        settle.push((reference, answer));
                    }
                    AttentionReason::Refused { call, .. } | AttentionReason::Reversed { call, .. } => {
                        let again = ProviderAnswer::Declined { code: "operator".into(), retry: Retry::SameMethod };
                        settle.push((order.reference(*call), again));
                    }
                    AttentionReason::AmountDiffers { call, .. } => {
                        let refused = ProviderAnswer::Declined { code: "differs".into(), retry: Retry::OtherMethod };
                        settle.push((order.reference(*call), refused));
                    }
                    AttentionReason::StepRefused(step) => panic!("seed {}: {id} was refused {step:?}", self.seed),
                }
            }
            // One word settles all that is to be looked at of a call.
            let mut looked_at = std::collections::BTreeSet::new();
            settle.retain(|(reference, _)| looked_at.insert(*reference));
            for (reference, answer) in settle {
                let settled =
                    self.tell(&EntityId::Order(id), &message::Command::Order(Command::Settle { reference, answer }));
                assert!(settled.is_ok(), "seed {}: {settled:?}", self.seed);
            }
        }
    }
}
