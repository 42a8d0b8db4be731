//! The view of an order.

use super::terms::EXTERNAL_ID;
use crate::core::view::{At, Iso4217, LineId, MinimalView, MoneyView, OrderNumberText, Pairs, Shown, line_id};
use crate::core::words::status_word;
use crate::payments::views::{PaymentErrorView, PaymentView, payment_error, payment_word};
use crate::returns::views::ReturnView;
use crate::shipments::views::ShipmentView;
use compact_str::{CompactString, format_compact};
use doorbuster_domain::ids::{OrderId, OrderNumber, Sku, WarehouseId};
use doorbuster_domain::order::{
    Address, Allowed, Buyer, FulfilmentStatus, Hold, LineNumber, Order, OrderLine, OrderReturnStatus, Stage, Totals,
};
use doorbuster_domain::principal::Principal;
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::wire::Meta;
use schemars::JsonSchema;
use serde::Serialize;

/// An order.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Order")]
pub struct OrderView<'a> {
    id: Shown<OrderId>,
    #[schemars(with = "OrderNumberText")]
    number: CompactString,
    status: &'static str,
    payment_status: &'static str,
    fulfilment_status: &'static str,
    return_status: &'static str,
    allowed: Vec<&'static str>,
    buyer: Option<BuyerView<'a>>,
    ship_to: Option<AddressView<'a>>,
    bill_to: Option<AddressView<'a>>,
    note: Option<&'a str>,
    shipping: Option<ShippingView<'a>>,
    currency: Iso4217,
    lines: Vec<OrderLineView<'a>>,
    totals: TotalsView,
    payments: Vec<PaymentView<'a>>,
    shipments: Vec<ShipmentView<'a>>,
    returns: Vec<ReturnView<'a>>,
    last_error: Option<PaymentErrorView<'a>>,
    placed_at: At,
    expires_at: At,
    confirmed_at: Option<At>,
    /// Only in the answer to the placement.
    order_token: Option<&'a str>,
    version: u64,
    created_at: At,
    updated_at: At,
    metadata: Pairs<'a>,
    external_id: Option<&'a str>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Buyer")]
struct BuyerView<'a> {
    email: Option<&'a str>,
    name: Option<&'a str>,
    phone: Option<&'a str>,
    locale: Option<&'a str>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Address")]
struct AddressView<'a> {
    name: Option<&'a str>,
    company: Option<&'a str>,
    line1: Option<&'a str>,
    line2: Option<&'a str>,
    city: Option<&'a str>,
    region: Option<&'a str>,
    postal_code: Option<&'a str>,
    country: &'a str,
    phone: Option<&'a str>,
    tax_id: Option<&'a str>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Shipping")]
struct ShippingView<'a> {
    option: &'a str,
    price: MoneyView,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OrderLine")]
struct OrderLineView<'a> {
    #[schemars(with = "LineId")]
    id: CompactString,
    sku: Shown<&'a Sku>,
    title: Option<&'a str>,
    seller: Option<&'a str>,
    quantity: u32,
    granted: u32,
    unit_price: Option<MoneyView>,
    subtotal: MoneyView,
    taxes: Vec<TaxView<'a>>,
    total: MoneyView,
    allocations: Vec<AllocationView<'a>>,
    cancelled: u32,
    shipped: u32,
    delivered: u32,
    returned: u32,
    refunded: MoneyView,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Tax")]
struct TaxView<'a> {
    name: &'a str,
    rate_ppm: u32,
    amount: MoneyView,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LineAllocation")]
struct AllocationView<'a> {
    warehouse: Shown<&'a WarehouseId>,
    quantity: u32,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Totals")]
struct TotalsView {
    subtotal: MoneyView,
    shipping: MoneyView,
    tax: MoneyView,
    tax_included: bool,
    total: MoneyView,
    due: MoneyView,
    captured: MoneyView,
    refunded: MoneyView,
    refundable: MoneyView,
}

/// The word for an action, and whether only the seller may take it.
const fn allowed_word(allowed: Allowed) -> (&'static str, bool) {
    match allowed {
        Allowed::Pay => ("pay", false),
        Allowed::Edit => ("edit", false),
        Allowed::Cancel => ("cancel", false),
        Allowed::Return => ("return", false),
        Allowed::Capture => ("capture", true),
        Allowed::Void => ("void", true),
        Allowed::Ship => ("ship", true),
        Allowed::Refund => ("refund", true),
    }
}

