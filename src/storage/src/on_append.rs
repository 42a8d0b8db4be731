//! A callback for each append of a store, for histograms.

use std::fmt;
use std::sync::Arc;

/// The callback, if any; its argument is the store's own type.
pub struct OnAppend<Appended>(pub Arc<dyn Fn(Appended) + Send + Sync>);

impl<Appended> Default for OnAppend<Appended> {
    fn default() -> Self {
        Self(Arc::new(|_| ()))
    }
}

impl<Appended> Clone for OnAppend<Appended> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<Appended> fmt::Debug for OnAppend<Appended> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("OnAppend")
    }
}
