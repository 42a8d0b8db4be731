//! An order of several sellers: what each of them sees of it and does with it, and whose goods are whose (rule P4).

use crate::owners::{Busy, LACKING, OTHER, PRODUCT, SELLER, SELLER_LACKING, Thing, text};
use serde_json::{Value, json};

/// What a seller is shown of a mixed order: its lines and their shares, and nothing of the rest.
#[tokio::test]
async fn a_seller_sees_its_own_lines_and_where_to_send_them() {
    let busy = Busy::open().await;
    let subject = busy.subject(Thing::Order).await;
    let path = format!("/v1/orders/{}", subject.id);
    let whole = busy.server.seller().get(&path).await.body;
    let seller = busy.server.anyone().bearer(SELLER);
    let own = seller.get(&path).await.body;
    assert_eq!(own["lines"].as_array().map(Vec::len), Some(1), "{own}");
    assert_eq!((&own["lines"][0]["sku"], &own["lines"][0]["id"]), (&json!("B"), &json!("2")));
    for hidden in ["buyer", "bill_to", "note", "order_token", "last_error"] {
        assert_eq!(own[hidden], Value::Null, "{hidden}");
    }
    assert_eq!(own["payments"], json!([]));
    assert_eq!(own["ship_to"]["line1"], "1 High St", "it ships from its own warehouse");
    // 2 × 3.33, and what falls to them of the delivery.
    assert_eq!(own["totals"]["subtotal"]["amount"], 666);
    let share = own["totals"]["shipping"]["amount"].as_i64().expect("an amount");
    assert!((0..499).contains(&share) && own["shipping"]["price"]["amount"] == share, "{own}");
    for total in ["total", "due", "captured", "refundable"] {
        assert_eq!(own["totals"][total]["amount"], 666 + share, "{total}");
    }
    assert_eq!(own["allowed"], json!(["cancel", "ship", "refund"]));
    for shown in ["buyer", "ship_to", "payments"] {
        assert_ne!(whole[shown], Value::Null, "{shown}");
    }
    assert_eq!(whole["order_token"], Value::Null, "it is shown to who placed it, once");

    // The platform keeps the seller's goods: it sends them, and needs no address of the seller.
    let receipt = json!({ "warehouse": "lon1", "units": 5 });
    let lon1 = busy.server.seller().post("/v1/inventory/B/receipts", Some("moved"), Some(&receipt)).await;
    assert_eq!(lon1.status, 201, "the platform books in its warehouses what it keeps: {lon1:?}");
    // Two are sold, and not sent yet.
    let all = json!({ "warehouse": "wb", "counted": 2 });
    let two = json!({ "warehouse": "lon1", "units": 1 });
    assert_eq!(seller.post("/v1/inventory/B/receipts", Some("not"), Some(&two)).await.status, 422, "no such warehouse");
    let in_the_way = seller.post("/v1/inventory/B/counts", Some("none"), Some(&all)).await;
    assert_eq!(in_the_way.status, 201, "{in_the_way:?}");
    let kept = busy.subject(Thing::Order).await;
    let kept = seller.get(&format!("/v1/orders/{}", kept.id)).await.body;
    assert_eq!((&kept["lines"][0]["allocations"][0]["warehouse"], &kept["ship_to"]), (&json!("lon1"), &Value::Null));
}

/// Without the scope `personal` a key sees who bought nowhere.
#[tokio::test]
async fn personal_data_needs_its_scope() {
    let busy = Busy::open().await;
    let subject = busy.subject(Thing::Order).await;
    let path = format!("/v1/orders/{}", subject.id);
    let [.., no_personal] = LACKING;
    let [.., seller_no_personal] = SELLER_LACKING;
    for key in [no_personal, seller_no_personal] {
        let order = busy.server.anyone().bearer(key).get(&path).await.body;
        for hidden in ["buyer", "ship_to", "bill_to", "note"] {
            assert_eq!(order[hidden], Value::Null, "{hidden}");
        }
        assert_eq!(order["lines"][0]["granted"], json!(if key == no_personal { 1 } else { 2 }));
    }
}

