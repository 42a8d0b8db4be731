"""A check of our own: a body that fits its description is never refused because it does not fit."""

import schemathesis

# The words of src/api/json.rs, where a body is held against its type.
DOES_NOT_FIT = "the body does not fit"


@schemathesis.check
def what_is_described_fits(ctx, response, case):
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code != 422:
        return
    problem = response.json()
    # A card number in a name or a note: said in words, because no pattern can count a check digit.
    errors = [error for error in problem["errors"] if error["code"] != "card_number"]
    if problem["detail"] == DOES_NOT_FIT and errors:
        raise AssertionError(f"it fits its description, and is refused: {errors}")
