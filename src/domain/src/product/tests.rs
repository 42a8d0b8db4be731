//! Claims about a product: the newest prices reach every SKU, and a SKU has one product.

use super::*;
use crate::inventory::{Inventory, Price};
use crate::laws;
use crate::money::{Currency, Money};

const NOW: Timestamp = Timestamp(1);

fn variant(sku: &str, amount: i64) -> Variant {
    let unit = Money { amount, currency: Currency::GBP };
    Variant {
        sku: Sku::parse(sku).unwrap(),
        options: [("size".into(), "42".into())].into(),
        prices: vec![Price { unit, was: None, tax_included: true }],
        ..Variant::default()
    }
}

fn details(id: &str, variants: Vec<Variant>) -> Details {
    Details {
        id: ProductId::parse(id).unwrap(),
        seller: "sel_main".into(),
        title: "Nova Low".into(),
        option_names: vec!["size".into()],
        tax_class: "standard".into(),
        variants: variants.into_iter().map(Arc::new).collect(),
        ..Details::default()
    }
}

/// A product and the stock it speaks to.
#[derive(Default)]
struct Shop {
    product: Product,
    events: Vec<Event>,
    stock: BTreeMap<Sku, Inventory>,
}

impl Shop {
    fn tell(&mut self, command: &Command) -> Result<bool, Refusal> {
        let decision = self.product.decide(command, NOW)?;
        for event in decision.events {
            self.product.evolve(&event);
            self.events.push(event);
        }
        laws::replay_equals_state(&self.events, &self.product).unwrap();
        Ok(decision.repeated)
    }

    fn put(&mut self, details: Details) -> Result<bool, Refusal> {
        self.tell(&Command::Put { details: Box::new(details), expected_version: None })
    }

    /// Delivers an effect and gives its outcome.
    fn deliver(&mut self, key: EffectKey) -> Outcome {
        let Some(Effect::Ask { to: EntityId::Inventory(sku), command: message::Command::Inventory(command) }) =
            self.product.effect(key)
        else {
            panic!("{key:?} is a word to a SKU")
        };
        let stock = self.stock.entry(sku).or_default();
        match stock.decide(&command, NOW) {
            Ok(decision) => {
                decision.events.iter().for_each(|event| stock.evolve(event));
                Outcome::Replied(message::Reply::Inventory(decision.reply))
            }
            Err(refusal) => Outcome::Refused(message::Refusal::Inventory(refusal)),
        }
    }

    fn settle(&mut self) {
        while let Some(key) = self.product.owed(NOW).first().copied() {
            let outcome = self.deliver(key);
            let command = self.product.answered(key, outcome).expect("every answer settles");
            self.tell(&command).unwrap();
        }
    }

    fn offer(&self, sku: &str) -> &Offer {
        self.stock[&Sku::parse(sku).unwrap()].offer().unwrap()
    }
}

#[test]
fn a_put_reaches_every_sku_before_it_is_held() {
    let mut shop = Shop::default();
    shop.put(details("p", vec![variant("A", 100), variant("B", 200)])).unwrap();
    assert!(shop.product.reached(Wait::Decided) && !shop.product.reached(Wait::Held));
    shop.settle();
    assert!(shop.product.reached(Wait::Held));
    assert_eq!((shop.offer("A").prices[0].unit.amount, shop.offer("B").title.as_str()), (100, "Nova Low, 42"));
    assert_eq!(shop.product.version(), 1, "answers of SKUs are no new version");
}

#[test]
fn the_same_put_twice_is_one() {
    let mut shop = Shop::default();
    assert_eq!(shop.put(details("p", vec![variant("A", 100)])), Ok(false));
    assert_eq!(shop.put(details("p", vec![variant("A", 100)])), Ok(true));
    assert_eq!(shop.events.len(), 1);
}

#[test]
fn the_newest_price_wins_when_an_older_answer_comes_late() {
    let mut shop = Shop::default();
    shop.put(details("p", vec![variant("A", 100)])).unwrap();
    let old = shop.product.owed(NOW)[0];
    let outcome = shop.deliver(old);
    shop.put(details("p", vec![variant("A", 150)])).unwrap();
    assert_eq!(shop.product.answered(old, outcome), None, "the newest is still owed");
    let stale = Command::Told { sku: Sku::parse("A").unwrap(), revision: 1, belongs_to: None };
    assert_eq!(shop.tell(&stale), Ok(true));
    assert!(!shop.product.reached(Wait::Held));
    shop.settle();
    assert_eq!(shop.offer("A").prices[0].unit.amount, 150);
}

