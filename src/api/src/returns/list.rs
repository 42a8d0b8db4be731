//! `GET /v1/returns`: the returns that the caller's account sees, newest first.

use super::views::{ReturnView, return_word};
use crate::core::problem::Problem;
use crate::core::reply::Reply;
use crate::core::request::Request;
use crate::core::service::Shop;
use crate::orders::parts::{Kind, parts};
use doorbuster_projections::orders::Part;

const KIND: Kind = Kind {
    part: Part::Return,
    schema: "Return",
    cursor: "ret1:",
    status: |order, sight, number, _now| {
        let one = order.return_(number).filter(|one| sight.has_return(one))?;
        Some(return_word(one.status))
    },
};

pub(super) async fn list<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let page = parts(&request, KIND).await?;
    Ok(page.answer(|order, sight, number| Some(ReturnView::new(order, order.return_(number)?, sight))))
}
