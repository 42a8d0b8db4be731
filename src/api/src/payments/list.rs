//! `GET /v1/payments`: the attempts to pay, newest first, for the account that runs the shop; `status=unknown` are those that must be settled.

use super::views::{PaymentView, payment_word};
use crate::core::problem::Problem;
use crate::core::reply::Reply;
use crate::core::request::Request;
use crate::core::service::Shop;
use crate::orders::parts::{Kind, parts};
use doorbuster_projections::orders::Part;

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
    Ok(page.answer(|order, _sight, number| Some(PaymentView::new(order, order.payment(number)?, now))))
}
