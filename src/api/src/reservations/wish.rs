//! From a body to what the domain is asked: lines summed by SKU, times made instants, warehouses ranked.

use crate::door::Request;
use crate::edge::Whole;
use crate::fingerprint::Fingerprint;
use crate::problem::Problem;
use crate::requests::{ReservationBody, ReservationLineBody};
use crate::seam::Shop;
use compact_str::{CompactString, format_compact};
use doorbuster_domain::ids::{ReservationId, ReservationName, Sku, WarehouseId};
use doorbuster_domain::inventory::{PromiseWish, Units};
use doorbuster_domain::reservation::{self, Made};
use std::collections::BTreeMap;

/// What a body asks for.
pub(super) enum Wanted {
    /// Units of one SKU.
    One(Sku, PromiseWish),
    /// Of several.
    Several(Several),
}

/// What a reservation of several lines is made with.
pub(super) struct Several {
    pub(super) made: Made,
}

/// Reads a body; `owner` is the caller by the name its references are kept under.
pub(super) fn read<S: Shop>(request: &Request<'_, S>, owner: &str, body: ReservationBody) -> Result<Wanted, Problem> {
    let lines = summed(&body.lines, request.api.settings.terms.lines_max)?;
    let id = ReservationId::of_reference(owner, &body.reference.0);
    let buyer_key = body.buyer_key.map(|key| key.0);
    let reference = body.reference.0;
    let mut lines = lines.into_iter();
    match (lines.next(), lines.len()) {
        (Some((sku, units)), 0) => {
            let hold_s = match body.hold_s {
                Some(_) => hold_s(request, body.hold_s, "")?,
                None => own_hold_s(request, sku),
            };
            let expires_at = request.now.plus_s(hold_s);
            Ok(Wanted::One(sku.clone(), PromiseWish { id, reference, units, hold_s, expires_at, buyer_key }))
        }
        (Some(first), _) => {
            let hold_s = hold_s(request, body.hold_s, "")?;
            let lines: Vec<_> = std::iter::once(first).chain(lines).collect();
            let ranking = lines.first().map(|(sku, _)| ranking(request, sku)).unwrap_or_default();
            let lines = lines.into_iter().map(|(sku, units)| reservation::Wanted { sku: sku.clone(), units });
            let mut made = Made {
                id,
                terms: doorbuster_domain::ids::Terms(0),
                owner: owner.into(),
                reference,
                buyer_key,
                lines: lines.collect(),
                ranking,
                hold_s,
                expires_at: request.now.plus_s(hold_s),
            };
            made.terms = mark(&made);
            Ok(Wanted::Several(Several { made }))
        }
        (None, _) => Err(Problem::field("/lines", "out_of_range", "must not be empty")),
    }
}

/// The lines by SKU, in the order of the SKUs; several of one are one.
fn summed(lines: &[ReservationLineBody], most: usize) -> Result<Vec<(&Sku, Units)>, Problem> {
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

/// Seconds that were asked for, within what the shop allows; the shop's own when nothing was said.
pub(super) fn hold_s<S: Shop>(request: &Request<'_, S>, asked: Option<Whole>, pointer: &str) -> Result<u64, Problem> {
    let (usual, most) = request.api.settings.terms.reservation_hold_s;
    let Some(asked) = asked.map(|asked| u64::from(asked.0)) else { return Ok(usual) };
    if (1..=most).contains(&asked) {
        return Ok(asked);
    }
    Err(Problem::field(format!("{pointer}/hold_s"), "out_of_range", format!("must be from 1 to {most}")))
}

/// The SKU's own time if it has one, as last seen.
fn own_hold_s<S: Shop>(request: &Request<'_, S>, sku: &Sku) -> u64 {
    let (usual, most) = request.api.settings.terms.reservation_hold_s;
    let stock = request.api.shop.availability(sku);
    let own = stock.and_then(|stock| stock.levels.as_deref()?.offer.as_ref()?.hold_s);
    own.map_or(usual, |own| own.clamp(1, most))
}

/// The warehouses of a SKU by preference, as an order has them: active ones first, then by the shop's word, then by their own.
pub(super) fn ranking<S: Shop>(request: &Request<'_, S>, sku: &Sku) -> Vec<WarehouseId> {
    let Some(levels) = request.api.shop.availability(sku).and_then(|stock| stock.levels) else { return Vec::new() };
    if levels.levels.len() < 2 {
        return Vec::new();
    }
    let preferred = &request.api.settings.terms.warehouses;
    let mut ranked: Vec<_> = levels
        .levels
        .iter()
        .map(|level| {
            let said = request.api.shop.warehouse(&level.warehouse);
            let inactive = said.as_ref().is_some_and(|details| !details.active);
            let place = preferred.iter().position(|other| *other == level.warehouse).unwrap_or(usize::MAX);
            (inactive, place, said.map_or(0, |details| details.priority), &level.warehouse)
        })
        .collect();
    ranked.sort();
    ranked.into_iter().map(|(.., id)| id.clone()).collect()
}

/// The fingerprint of what several lines ask for. It is journaled, so what it is made of is fixed for ever.
fn mark(made: &Made) -> doorbuster_domain::ids::Terms {
    let mut mark = Fingerprint::default();
    mark.number(made.hold_s).option(made.buyer_key.as_deref());
    mark.number(u64::try_from(made.lines.len()).unwrap_or(u64::MAX));
    for line in &made.lines {
        mark.text(line.sku.as_str()).number(u64::from(line.units));
    }
    mark.terms()
}

/// Where a reservation is found.
pub(super) fn location(name: &ReservationName) -> CompactString {
    let mut path = CompactString::const_new("/v1/reservations/");
    for letter in format_compact!("{name}").chars() {
        // All that a SKU's name may have and a path may not, or not unmistakably.
        match letter {
            ' ' => path.push_str("%20"),
            '+' => path.push_str("%2B"),
            ':' => path.push_str("%3A"),
            letter => path.push(letter),
        }
    }
    path
}
