//! What an order's events are made of, as it is stored.

use super::super::mirror::{Id, MoneyV1, mirror_enum, mirror_struct};
use compact_str::CompactString;
use doorbuster_domain::ids::{Request, Sku, WarehouseId};
use doorbuster_domain::inventory::{Allocation, Price, Reserved};
use doorbuster_domain::order::{
    Address, Buyer, CallKey, CancelReason, Cancelled, CancelledLine, CapturePolicy, CartRefusal, Condition,
    Destination, Head, Instruction, LineUnits, Outcome, PaymentPolicy, Personal, Priced, PricedLine, Receipt,
    RefundCause, RefundStarted, Rejection, ReturnLine, ReturnPolicy, ShipmentStarted, Shipping, Shortage, Source, Step,
    TaxTable, Terms, Trouble, Wanted,
};
use doorbuster_domain::payment::{NextAction, Operation, Retry};
use doorbuster_domain::time::Timestamp;

mirror_struct!(RequestV1 = Request { id: Id, terms: Id });
mirror_struct!(PriceV1 = Price { unit: MoneyV1, was: Option<MoneyV1>, tax_included: bool });
mirror_struct!(AllocationV1 = Allocation { warehouse: WarehouseId, units: u32 });
mirror_struct!(ReservedV1 = Reserved {
    reservation: u64,
    allocations: Vec<AllocationV1>,
    price: PriceV1,
    title: CompactString,
    seller: CompactString,
    tax_class: CompactString,
});

mirror_struct!(WantedV1 = Wanted { sku: Sku, units: u32, expected_unit_price: Option<MoneyV1> });
mirror_enum!(SourceV1 = Source { Cart(Id), Lines(Vec<WantedV1>); });
mirror_struct!(DestinationV1 = Destination { country: CompactString, postal_area: Option<CompactString> });
mirror_struct!(ShippingV1 = Shipping { option: CompactString, price: MoneyV1, tax_included: bool });
mirror_struct!(TaxTableV1 = TaxTable { name: CompactString, rate_ppm: u32, classes: Vec<(CompactString, u32)> });
mirror_enum!(CapturePolicyV1 = CapturePolicy { ; OnConfirmation {}, OnShipment {}, Manual {} });
mirror_struct!(PaymentPolicyV1 = PaymentPolicy {
    provider: CompactString,
    capture: CapturePolicyV1,
    attempts_max: u16,
    keys_life_s: u64,
    query_after_s: u64,
    lapse_margin_s: u64,
    method_hold_s: Vec<(CompactString, u64)>,
});
mirror_struct!(ReturnPolicyV1 = ReturnPolicy { window_days: u32, auto_approve: bool });
mirror_struct!(TermsV1 = Terms {
    currency: doorbuster_domain::money::Currency,
    seller: CompactString,
    owner: CompactString,
    destination: DestinationV1,
    shipping: Option<ShippingV1>,
    tax: TaxTableV1,
    hold_s: u64,
    payment: PaymentPolicyV1,
    returns: ReturnPolicyV1,
    ranking: Vec<WarehouseId>,
    expected_total: Option<MoneyV1>,
    metadata: Vec<(CompactString, CompactString)>,
});
mirror_struct!(InstructionV1 = Instruction {
    method: CompactString,
    token: Option<CompactString>,
    return_url: Option<CompactString>,
    capture: Option<CapturePolicyV1>,
});
mirror_struct!(HeadV1 = Head {
    request: RequestV1,
    source: SourceV1,
    terms: TermsV1,
    payment: Option<InstructionV1>,
    placed_at: Timestamp,
    personal_hash: [u8; 32],
});

mirror_struct!(BuyerV1 = Buyer {
    email: Option<CompactString>,
    name: Option<CompactString>,
    phone: Option<CompactString>,
    locale: Option<CompactString>,
});
mirror_struct!(AddressV1 = Address {
    name: Option<CompactString>,
    company: Option<CompactString>,
    line1: Option<CompactString>,
    line2: Option<CompactString>,
    city: Option<CompactString>,
    region: Option<CompactString>,
    postal_code: Option<CompactString>,
    country: CompactString,
    phone: Option<CompactString>,
    tax_id: Option<CompactString>,
});
mirror_struct!(PersonalV1 = Personal {
    salt: [u8; 16],
    buyer: BuyerV1,
    ship_to: Option<AddressV1>,
    bill_to: Option<AddressV1>,
    note: Option<CompactString>,
});

