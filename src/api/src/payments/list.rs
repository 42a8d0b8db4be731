//! `GET /v1/payments`: the attempts to pay, newest first, for the account that runs the shop; `status=unknown` are those that must be settled.

use super::views::{PaymentView, payment_word};
use crate::core::problem::Problem;
use crate::core::reply::Reply;
use crate::core::request::Request;
use crate::core::service::Shop;
use crate::core::view::At;
use crate::orders::parts::{Kind, parts};
use doorbuster_projections::orders::Part;
use schemars::JsonSchema;
use serde::Serialize;

/// A page of payments.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PaymentList")]
pub(super) struct PaymentListView<'a> {
    data: Vec<PaymentView<'a>>,
    next_cursor: Option<String>,
    /// Everything that was acknowledged before this moment is in.
    as_of: At,
}

const KIND: Kind = Kind {
    part: Part::Payment,
    schema: "Payment",
    cursor: "pay1:",
    status: |order, sight, number, now| {
        let payment = order.payment(number).filter(|_| sight.group.is_none())?;
        Some(payment_word(payment.status(now)))
    },
};

pub(super) async fn list<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let page = parts(&request, KIND).await?;
    let now = request.now;
    let data = page.views(|order, _sight, number| Some(PaymentView::new(order, order.payment(number)?, now)));
    let view = PaymentListView { data, next_cursor: page.next_cursor.clone(), as_of: At(page.as_of) };
    Ok(Reply::json(200, &view).private())
}