/// A seller acts on its own lines, whatever it names, and keeps its own notes.
#[tokio::test]
async fn a_seller_cancels_ships_refunds_and_takes_back_its_own_lines_only() {
    let busy = Busy::open().await;
    let (platform, seller) = (busy.server.seller(), busy.server.anyone().bearer(SELLER));
    let subject = busy.subject(Thing::Order).await;
    let path = format!("/v1/orders/{}", subject.id);
    let named = json!({ "lines": [{ "line": "1", "quantity": 1 }], "reason": "other" });
    for (method, body) in [
        ("cancel", named.clone()),
        ("shipments", json!({ "lines": [{ "line": "1", "quantity": 1 }] })),
        ("refunds", json!({ "lines": [{ "line": "1", "quantity": 1 }], "reason": "sorry" })),
        ("returns", json!({ "lines": [{ "line": "1", "quantity": 1 }] })),
    ] {
        let answer = seller.post(&format!("{path}/{method}"), Some(&busy.key()), Some(&body)).await;
        assert_eq!((answer.status, answer.code()), (404, "not_found"), "{method}: {answer:?}");
    }
    // More than its share: refused, as is all of it twice.
    let too_much = json!({ "amount": { "amount": 2_000, "currency": "GBP" }, "reason": "sorry" });
    let refused = seller.post(&format!("{path}/refunds"), Some("r1"), Some(&too_much)).await;
    assert_eq!((refused.status, refused.code()), (422, "refund_too_large"), "{refused:?}");
    let share = refused.body["refundable"]["amount"].as_i64().expect("an amount");
    let half = json!({ "amount": { "amount": 300, "currency": "GBP" }, "reason": "sorry" });
    let refund = seller.post(&format!("{path}/refunds"), Some("r2"), Some(&half)).await;
    assert_eq!((refund.status, &refund.body["payment"]), (201, &Value::Null), "{refund:?}");
    assert_eq!(seller.post(&format!("{path}/refunds"), Some("r2"), Some(&half)).await.body["id"], refund.body["id"]);
    let rest = seller.get(&path).await.body["totals"]["refundable"]["amount"].as_i64();
    assert_eq!(rest, Some(share - 300));
    let everything = seller.post(&format!("{path}/refunds"), Some("r3"), Some(&json!({ "reason": "sorry" }))).await;
    assert_eq!(everything.body["amount"]["amount"].as_i64(), rest, "{everything:?}");
    let whole = platform.get(&path).await.body;
    assert_eq!(whole["totals"]["refundable"]["amount"], 12_999 + 499 + 666 - share, "{whole}");
    assert_eq!(whole["lines"][0]["refunded"]["amount"], 0);

    // "Everything" is everything of its own.
    let subject = busy.subject(Thing::Order).await;
    let path = format!("/v1/orders/{}", subject.id);
    let parcel = seller.post(&format!("{path}/shipments"), Some("s"), None).await;
    assert_eq!(parcel.body["lines"], json!([{ "line": "2", "quantity": 2 }]), "{parcel:?}");
    let again = seller.post(&format!("{path}/shipments"), Some("s"), None).await;
    assert_eq!(again.body["id"], parcel.body["id"]);
    let nothing_left = seller.post(&format!("{path}/shipments"), Some("s2"), None).await;
    assert_eq!((nothing_left.status, nothing_left.code()), (409, "wrong_state"), "{nothing_left:?}");
    let subject = busy.subject(Thing::Order).await;
    let path = format!("/v1/orders/{}", subject.id);
    let cancelled = seller.post(&format!("{path}/cancel"), Some("c"), None).await;
    assert_eq!(cancelled.body["lines"][0]["cancelled"], 2, "{cancelled:?}");
    let whole = platform.get(&path).await.body;
    assert_eq!((&whole["lines"][0]["cancelled"], &whole["lines"][1]["cancelled"]), (&json!(0), &json!(2)));

    // Its notes are its own; the platform's are the order's.
    let mine = json!({ "metadata": { "bin": "7" }, "external_id": "b-1" });
    let noted = seller.patch(&path, &mine).await;
    assert_eq!((&noted.body["metadata"], &noted.body["external_id"]), (&json!({ "bin": "7" }), &json!("b-1")));
    let shop = platform.get(&path).await.body;
    assert_eq!((&shop["metadata"], &shop["external_id"]), (&json!({}), &Value::Null));
    let again = seller.patch(&path, &json!({ "metadata": {} })).await.body;
    assert_eq!((&again["metadata"], &again["external_id"]), (&json!({}), &json!("b-1")), "the id stays");
    assert_eq!(platform.patch(&path, &json!({ "external_id": "p" })).await.status, 422);
    assert_eq!(seller.patch(&path, &json!({ "note": "x" })).await.status, 404, "the note is the buyer's");
}