mirror_struct!(PricedLineV1 = PricedLine { subtotal: i64, rate_ppm: u32, tax: i64, total: i64, shipping_share: i64 });
mirror_struct!(PricedV1 = Priced {
    lines: Vec<PricedLineV1>,
    shipping: i64,
    shipping_tax: i64,
    shipping_total: i64,
    total: i64,
});

mirror_enum!(CartRefusalV1 = CartRefusal {
    ;
    Unknown {},
    Empty {},
    Frozen { order: Id },
    Ordered { order: Id },
    Currency {},
});
mirror_enum!(ShortageV1 = Shortage {
    ;
    SoldOut { available: u64, all_reserved: bool },
    PriceChanged { expected: MoneyV1, now: MoneyV1 },
    Unknown {},
    NotOnSale {},
    NoPrice {},
    LimitExceeded { limit: u32 },
    TooLate {},
});
mirror_enum!(CancelReasonV1 = CancelReason { ; Customer {}, Fraud {}, Stock {}, Declined {}, Staff {}, Other {} });
mirror_enum!(RejectionV1 = Rejection {
    Cart(CartRefusalV1);
    PriceChanged {},
    TotalChanged { expected: MoneyV1, now: MoneyV1 },
    NotForSale {},
    LimitExceeded {},
    Overflow {},
});
mirror_enum!(OutcomeV1 = Outcome {
    Rejected(RejectionV1), Cancelled(CancelReasonV1);
    SoldOut {},
    Expired {},
    PaymentFailed {},
});
mirror_enum!(StepV1 = Step {
    Reserve(u16), Release(u16), Commit(u16), Forget(u16);
    Freeze {},
    Thaw {},
    Close {},
    Ship { shipment: u16, line: u16 },
    Unsell { cancel: u16, line: u16 },
    Restock { number: u16, receipt: u16 },
    ForgetShip { shipment: u16, line: u16 },
    ForgetUnsell { cancel: u16, line: u16 },
    ForgetRestock { number: u16, receipt: u16 },
});
mirror_enum!(OperationV1 = Operation { ; Authorize {}, Capture {}, Void {}, Refund {} });
mirror_struct!(CallV1 = CallKey { operation: OperationV1, payment: u16, attempt: u16 });
mirror_enum!(RetryV1 = Retry { ; SameMethod {}, OtherMethod {}, Never {} });
mirror_struct!(NextActionV1 = NextAction { kind: CompactString, url: Option<CompactString>, expires_at: Timestamp });
mirror_enum!(TroubleV1 = Trouble {
    NotAnswered(CallV1), Conflict(CallV1), StepRefused(StepV1);
    Refused { call: CallV1, code: CompactString },
});

mirror_struct!(LineUnitsV1 = LineUnits { line: u16, units: u32 });
mirror_struct!(CancelledLineV1 = CancelledLine { line: u16, from: Vec<AllocationV1> });
mirror_struct!(CancelledV1 = Cancelled {
    number: u16,
    request: Option<RequestV1>,
    lines: Vec<CancelledLineV1>,
    reason: CancelReasonV1,
    amount: i64,
});
mirror_enum!(RefundCauseV1 = RefundCause { ; Goodwill {}, NotDue {}, Late {} });
mirror_struct!(RefundStartedV1 = RefundStarted {
    number: u16,
    payment: u16,
    amount: i64,
    cause: RefundCauseV1,
    request: Option<RequestV1>,
    lines: Vec<LineUnitsV1>,
    shipping: bool,
    reason: CompactString,
    at: Timestamp,
});
mirror_struct!(ShipmentV1 = ShipmentStarted {
    number: u16,
    request: RequestV1,
    lines: Vec<LineUnitsV1>,
    warehouse: WarehouseId,
    carrier: Option<CompactString>,
    tracking_number: Option<CompactString>,
    tracking_url: Option<CompactString>,
    at: Timestamp,
});
mirror_struct!(ReturnLineV1 = ReturnLine { line: u16, units: u32, reason: CompactString });
mirror_enum!(ConditionV1 = Condition { ; AsNew {}, Used {}, Damaged {} });
mirror_struct!(ReceiptV1 = Receipt {
    receipt: u16,
    line: u16,
    settled: u32,
    to: Vec<AllocationV1>,
    condition: ConditionV1,
    restock: bool,
});
