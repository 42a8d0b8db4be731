//! What a shopper sends, and what the answer means to them.

use super::scan;
use std::io::Write;

/// What is bought.
#[derive(Debug, Clone, Copy)]
pub enum Basket<'a> {
    /// One unit of a SKU.
    One(&'a str),
    /// A cart.
    Cart(&'a str),
}

/// Writes the body of `POST /v1/orders` for the buyer of this number; with a token it is paid in the same request.
pub fn order_body(out: &mut Vec<u8>, basket: Basket<'_>, buyer: u64, token: Option<&str>) {
    let written = match basket {
        Basket::One(sku) => write!(out, r#"{{"lines":[{{"sku":"{sku}","quantity":1}}]"#),
        Basket::Cart(id) => write!(out, r#"{{"cart_id":"{id}""#),
    };
    let written = written.and_then(|()| {
        write!(
            out,
            r#","buyer":{{"email":"buyer{buyer}@crowd.example","name":"Buyer {buyer}"}},"ship_to":{{"name":"Buyer {buyer}","line1":"{buyer} High Street","city":"Leeds","postal_code":"LS1 1AA","country":"GB"}}"#
        )
    });
    let written = written.and_then(|()| match token {
        Some(token) => write!(out, r#","payment":{{"method":"card","token":"{token}","capture":"on_confirmation"}}}}"#),
        None => write!(out, "}}"),
    });
    written.expect("writing into memory does not fail");
}

/// What an answer to a POST of an order means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Paid and confirmed.
    Confirmed,
    /// The stock is held; the rest is open (not paid yet, or the provider has not answered).
    Held,
    /// The stock is held, and the payment was declined: another means may be tried.
    Declined,
    /// There is none left, or not enough.
    SoldOut,
    /// The order ended otherwise: expired, cancelled, payment failed.
    Ended,
    /// A lawful "no" of another kind: price changed, invalid, …
    Refused,
    /// Nothing is settled: the same request with the same key must be sent again.
    Again,
}

/// What an order's status means once it exists.
pub fn of_status(status: &str) -> Verdict {
    match status {
        "placed" | "awaiting_payment" | "authorizing" | "requires_action" => Verdict::Held,
        "sold_out" => Verdict::SoldOut,
        "expired" | "payment_failed" | "cancelled" | "rejected" => Verdict::Ended,
        // After `confirmed` the status is derived from what became of the units: picking, shipped, delivered, …
        _ => Verdict::Confirmed,
    }
}

/// What `status` and `body` of the answer to a POST of an order mean.
pub fn judge(status: u16, body: &[u8]) -> Verdict {
    match status {
        200..=202 => match scan::text(body, "status").map_or(Verdict::Again, of_status) {
            Verdict::Held if has_declined(body) => Verdict::Declined,
            verdict => verdict,
        },
        409 if scan::text(body, "code") == Some("sold_out") => Verdict::SoldOut,
        408 | 429 | 500.. => Verdict::Again,
        _ => Verdict::Refused,
    }
}

/// Is the order back at `awaiting_payment` with a payment that failed?
fn has_declined(body: &[u8]) -> bool {
    scan::text(body, "status") == Some("awaiting_payment")
        && scan::field(body, "payments")
            .is_some_and(|payments| payments.windows(8).any(|window| window == br#""failed""#))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_lawful_json_with_and_without_payment() {
        for token in [None, Some("tok_ok")] {
            let mut body = Vec::new();
            order_body(&mut body, Basket::One("HOT"), 7, token);
            let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(read.pointer("/lines/0/sku").unwrap(), "HOT");
            assert_eq!(read.get("payment").is_some(), token.is_some());
        }
        let mut body = Vec::new();
        order_body(&mut body, Basket::Cart("crt_1"), 7, None);
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&body).unwrap().get("cart_id").unwrap(), "crt_1");
    }

    #[test]
    fn sold_out_is_an_answer_and_overload_is_none() {
        assert_eq!(judge(409, br#"{"status":409,"code":"sold_out"}"#), Verdict::SoldOut);
        assert_eq!(judge(409, br#"{"status":409,"code":"price_changed"}"#), Verdict::Refused);
        assert_eq!(judge(503, br#"{"code":"overloaded"}"#), Verdict::Again);
        assert_eq!(judge(201, br#"{"id":"ord_1","status":"confirmed"}"#), Verdict::Confirmed);
        assert_eq!(judge(201, br#"{"id":"ord_1","status":"sold_out"}"#), Verdict::SoldOut);
    }

    #[test]
    fn a_decline_is_told_from_an_order_nobody_has_paid_yet() {
        assert_eq!(judge(201, br#"{"status":"awaiting_payment","payments":[]}"#), Verdict::Held);
        assert_eq!(judge(201, br#"{"status":"awaiting_payment","payments":[{"status":"failed"}]}"#), Verdict::Declined);
    }
}
