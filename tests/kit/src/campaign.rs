//! How much a campaign tries: what a variable of its own says, else its long form if `DOORBUSTER_CAMPAIGN=long`, else its short one.

/// The variable `name` as a number, if it is set.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// How many times: the variable `name`, or one of the two forms.
pub fn size(name: &str, short: u64, long: u64) -> u64 {
    chosen(number(name), std::env::var("DOORBUSTER_CAMPAIGN").ok().as_deref(), short, long)
}

fn chosen(own: Option<u64>, form: Option<&str>, short: u64, long: u64) -> u64 {
    match (own, form) {
        (Some(own), _) => own,
        (None, Some("long")) => long,
        (None, None | Some("short")) => short,
        (None, Some(other)) => panic!("DOORBUSTER_CAMPAIGN is `long` or `short`, not `{other}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_of_its_own_goes_before_the_form() {
        assert_eq!(chosen(Some(7), Some("long"), 1, 2), 7);
        assert_eq!(chosen(None, Some("long"), 1, 2), 2);
        assert_eq!(chosen(None, None, 1, 2), 1);
    }

    #[test]
    #[should_panic(expected = "DOORBUSTER_CAMPAIGN")]
    fn a_form_that_does_not_exist_is_refused() {
        chosen(None, Some("lang"), 1, 2);
    }
}
