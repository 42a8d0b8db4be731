//! Golden bytes of what travels, and messages of every kind that are written and read back. Raise `WIRE_VERSION` when the bytes change.

use super::*;