#[test]
fn a_sku_that_is_left_out_is_archived_never_removed() {
    let mut shop = Shop::default();
    shop.put(details("p", vec![variant("A", 100), variant("B", 200)])).unwrap();
    shop.settle();
    shop.put(details("p", vec![variant("B", 200)])).unwrap();
    shop.settle();
    assert!(!shop.offer("A").on_sale && shop.offer("B").on_sale);
    assert_eq!(shop.product.archived().map(|variant| variant.sku.as_str()).collect::<Vec<_>>(), ["A"]);
    shop.put(details("p", vec![variant("A", 100)])).unwrap();
    shop.settle();
    assert!(shop.offer("A").on_sale, "and comes back");
}

#[test]
fn a_draft_sells_nothing() {
    let mut shop = Shop::default();
    shop.put(Details { status: Status::Draft, ..details("p", vec![variant("A", 100)]) }).unwrap();
    shop.settle();
    assert!(!shop.offer("A").on_sale);
}

#[test]
fn a_sku_of_another_product_is_shown_as_a_conflict_until_it_is_left_out() {
    let mut shop = Shop::default();
    shop.put(details("p", vec![variant("A", 100)])).unwrap();
    shop.settle();
    let mut other = Shop { stock: std::mem::take(&mut shop.stock), ..Shop::default() };
    other.put(details("q", vec![variant("A", 1), variant("B", 2)])).unwrap();
    other.settle();
    assert!(other.product.reached(Wait::Held));
    let conflicts: Vec<_> = other.product.conflicts().map(|(sku, owner)| (sku.as_str(), owner.as_str())).collect();
    assert_eq!(conflicts, [("A", "p")]);
    assert_eq!(other.offer("A").prices[0].unit.amount, 100, "its price is its own product's");
    other.put(details("q", vec![variant("B", 2)])).unwrap();
    other.settle();
    assert_eq!((other.product.conflicts().count(), other.product.archived().count()), (0, 0));
}

#[test]
fn another_seller_and_another_revision_are_refused() {
    let mut shop = Shop::default();
    shop.put(details("p", vec![])).unwrap();
    let stranger = Details { seller: "sel_other".into(), ..details("p", vec![]) };
    assert_eq!(shop.put(stranger), Err(Refusal::OtherSeller));
    let put = Command::Put { details: Box::new(details("p", vec![])), expected_version: Some(7) };
    assert_eq!(shop.tell(&put), Err(Refusal::Stale { current: 1 }));
    assert_eq!(Product::default().decide(&Command::Read, NOW), Err(Refusal::Unknown));
}

#[test]
fn every_fault_is_named_with_its_place() {
    let mut twice = variant("A", -1);
    twice.options = [("colour".into(), "red".into())].into();
    twice.prices.push(Price { unit: Money::zero(Currency::GBP), was: None, tax_included: true });
    twice.max_per_order = Some(0);
    twice.hold_s = Some(0);
    twice.origin = Some("vn".into());
    let wrong = Details {
        title: "x".repeat(TITLE_MAX + 1).into(),
        description: "x".repeat(DESCRIPTION_MAX + 1),
        brand: Some("x".repeat(BRAND_MAX + 1).into()),
        tax_class: "".into(),
        attributes: (0..=ATTRIBUTES_MAX).map(|number| (number.to_string().into(), "v".into())).collect(),
        images: vec![Image { url: "u".into(), alt: "".into(), sku: Some(Sku::parse("Z").unwrap()) }],
        variants: vec![Arc::new(variant("A", 1)), Arc::new(twice)],
        ..details("p", vec![])
    };
    let faults: Vec<_> = wrong.faults().into_iter().map(|fault| (fault.pointer, fault.code)).collect();
    let expected = [
        ("/title", "too_long"),
        ("/description", "too_long"),
        ("/brand", "too_long"),
        ("/tax_class", "required"),
        ("/attributes", "too_many"),
        ("/images/0/sku", "unknown"),
        ("/skus/1/sku", "duplicate"),
        ("/skus/1/options/colour", "unknown"),
        ("/skus/1/prices/0/amount", "out_of_range"),
        ("/skus/1/prices/1/currency", "duplicate"),
        ("/skus/1/max_per_order", "out_of_range"),
        ("/skus/1/hold_s", "out_of_range"),
        ("/skus/1/origin", "out_of_range"),
    ];
    assert_eq!(faults, expected.map(|(pointer, code)| (pointer.to_owned(), code.into())));
    assert_eq!(Shop::default().put(wrong).map_err(|refusal| matches!(refusal, Refusal::Invalid(_))), Err(true));
}
