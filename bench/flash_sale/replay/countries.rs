//! The file's country names as ISO 3166-1 codes; what the table does not know is GB.

const COUNTRIES: &[(&str, &str)] = &[
    ("Australia", "AU"),
    ("Austria", "AT"),
    ("Bahrain", "BH"),
    ("Belgium", "BE"),
    ("Brazil", "BR"),
    ("Canada", "CA"),
    ("Cyprus", "CY"),
    ("Czech Republic", "CZ"),
    ("Denmark", "DK"),
    ("EIRE", "IE"),
    ("Finland", "FI"),
    ("France", "FR"),
    ("Germany", "DE"),
    ("Greece", "GR"),
    ("Hong Kong", "HK"),
    ("Iceland", "IS"),
    ("Israel", "IL"),
    ("Italy", "IT"),
    ("Japan", "JP"),
    ("Lebanon", "LB"),
    ("Lithuania", "LT"),
    ("Malta", "MT"),
    ("Netherlands", "NL"),
    ("Norway", "NO"),
    ("Poland", "PL"),
    ("Portugal", "PT"),
    ("RSA", "ZA"),
    ("Saudi Arabia", "SA"),
    ("Singapore", "SG"),
    ("Spain", "ES"),
    ("Sweden", "SE"),
    ("Switzerland", "CH"),
    ("USA", "US"),
    ("United Arab Emirates", "AE"),
    ("United Kingdom", "GB"),
];

/// The code of a country's name, `None` when the table does not know it (`Channel Islands`, `Unspecified`, …).
pub(crate) fn code(name: &str) -> Option<&'static str> {
    let found = COUNTRIES.binary_search_by(|(known, _)| (*known).cmp(name.trim())).ok()?;
    COUNTRIES.get(found).map(|(_, code)| *code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_its_codes_are_codes() {
        assert!(COUNTRIES.is_sorted_by(|one, two| one.0 < two.0));
        assert!(
            COUNTRIES.iter().all(|(_, code)| code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase()))
        );
    }

    #[test]
    fn a_name_the_table_does_not_know_has_no_code() {
        assert_eq!((code("EIRE"), code("United Kingdom"), code("European Community")), (Some("IE"), Some("GB"), None));
    }
}
