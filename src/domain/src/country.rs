//! Countries: the codes of ISO 3166-1 alpha-2 that are assigned.

/// The assigned codes, in their order.
const CODES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ \
CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG \
GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ \
LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR \
NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ \
TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";

/// The codes of all countries, in their order.
pub fn codes() -> impl Iterator<Item = &'static str> {
    CODES.split(' ')
}

/// Is it the code of a country, in capitals?
///
/// Each address of an order asks this. A search from the first code to its own took a twentieth of the order's instructions.
#[must_use]
pub fn is_country(code: &str) -> bool {
    let &[first, second] = code.as_bytes() else { return false };
    let (all_but_last, last) = CODES.as_bytes().as_chunks();
    all_but_last.binary_search(&[first, second, b' ']).is_ok() || last == [first, second]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_the_249_of_the_standard_each_once_and_in_order() {
        let all: Vec<&str> = codes().collect();
        assert_eq!(all.len(), 249);
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]));
        let letters = 'A'..='Z';
        let pairs = letters.clone().flat_map(|first| letters.clone().map(move |second| format!("{first}{second}")));
        let known: Vec<String> = pairs.filter(|pair| is_country(pair)).collect();
        assert_eq!(known, all, "of all pairs of letters these and no others");
    }

    #[test]
    fn what_is_no_country_is_none() {
        for code in ["", "G", "gb", "GBR", "UK", "EU", "XX", "ZZ", "E ", "D A"] {
            assert!(!is_country(code), "{code}");
        }
    }
}