/// The actions that a caller may take on an order now.
#[must_use]
pub fn allowed_words(order: &Order, who: &Principal) -> Vec<&'static str> {
    let of_all = || order.allowed().into_iter().map(allowed_word);
    let is_whole = order.sight(who).is_some_and(|sight| sight.group.is_none());
    let mut words: Vec<&'static str> = match who {
        Principal::Platform(_) => return of_all().map(|(word, _)| word).collect(),
        _ if is_whole => of_all().filter(|(_, sellers_only)| !sellers_only).map(|(word, _)| word).collect(),
        _ => Vec::new(),
    };
    if let Principal::Seller(account) = who
        && let Some(group) = order.group(&account.id)
    {
        let own = group.allowed().into_iter().map(|allowed| allowed_word(allowed).0);
        let new: Vec<_> = own.filter(|word| !words.contains(word)).collect();
        words.extend(new);
    }
    words
}

impl<'a> OrderView<'a> {
    /// What is left of it under `Prefer: return=minimal`.
    pub(super) fn minimal(&self) -> MinimalView {
        let (status, version, expires_at) = (self.status, self.version, self.expires_at);
        MinimalView {
            id: format_compact!("{}", self.id.0),
            status,
            version,
            total: Some(self.totals.total),
            expires_at,
        }
    }

    /// As much of an order as `shown` says; `None`: the order does not exist, or nothing of it is shown.
    #[must_use]
    pub fn new(order: &'a Order, meta: &Meta, shown: &ShownTo<'a>, now: Timestamp) -> Option<Self> {
        let head = order.head.as_deref()?;
        let terms = &head.terms;
        let sight = order.sight(shown.who)?;
        let personal = order.personal.as_deref().filter(|_| sight.personal);
        // A seller knows no buyer: only where to send what it sends itself.
        let whole = personal.filter(|_| sight.group.is_none());
        let sent_to = personal.filter(|_| sight.group.is_none() || shown.ships);
        let address = |address: Option<&'a Address>| address.map(AddressView::new);
        let (external_id, metadata) = split_metadata(sight.group.map_or(&terms.metadata, |group| group.notes()));
        let lines = order.numbered().filter(|(number, _)| sight.has(*number));
        let shipments = order.shipments.iter().filter(|shipment| sight.has_shipment(shipment));
        let returns = order.returns.iter().filter(|one| sight.has_return(one));
        let paid = if sight.group.is_none() { order.payments.as_slice() } else { &[] };
        let totals = sight.group.map_or_else(|| order.totals(), |group| group.totals());
        Some(Self {
            id: Shown(order.id),
            number: OrderNumber::from(order.id).text(),
            status: status_word(order.status()),
            payment_status: payment_word(order.payment_status(now)),
            fulfilment_status: fulfilment_word(order.fulfilment_status()),
            return_status: return_word(order.return_status()),
            allowed: allowed_words(order, shown.who),
            buyer: whole.map(|personal| BuyerView::new(&personal.buyer)),
            ship_to: address(sent_to.and_then(|personal| personal.ship_to.as_ref())),
            bill_to: address(whole.and_then(|personal| personal.bill_to.as_ref())),
            note: whole.and_then(|personal| personal.note.as_deref()),
            shipping: terms.shipping.as_ref().map(|shipping| ShippingView {
                option: &shipping.option,
                price: sight.group.map_or(shipping.price, |_| totals.shipping).into(),
            }),
            currency: Iso4217(terms.currency),
            lines: lines.map(|(number, line)| OrderLineView::new(order, number, line)).collect(),
            totals: TotalsView::new(&totals),
            payments: paid.iter().map(|payment| PaymentView::new(order, payment, now)).collect(),
            shipments: shipments.map(|shipment| ShipmentView::new(order, shipment, &sight)).collect(),
            returns: returns.map(|one| ReturnView::new(order, one, &sight)).collect(),
            last_error: paid.last().and_then(payment_error),
            placed_at: At(head.placed_at),
            expires_at: At(order.expires_at),
            confirmed_at: order.confirmed_at.map(At),
            order_token: shown.token,
            version: meta.version,
            created_at: At(meta.created_at),
            updated_at: At(meta.updated_at),
            metadata: Pairs(metadata),
            external_id,
        })
    }
}

/// To whom an order is shown, and what of it.
#[derive(Debug)]
pub struct ShownTo<'a> {
    /// Who sees it.
    pub who: &'a Principal,
    /// Does a seller who sees only its own lines send them itself? Then it sees where to.
    pub ships: bool,
    /// The token that reads and pays it, for who places it.
    pub token: Option<&'a str>,
}

