//! The form of a record: its bytes, what comes apart and together again, and that damage is refused.

use super::*;
use compact_str::CompactString;
use doorbuster_domain::ids::{OrderId, Sku};
use proptest::prelude::*;

fn two_events_one_of_them_personal() -> (Head, Bytes) {
    let head = Head {
        entity: EntityId::Order(OrderId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0000)),
        number: 7,
        at: Timestamp(0x1122_3344),
        by: By::Guest(CompactString::new("gst_1")),
        events: 2,
    };
    let mut parts = [(b"first".as_slice(), Some(b"Ada".to_vec())), (b"second".as_slice(), None)].into_iter();
    let body = assemble(&head, 3, |facts| {
        let (fact, personal) = parts.next().unwrap();
        facts.extend_from_slice(fact);
        personal
    });
    (head, body)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is written once is readable for ever: these bytes never change.
#[test]
fn form_2_is_these_bytes() {
    let (_, body) = two_events_one_of_them_personal();
    let expected = [
        "02",
        "03 0102030405060708090a0b0c0d0e0000",
        "85 07 44 11223344 82 03 65 6773745f31 03 02",
        "5805 6669727374 01",
        "5806 7365636f6e64 00",
        "5803 416461",
    ];
    assert_eq!(hex(&body), expected.join("").replace(' ', ""));
}

#[test]
fn form_2_names_a_sku_by_these_bytes() {
    let entity = EntityId::Inventory(Sku::parse("A-1").unwrap());
    let head = Head { entity, number: 1, at: Timestamp(2), by: By::System, events: 0 };
    let body = assemble(&head, 1, |_facts| None);
    assert_eq!(hex(&body), "02 01 412d31 00 85 01 41 02 81 00 01 00".replace(' ', ""));
}

#[test]
fn a_head_reads_back_whoever_did_it() {
    let (head, body) = two_events_one_of_them_personal();
    assert_eq!(super::head(&body), Ok(head.clone()));
    let id = || CompactString::new("x");
    for by in [
        By::System,
        By::Seller(id()),
        By::Shopper(id()),
        By::Guest(id()),
        By::Provider(CompactString::default()),
        By::Operator,
    ] {
        let head = Head { by, events: 0, ..head.clone() };
        assert_eq!(super::head(&assemble(&head, 1, |_facts| None)), Ok(head));
    }
}

#[test]
fn facts_stay_where_they_were_when_personal_data_is_taken_out_and_put_back() {
    let (head, body) = two_events_one_of_them_personal();
    let (facts, personal) = split_personal(&body).unwrap();
    let personal = personal.unwrap();
    assert!(!facts.windows(3).any(|window| window == b"Ada"));
    assert_eq!(super::head(&facts), Ok(head));
    assert_eq!(join_personal(&facts, &personal), Ok(body.clone()));
    assert_eq!(split_personal(&facts), Ok((facts.clone(), None)), "there is nothing left to take out");
    assert!(join_personal(&body, &personal).is_err(), "it was never taken out");
    assert!(join_personal(&facts, &[]).is_err(), "it is not the personal data of this record");
    assert_eq!((lacks_personal(&facts), lacks_personal(&body)), (Ok(true), Ok(false)));
    let mut taken = b"before".to_vec();
    assert_eq!(take_apart(&body, &mut taken).unwrap().1, personal);
    assert_eq!(taken.strip_prefix(b"before"), Some(facts.as_ref()));
}

#[test]
fn a_record_without_personal_data_is_its_own_facts() {
    let (head, _) = two_events_one_of_them_personal();
    let body = assemble(&head, 1, |facts| {
        facts.push(1);
        None
    });
    assert_eq!(split_personal(&body), Ok((body.clone(), None)));
    assert_eq!(lacks_personal(&body), Ok(false));
}

#[test]
fn a_record_reaches_up_to_its_last_number() {
    let (head, body) = two_events_one_of_them_personal();
    let reached = [0, 7, 8, 9].map(|from| reaches(&body, &head.entity, from).unwrap());
    assert_eq!(reached, [true, true, true, false]);
    assert_eq!(reaches(&body, &EntityId::Order(OrderId(0)), 0), Ok(false));
}

#[test]
fn another_form_is_named_as_such() {
    for form in [1, 3] {
        assert_eq!(decode(&[form]), Err(WireError::Version { what: WHAT, version: u16::from(form) }));
    }
}

/// Every way in which a body can be read; none may panic.
fn read_every_way(body: &Bytes) -> bool {
    let entity = EntityId::Order(OrderId(0));
    let _joined = join_personal(body, &[1, 2, 3]);
    let _reached = reaches(body, &entity, 1);
    let _head = head(body);
    let _decoded = decode(body);
    let _lacks = lacks_personal(body);
    split_personal(body).is_ok()
}

#[test]
fn a_body_cut_anywhere_is_refused() {
    let (_, body) = two_events_one_of_them_personal();
    assert!(read_every_way(&body));
    for length in 0..body.len() {
        assert!(!read_every_way(&body.slice(..length)), "cut at {length}");
    }
    let mut longer = body.to_vec();
    longer.push(0);
    assert!(!read_every_way(&Bytes::from(longer)));
}

proptest! {
    #[test]
    fn random_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let mut bytes = bytes;
        read_every_way(&Bytes::from(bytes.clone()));
        bytes.insert(0, FORM);
        read_every_way(&Bytes::from(bytes));
    }

    #[test]
    fn damaged_bytes_are_read_or_refused(at in 0..84_usize, byte: u8) {
        let mut body = two_events_one_of_them_personal().1.to_vec();
        let at = at % body.len();
        body[at] = byte;
        read_every_way(&Bytes::from(body));
    }

    #[test]
    fn whatever_is_assembled_comes_apart_again(
        parts in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..40), proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40))), 0..6),
    ) {
        let events = u32::try_from(parts.len()).unwrap();
        let head = Head { events, ..two_events_one_of_them_personal().0 };
        let mut left = parts.iter();
        let body = assemble(&head, 1, |facts| {
            let (fact, personal) = left.next().unwrap();
            facts.extend_from_slice(fact);
            personal.clone()
        });
        let (facts, personal) = split_personal(&body).unwrap();
        prop_assert_eq!(personal.is_some(), parts.iter().any(|(_, personal)| personal.is_some()));
        prop_assert_eq!(join_personal(&facts, &personal.unwrap_or_default()).unwrap(), body);
    }
}