/// A parcel or a return with lines of two sellers is the platform's to decide; each seller sees its own part.
#[tokio::test]
async fn what_two_sellers_share_neither_decides() {
    let busy = Busy::open().await;
    let (platform, seller) = (busy.server.seller(), busy.server.anyone().bearer(SELLER));
    let moved = json!({ "warehouse": "lon1", "units": 10 });
    assert_eq!(platform.post("/v1/inventory/B/receipts", Some("m"), Some(&moved)).await.status, 201);
    let none = json!({ "warehouse": "wb", "counted": 0 });
    assert_eq!(seller.post("/v1/inventory/B/counts", Some("n"), Some(&none)).await.status, 201);
    let subject = busy.subject(Thing::Order).await;
    let path = format!("/v1/orders/{}", subject.id);
    let parcel = platform.post(&format!("{path}/shipments"), Some("s"), None).await;
    assert_eq!(parcel.body["lines"].as_array().map(Vec::len), Some(2), "{parcel:?}");
    let parcel = format!("/v1/shipments/{}", text(&parcel.body["id"]));
    assert_eq!(seller.get(&parcel).await.body["lines"], json!([{ "line": "2", "quantity": 2 }]));
    for end in ["deliver", "lose"] {
        assert_eq!(seller.post(&format!("{parcel}/{end}"), Some(end), None).await.status, 404);
    }
    let both = json!({ "lines": [{ "line": "1", "quantity": 1 }, { "line": "2", "quantity": 1 }] });
    assert_eq!(seller.post(&format!("{path}/returns"), Some("t"), Some(&both)).await.status, 404);
    let back = busy.buyer.post(&format!("{path}/returns"), Some("t"), Some(&both)).await;
    assert_eq!(back.status, 201, "{back:?}");
    let back = format!("/v1/returns/{}", text(&back.body["id"]));
    let seen = seller.get(&back).await.body;
    assert_eq!((seen["lines"].as_array().map(Vec::len), &seen["refund"]), (Some(1), &Value::Null));
    assert_eq!(seller.post(&format!("{back}/reject"), Some("j"), Some(&json!({ "reason": "no" }))).await.status, 404);
}

/// A taken name is refused without telling whose it is; the platform changes a seller's goods without taking them.
#[tokio::test]
async fn a_name_belongs_to_who_took_it_first() {
    let busy = Busy::open().await;
    let (platform, other) = (busy.server.seller(), busy.server.anyone().bearer(OTHER));
    let theirs: Value = serde_json::from_str(PRODUCT).expect("it is JSON");
    let taken = other.put("/v1/products/pc", &theirs).await;
    assert_eq!((taken.status, taken.code()), (409, "name_taken"), "a SKU is a name too: {taken:?}");
    // The id of the request is chance, and may be any letters.
    let told = taken.text.replace(&text(&taken.body["instance"]), "");
    assert!(!told.contains("pb") && !told.contains("sel_b"), "{taken:?}");
    let changed = platform.put("/v1/products/pb", &json!({ "title": "Better", "skus": theirs["skus"] })).await;
    assert_eq!((&changed.body["title"], &changed.body["seller"]), (&json!("Better"), &json!("sel_b")));
    let closed = json!({ "name": "B", "country": "GB", "active": false });
    assert_eq!(platform.put("/v1/warehouses/wb", &closed).await.status, 200);
    let seller = busy.server.anyone().bearer(SELLER);
    assert_eq!(seller.get("/v1/warehouses/wb").await.body["active"], false, "it is the seller's as before");
    // A draft is seen by its seller and the platform.
    let draft = json!({ "title": "New", "status": "draft", "skus": theirs["skus"] });
    assert_eq!(seller.put("/v1/products/pb", &draft).await.status, 200);
    let seen = [&seller, &platform, &other, &busy.buyer, &busy.server.anyone()];
    for (client, status) in seen.into_iter().zip([200, 200, 404, 404, 404]) {
        assert_eq!(client.get("/v1/products/pb").await.status, status);
    }
}

/// A reservation without an order takes units without paying for them: only who owns the SKU may make one, of several lines too.
#[tokio::test]
async fn nobody_reserves_anothers_units_without_an_order() {
    let busy = Busy::open().await;
    let seller = busy.server.anyone().bearer(SELLER);
    let both = json!([{ "sku": "A", "quantity": 1 }, { "sku": "B", "quantity": 1 }]);
    let several = seller.post("/v1/reservations", None, Some(&json!({ "reference": "r", "lines": both }))).await;
    assert!((400..500).contains(&several.status), "{several:?}");
    let stock = busy.server.seller().get("/v1/inventory/A").await.body;
    assert_eq!(stock["levels"][0]["reserved"], 1, "the other guest's order, and nothing else: {stock}");
    let of_platform = json!({ "reference": "p", "lines": both });
    assert_eq!(busy.server.seller().post("/v1/reservations", None, Some(&of_platform)).await.status, 201);
}