type Pair = (CompactString, CompactString);

/// The external id and the caller's pairs: it is the first pair, because its key sorts before all others.
fn split_metadata(pairs: &[Pair]) -> (Option<&str>, &[Pair]) {
    match pairs {
        [(key, value), rest @ ..] if key == EXTERNAL_ID => (Some(value), rest),
        pairs => (None, pairs),
    }
}

impl<'a> BuyerView<'a> {
    fn new(buyer: &'a Buyer) -> Self {
        Self {
            email: buyer.email.as_deref(),
            name: buyer.name.as_deref(),
            phone: buyer.phone.as_deref(),
            locale: buyer.locale.as_deref(),
        }
    }
}

impl<'a> AddressView<'a> {
    fn new(address: &'a Address) -> Self {
        Self {
            name: address.name.as_deref(),
            company: address.company.as_deref(),
            line1: address.line1.as_deref(),
            line2: address.line2.as_deref(),
            city: address.city.as_deref(),
            region: address.region.as_deref(),
            postal_code: address.postal_code.as_deref(),
            country: &address.country,
            phone: address.phone.as_deref(),
            tax_id: address.tax_id.as_deref(),
        }
    }
}

impl<'a> OrderLineView<'a> {
    fn new(order: &'a Order, number: LineNumber, line: &'a OrderLine) -> Self {
        let agreed = line.agreed.as_ref();
        let money = |amount: i64| MoneyView::from(order.money(amount));
        let granted = match line.hold {
            Hold::Held | Hold::Committed | Hold::Releasing => line.units,
            Hold::Asked | Hold::Refused(_) | Hold::Released | Hold::Vanished => 0,
        };
        let tax_name = order.terms().map_or("", |terms| terms.tax.name.as_str());
        let taxed = line.priced.rate_ppm > 0;
        let tax = TaxView { name: tax_name, rate_ppm: line.priced.rate_ppm, amount: money(line.priced.tax) };
        let allocations = agreed.into_iter().flat_map(|agreed| &agreed.allocations);
        Self {
            id: line_id(number),
            sku: Shown(&line.sku),
            title: agreed.map(|agreed| agreed.title.as_str()),
            seller: agreed.map(|agreed| agreed.seller.as_str()),
            quantity: line.units,
            granted,
            unit_price: agreed.map(|agreed| agreed.price.unit.into()),
            subtotal: money(line.priced.subtotal),
            taxes: if taxed { vec![tax] } else { Vec::new() },
            total: money(line.priced.total),
            allocations: allocations
                .map(|part| AllocationView { warehouse: Shown(&part.warehouse), quantity: part.units })
                .collect(),
            cancelled: line.cancelled,
            shipped: line.shipped,
            delivered: line.delivered,
            returned: line.returned,
            refunded: money(line.refunded),
        }
    }
}

impl TotalsView {
    fn new(totals: &Totals) -> Self {
        Self {
            subtotal: totals.subtotal.into(),
            shipping: totals.shipping.into(),
            tax: totals.tax.into(),
            tax_included: totals.tax_included,
            total: totals.total.into(),
            due: totals.due.into(),
            captured: totals.captured.into(),
            refunded: totals.refunded.into(),
            refundable: totals.refundable.into(),
        }
    }
}

pub(super) const fn fulfilment_word(status: FulfilmentStatus) -> &'static str {
    match status {
        FulfilmentStatus::NotRequired => "not_required",
        FulfilmentStatus::Unfulfilled => "unfulfilled",
        FulfilmentStatus::PartiallyShipped => "partially_shipped",
        FulfilmentStatus::Shipped => "shipped",
        FulfilmentStatus::PartiallyDelivered => "partially_delivered",
        FulfilmentStatus::Delivered => "delivered",
    }
}

const fn return_word(status: OrderReturnStatus) -> &'static str {
    match status {
        OrderReturnStatus::None => "none",
        OrderReturnStatus::Requested => "requested",
        OrderReturnStatus::PartiallyReturned => "partially_returned",
        OrderReturnStatus::Returned => "returned",
    }
}

/// Is it known whether the order holds its stock?
#[must_use]
pub const fn is_decided(stage: Stage) -> bool {
    match stage {
        Stage::Nothing | Stage::Freezing | Stage::Reserving | Stage::Ending(_) => false,
        Stage::Held | Stage::Committing | Stage::Confirmed | Stage::Ended(_) => true,
    }
}
