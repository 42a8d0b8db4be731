//! From a body to the domain's command: lines summed by SKU, times made instants, warehouses ranked.

use super::bodies::{ReservationBody, ReservationLineBody};
use crate::core::fingerprint::Fingerprint;
use crate::core::problem::Problem;
use crate::core::request::Request;
use crate::core::service::Shop;
use crate::core::types::Whole;
use compact_str::{CompactString, format_compact};
use doorbuster_actors::view::Stock;
use doorbuster_domain::ids::{RequestFingerprint, ReservationId, ReservationName, Sku, WarehouseId};
use doorbuster_domain::inventory::{ExternalRequest, Units};
use doorbuster_domain::ranking::rank_warehouses;
use doorbuster_domain::reservation::{self, Made};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::collections::BTreeMap;

/// What a body asks for.
pub(super) enum Wanted {
    /// Units of one SKU.
    One(Sku, ExternalRequest),
    /// Units of several.
    Several(Box<Made>),
}

/// Reads a body; `owner` is the principal under which the caller's references are kept.
pub(super) fn read<S: Shop>(request: &Request<'_, S>, owner: &str, body: ReservationBody) -> Result<Wanted, Problem> {
    let lines = units_by_sku(&body.lines, request.shop_settings().lines_max)?;
    let id = ReservationId::of_reference(owner, &body.reference.0);
    let buyer_key = body.buyer_key.map(|key| key.0);
    let reference = body.reference.0;
    let mut lines = lines.into_iter();
    match (lines.next(), lines.len()) {
        (Some((sku, units)), 0) => {
            let hold_s = match body.hold_s {
                Some(_) => hold_s(request, body.hold_s)?,
                None => own_hold_s(request, sku),
            };
            let expires_at = request.now.plus_s(hold_s);
            Ok(Wanted::One(sku.clone(), ExternalRequest { id, reference, units, hold_s, expires_at, buyer_key }))
        }
        (Some(first), _) => {
            let hold_s = hold_s(request, body.hold_s)?;
            let lines: Vec<_> = std::iter::once(first).chain(lines).collect();
            let ranking = lines.first().map(|(sku, _)| ranking(request, sku)).unwrap_or_default();
            let lines = lines.into_iter().map(|(sku, units)| reservation::Wanted { sku: sku.clone(), units });
            let mut made = Box::new(Made {
                id,
                terms: RequestFingerprint(0),
                owner: owner.into(),
                reference,
                buyer_key,
                lines: lines.collect(),
                ranking,
                hold_s,
                expires_at: request.now.plus_s(hold_s),
                seller: None,
            });
            made.terms = fingerprint(&made);
            Ok(Wanted::Several(made))
        }
        (None, _) => Err(Problem::field("/lines", "out_of_range", "must not be empty")),
    }
}

/// The lines by SKU, sorted; several of one SKU are summed.
fn units_by_sku(lines: &[ReservationLineBody], most: usize) -> Result<Vec<(&Sku, Units)>, Problem> {
    if lines.len() > most {
        return Err(Problem::field("/lines", "out_of_range", format!("must be from 1 to {most}")));
    }
    if let [line] = lines {
        return Ok(vec![(&line.sku.0, line.quantity.0)]);
    }
    let mut sums: BTreeMap<&Sku, Units> = BTreeMap::new();
    for (index, line) in lines.iter().enumerate() {
        let sum = sums.entry(&line.sku.0).or_default();
        *sum = sum.checked_add(line.quantity.0).ok_or_else(|| {
            let pointer = format!("/lines/{index}/quantity");
            Problem::field(pointer, "out_of_range", "the lines of this SKU sum to too many units")
        })?;
    }
    Ok(sums.into_iter().collect())
}

/// Seconds for which units are held: as asked, within the shop's bound, or else the shop's default.
pub(super) fn hold_s<S: Shop>(request: &Request<'_, S>, asked: Option<Whole>) -> Result<u64, Problem> {
    let (usual, most) = request.shop_settings().reservation_hold_s;
    let Some(asked) = asked.map(|asked| u64::from(asked.0)) else { return Ok(usual) };
    if (1..=most).contains(&asked) {
        return Ok(asked);
    }
    Err(Problem::field("/hold_s", "out_of_range", format!("must be from 1 to {most}")))
}

/// Seconds for which units of a SKU are held by its own setting, or else by the shop's.
fn own_hold_s<S: Shop>(request: &Request<'_, S>, sku: &Sku) -> u64 {
    let (usual, most) = request.shop_settings().reservation_hold_s;
    let stock = request.context.shop.availability(sku);
    let own = stock.and_then(|stock| stock.levels.as_deref()?.offer.as_ref()?.hold_s);
    own.map_or(usual, |own| own.clamp(1, most))
}

/// The ranking of a SKU's warehouses; empty when there is nothing to rank.
fn ranking<S: Shop>(request: &Request<'_, S>, sku: &Sku) -> Vec<WarehouseId> {
    ranking_of(request, request.context.shop.availability(sku))
}

/// The same, of a SKU with this stock.
pub(super) fn ranking_of<S: Shop>(request: &Request<'_, S>, stock: Option<Stock>) -> Vec<WarehouseId> {
    let shop = &request.context.shop;
    let Some(levels) = stock.and_then(|stock| stock.levels) else { return Vec::new() };
    if levels.levels.len() < 2 {
        return Vec::new();
    }
    // Each warehouse has zero units, so the shop's list and the sellers' priorities decide.
    let lines = [(0, levels.levels.as_slice())];
    rank_warehouses(lines, &request.shop_settings().warehouses, |id| shop.warehouse(id))
}

/// The fingerprint of a reservation of several lines. It is journaled, so its definition is fixed for ever.
fn fingerprint(made: &Made) -> RequestFingerprint {
    let mut fingerprint = Fingerprint::default();
    fingerprint.number(made.hold_s).option(made.buyer_key.as_deref());
    fingerprint.number(u64::try_from(made.lines.len()).unwrap_or(u64::MAX));
    for line in &made.lines {
        fingerprint.text(line.sku.as_str()).number(u64::from(line.units));
    }
    fingerprint.terms()
}

/// What is escaped in a segment of a path: all that RFC 3986 does not leave unreserved.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The path of a reservation.
pub(super) fn location(name: &ReservationName) -> CompactString {
    format_compact!("/v1/reservations/{}", utf8_percent_encode(&format_compact!("{name}"), ESCAPED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_escapes_what_a_path_may_not_have() {
        let name = ReservationName { id: ReservationId(0), sku: Some(Sku::parse("A b+c:d-e.f_g").unwrap()) };
        let path = location(&name);
        assert!(path.ends_with("~A%20b%2Bc%3Ad-e.f_g"), "{path}");
    }
}
