//! Every JSON body that somebody may send us: requests, and what a payment provider says.
//!
//! The first byte says which type the rest is read as.

use doorbuster_api::carts::{CartBody, CartLineBody};
use doorbuster_api::core::types::EmptyBody;
use doorbuster_api::inventory::{AdjustmentBody, CountBody, ReceiptBody};
use doorbuster_api::json;
use doorbuster_api::operator::{MoveBody, SettleBody};
use doorbuster_api::orders::{CancelBody, OrderBody, OrderPatchBody, PaymentBody};
use doorbuster_api::payments::{CaptureBody, RefundBody};
use doorbuster_api::problem::Problem;
use doorbuster_api::products::ProductBody;
use doorbuster_api::returns::{ReceiveBody, RejectBody, ReturnBody};
use doorbuster_api::shipments::ShipmentBody;
use doorbuster_api::warehouses::WarehouseBody;
use doorbuster_payments::wire as provider;
use serde_json::Value;

/// A reader of one type; it says what is wrong, if something is.
type Read = fn(&[u8]) -> Option<Problem>;

macro_rules! types {
    ($($name:ty),+ $(,)?) => { &[$(|bytes| json::read::<$name>(bytes).err()),+] };
}

const TYPES: &[Read] = types![
    ProductBody,
    WarehouseBody,
    ReceiptBody,
    AdjustmentBody,
    CountBody,
    CartBody,
    CartLineBody,
    OrderBody,
    OrderPatchBody,
    CancelBody,
    RefundBody,
    CaptureBody,
    PaymentBody,
    ShipmentBody,
    ReturnBody,
    RejectBody,
    ReceiveBody,
    EmptyBody,
    MoveBody,
    SettleBody,
];

/// Any bytes are read or refused: as what they are, with places that are there, and with no more than can be told.
pub fn check(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let tree = json::read_tree(bytes);
    match TYPES.get(usize::from(*first)) {
        Some(read) => {
            if let Some(problem) = read(bytes) {
                is_told(&problem, tree.as_ref().ok());
            } else {
                // Whatever one type takes is JSON, each key once: the fingerprint of a body is made from its tree.
                assert!(tree.is_ok(), "taken, but no tree: {tree:?}");
            }
        }
        None => from_a_provider(bytes),
    }
}

fn is_told(problem: &Problem, tree: Option<&Value>) {
    let status = problem.code().status_number();
    assert!(matches!(status, 400 | 422), "{problem:?}");
    let told: Value = serde_json::from_slice(&problem.to_json()).expect("a problem is JSON");
    let errors = told["errors"].as_array().expect("a list");
    assert!(errors.len() <= 20);
    assert_eq!(errors.is_empty(), status == 400, "{told}");
    let Some(tree) = tree else { return };
    for error in errors {
        let (pointer, code) = (error["pointer"].as_str().expect("a place"), error["code"].as_str().expect("a word"));
        assert!(code == "missing_field" || tree.pointer(pointer).is_some(), "{pointer} is nowhere in {tree}");
    }
}

fn from_a_provider(bytes: &[u8]) {
    if let Ok(form) = serde_json::from_slice::<provider::AnsweredForm>(bytes) {
        let answer = doorbuster_domain::payment::ProviderAnswer::from(form.answer.clone());
        assert_eq!(provider::AnswerForm::from(&answer), form.answer);
        if let Some(report) = form.read() {
            assert_eq!(provider::AnsweredForm::from(&report).read(), Some(report));
        }
    }
    if let Ok(form) = serde_json::from_slice::<provider::CallForm>(bytes)
        && let Some(call) = form.read()
    {
        assert_eq!(provider::CallForm::from(&call).read(), Some(call));
    }
    if let Ok(form) = serde_json::from_slice::<provider::LineForm>(bytes) {
        let number = form.number;
        if let Some(line) = form.read() {
            assert_eq!(provider::LineForm::new(number, &line).read(), Some(line));
        }
    }
}
