//! Finds card numbers in texts that shoppers and shops write, so that none is stored. A number of another system (an order's, a parcel's) whose
//! check digit happens to fit is not one: one number in ten fits.
//!
//! Ranges and lengths: ISO/IEC 7812 and the schemes' own tables; check digit: Luhn.

/// A card number has so many digits at least.
const DIGITS_MIN: usize = 13;
/// A card number has so many digits at most.
const DIGITS_MAX: usize = 19;
/// Words beside a number that make a card of it in any length.
const WORDS: [&str; 7] = ["card", "visa", "mastercard", "amex", "maestro", "credit", "pan"];

/// Does a text contain what looks like a card number: digits in a scheme's range, with a correct check digit, and either written as a card shows
/// them (in the usual length, together or in the card's groups) or with a word such as *card* in the text?
#[must_use]
pub(crate) fn holds_card_number(text: &str) -> bool {
    if text.bytes().filter(u8::is_ascii_digit).nth(DIGITS_MIN - 1).is_none() {
        return false;
    }
    let mut named = None;
    let mut number = Number::default();
    for byte in text.bytes().chain([b'.']) {
        match byte {
            b'0'..=b'9' => number.digit(byte - b'0'),
            b' ' | b'-' if number.can_pause() => number.pause(),
            _ => {
                let mut word = || *named.get_or_insert_with(|| names_a_card(text));
                if number.has_range_and_check_digit() && (number.is_written_as_a_card() || word()) {
                    return true;
                }
                number = Number::default();
            }
        }
    }
    false
}

fn names_a_card(text: &str) -> bool {
    let words = text.split(|letter: char| !letter.is_alphabetic());
    words.into_iter().any(|word| WORDS.iter().any(|known| word.eq_ignore_ascii_case(known)))
}

/// Digits that follow each other, with single blanks or dashes between groups.
#[derive(Debug, Default)]
struct Number {
    digits: Vec<u8>,
    /// Digits of each group; the last is being read.
    groups: Vec<usize>,
    paused: bool,
}

impl Number {
    fn digit(&mut self, digit: u8) {
        if self.paused || self.groups.is_empty() {
            self.groups.push(0);
        }
        self.paused = false;
        self.digits.push(digit);
        if let Some(group) = self.groups.last_mut() {
            *group = group.saturating_add(1);
        }
    }

    const fn can_pause(&self) -> bool {
        !self.digits.is_empty() && !self.paused
    }

    const fn pause(&mut self) {
        self.paused = true;
    }

    fn has_range_and_check_digit(&self) -> bool {
        (DIGITS_MIN..=DIGITS_MAX).contains(&self.digits.len()) && self.is_in_a_range() && self.has_check_digit()
    }

    /// The value of the first `count` digits.
    fn prefix(&self, count: usize) -> u32 {
        self.digits.iter().take(count).fold(0, |value, digit| value * 10 + u32::from(*digit))
    }

    fn is_in_a_range(&self) -> bool {
        let (one, two, three, four) = (self.prefix(1), self.prefix(2), self.prefix(3), self.prefix(4));
        let length = self.digits.len();
        match length {
            // Visa, Mastercard, Discover, JCB, UnionPay.
            16 => {
                one == 4
                    || (51..=55).contains(&two)
                    || (2221..=2720).contains(&four)
                    || four == 6011
                    || (644..=659).contains(&three)
                    || (3528..=3589).contains(&four)
                    || two == 62
            }
            // American Express.
            15 => two == 34 || two == 37,
            // Diners Club.
            14 => (300..=305).contains(&three) || two == 36 || two == 38,
            // Visa and Maestro of other lengths.
            _ => one == 4 || two == 50 || (56..=69).contains(&two),
        }
    }

    /// In a length that nearly all cards have, together or in the groups that a card shows.
    fn is_written_as_a_card(&self) -> bool {
        matches!(self.groups.as_slice(), [16 | 15] | [4, 4, 4, 4] | [4, 6, 5] | [4, 6, 4])
    }

    fn has_check_digit(&self) -> bool {
        let sum: u32 = self
            .digits
            .iter()
            .rev()
            .enumerate()
            .map(|(place, digit)| {
                let doubled = u32::from(*digit) * if place % 2 == 1 { 2 } else { 1 };
                if doubled > 9 { doubled - 9 } else { doubled }
            })
            .sum();
        sum.is_multiple_of(10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_number_is_found_however_it_is_grouped() {
        for text in [
            "4242424242424242",
            "pay 4242 4242 4242 4242!",
            "5555-5555-5555-4444",
            "amex 378282246310005",
            "3782 822463 10005",
            "visa 4222222222222",
            "my card: 3056 9309 0259 04",
        ] {
            assert!(holds_card_number(text), "{text}");
        }
        for text in ["4242424242424241", "order 20240101123", "07700 900123", "1234567890123456789012", ""] {
            assert!(!holds_card_number(text), "{text}");
        }
    }

    /// Order numbers of another system, of 13 digits that begin with the time of writing: every tenth has a correct check digit.
    #[test]
    fn a_number_of_another_system_is_no_card_number() {
        let numbers = (0..1_000_u64).map(|step| 5_600_000_000_000 + step * 97_003);
        let refused: Vec<u64> = numbers.filter(|number| holds_card_number(&number.to_string())).collect();
        assert_eq!(refused, Vec::<u64>::new());
        assert!(!holds_card_number("parcel 6011 0009 9013 9424 7"), "other groups than a card's");
        assert!(!holds_card_number("9400110898825022579493"), "a tracking number");
    }
}
