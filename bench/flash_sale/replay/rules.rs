//! What a row of the file is: the rules of the replay, as functions of texts.
//!
//! A *sale* row has an invoice without `C`, a quantity above 0 and at least one penny. A *cancellation* row has an invoice with `C`, a
//! quantity below 0 and at least one penny. Every other row is skipped, with its reason.

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Units sold.
    Sale(u64),
    /// Units of an earlier sale coming back.
    Cancellation(u64),
    /// Neither, because.
    Skipped(&'static str),
}

/// Which of the three a row is, from its invoice number, quantity and pence.
pub(crate) fn kind(invoice: &str, quantity: i64, pence: i64) -> Kind {
    let cancels = invoice.starts_with('C');
    if pence < 0 {
        return Kind::Skipped("price below zero");
    }
    if pence == 0 {
        return Kind::Skipped(if quantity > 0 { "no price" } else { "no price, and units taken off" });
    }
    match (cancels, quantity.signum()) {
        (_, 0) => Kind::Skipped("quantity of zero"),
        (false, 1) => Kind::Sale(quantity.unsigned_abs()),
        (true, -1) => Kind::Cancellation(quantity.unsigned_abs()),
        (false, _) => Kind::Skipped("negative quantity without a cancellation"),
        (true, _) => Kind::Skipped("cancellation of a positive quantity"),
    }
}

/// Pounds with any number of decimals as pence, half up (away from zero for a negative price); `None` when it is no number.
///
/// No floats: the first two decimals are the pence, the third decides.
pub(crate) fn pence(text: &str) -> Option<i64> {
    let text = text.trim();
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (pounds, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    if pounds.is_empty() && decimals.is_empty()
        || !decimals.bytes().chain(pounds.bytes()).all(|byte| byte.is_ascii_digit())
    {
        return None;
    }
    let digit = |place: usize| decimals.as_bytes().get(place).map_or(0, |byte| i64::from(byte - b'0'));
    let pounds: i64 = if pounds.is_empty() { 0 } else { pounds.parse().ok()? };
    let up = i64::from(digit(2) >= 5);
    let pence = pounds.checked_mul(100)?.checked_add(digit(0) * 10 + digit(1) + up)?;
    Some(if negative { -pence } else { pence })
}

/// The stock code, upper case and trimmed, as far as an id may hold it.
///
/// An id is of `[A-Za-z0-9 ._~:+-]`. Letters, digits, space, `.`, `_`, `:`, `+` and `-` stand for themselves; any other byte, and `~`
/// itself, is `~` and two hexadecimal digits. So no two codes become one, and nothing needs percent signs before the path does.
pub(crate) fn stock_code(text: &str) -> String {
    let mut out = String::new();
    for byte in text.trim().to_uppercase().bytes() {
        if byte.is_ascii_alphanumeric() || b" ._:+-".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("~{byte:02X}"));
        }
    }
    out
}

/// A SKU: the stock code joined with `-` and the pence, so a price tier is its own SKU. `None`: no lawful id comes of it.
pub(crate) fn sku(code: &str, pence: u64) -> Option<String> {
    let sku = format!("{}-{pence}", stock_code(code));
    doorbuster_domain::ids::Sku::parse(&sku).ok().map(|_lawful| sku)
}

/// The customer of a row, printed like `17850.0`; `None` for a guest.
pub(crate) fn customer(text: &str) -> Option<String> {
    let text = text.trim();
    let digits = text.strip_suffix(".0").unwrap_or(text);
    (!digits.is_empty()).then(|| digits.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pence_are_rounded_half_up_without_floats() {
        let all = ["2.55", "0.001", "0.005", "1.245", "1.2449", "3", "0.0", "649.5", "-0.005", ".5"].map(pence);
        assert_eq!(all, [255, 0, 1, 125, 124, 300, 0, 64950, -1, 50].map(Some));
        for bad in ["", "-", ".", "1e3", "1,5", "x", "1.2.3", "99999999999999999999"] {
            assert_eq!(pence(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_row_is_a_sale_a_cancellation_or_skipped_with_its_reason() {
        assert_eq!(kind("536365", 6, 255), Kind::Sale(6));
        assert_eq!(kind("C536379", -1, 2750), Kind::Cancellation(1));
        assert_eq!(kind("536414", 56, 0), Kind::Skipped("no price"));
        assert_eq!(kind("536589", -10, 0), Kind::Skipped("no price, and units taken off"));
        assert_eq!(kind("536589", -10, 5), Kind::Skipped("negative quantity without a cancellation"));
        assert_eq!(kind("C536589", 10, 5), Kind::Skipped("cancellation of a positive quantity"));
        assert_eq!(kind("536589", 0, 5), Kind::Skipped("quantity of zero"));
        assert_eq!(kind("A563186", 1, -1_106_206), Kind::Skipped("price below zero"));
    }

    #[test]
    fn a_price_tier_is_its_own_sku() {
        assert_eq!(sku(" 85123a ", 255).as_deref(), Some("85123A-255"));
        assert_ne!(sku("85123A", 255), sku("85123A", 295));
        assert_eq!(sku("BANK CHARGES", 1500).as_deref(), Some("BANK CHARGES-1500"));
        assert_eq!(sku("gift_0001_20", 2000).as_deref(), Some("GIFT_0001_20-2000"));
    }

    #[test]
    fn a_code_with_other_characters_stays_lawful_and_distinct() {
        assert_eq!(stock_code("a/b"), "A~2FB");
        assert_ne!(stock_code("~2F"), stock_code("/"));
        assert_eq!(sku("£5", 100).as_deref(), Some("~C2~A35-100"));
        assert_eq!(sku(&"x".repeat(70), 1), None);
    }

    #[test]
    fn a_customer_is_printed_like_a_float_and_a_guest_is_empty() {
        assert_eq!(customer("17850.0").as_deref(), Some("17850"));
        assert_eq!((customer(""), customer(" ")), (None, None));
    }
}
