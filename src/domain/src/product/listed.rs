//! What a product knows of each of its SKUs.
//!
//! Stored as a list, in the order of the SKUs: each names its own.

use super::details::Variant;
use crate::codec::encode::{Write, Written};
use crate::codec::{self as minicbor, Decode, Decoder, Encode, Encoder, shared};
use crate::ids::{ProductId, Sku};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a product knows of one of its SKUs.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct Listed {
    /// Its number within the product, from 0, in order of appearance: names the push to it.
    #[n(0)]
    pub(super) number: u32,
    /// The variant as it was last put.
    #[cbor(n(1), with = "shared")]
    pub(super) variant: Arc<Variant>,
    /// Is it in the newest PUT? If not, it is archived.
    #[n(2)]
    pub(super) listed: bool,
    /// Newest revision that the SKU has answered; 0: none.
    #[n(3)]
    pub(super) told: u64,
    /// The product it belongs to, when that is not this one.
    #[n(4)]
    pub(super) belongs_to: Option<ProductId>,
}

/// Appends the list.
pub(super) fn encode<C, W: Write>(skus: &BTreeMap<Sku, Listed>, to: &mut Encoder<W>, context: &mut C) -> Written<W> {
    to.list(skus.len())?;
    skus.values().try_for_each(|known| known.encode(to, context))
}

/// Takes the list from the front.
pub(super) fn decode<C>(
    from: &mut Decoder<'_>,
    context: &mut C,
) -> Result<BTreeMap<Sku, Listed>, minicbor::decode::Error> {
    let known: Vec<Listed> = Decode::decode(from, context)?;
    Ok(known.into_iter().map(|known| (known.variant.sku.clone(), known)).collect())
}
