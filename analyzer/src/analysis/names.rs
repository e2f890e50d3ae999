//! What series are called: held once for all servers of the partition, for most hosts report the same.
//!
//! In: a series. Out: the same, unit and all, shared. Invariant: at most twice as many are held as are in use, or [`LEAST`].

use std::sync::Arc;

use hashbrown::HashSet;
use tidewatch_schemas::Series;

/// With fewer than that nobody looks which are in use.
const LEAST: usize = 1_024;

#[derive(Debug, Default)]
pub(super) struct Names {
    known: HashSet<Arc<Series>>,
    /// How many there were when it was last looked.
    used: usize,
}

impl Names {
    pub(super) fn of(&mut self, series: &Series) -> Arc<Series> {
        if let Some(known) = self.known.get(series) {
            return Arc::clone(known);
        }
        if self.known.len() >= (2 * self.used).max(LEAST) {
            self.known.retain(|name| Arc::strong_count(name) > 1);
            self.used = self.known.len();
        }
        let name = Arc::new(series.clone());
        self.known.insert(Arc::clone(&name));
        name
    }

    pub(super) fn bytes(&self) -> usize {
        let text = |series: &Series| {
            let labels: usize = series.labels.iter().map(|(key, value)| key.len() + value.len() + 48).sum();
            series.metric.len() + series.unit.len() + labels
        };
        let held: usize = self.known.iter().map(|series| size_of::<Series>() + text(series)).sum();
        held + self.known.capacity() * size_of::<Arc<Series>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_ones_are_one_and_a_unit_makes_another() {
        let mut names = Names::default();
        let one = names.of(&Series::gauge("load", "").with("cpu", "0"));
        let again = names.of(&Series::gauge("load", "").with("cpu", "0"));
        assert!(Arc::ptr_eq(&one, &again));
        for other in
            [Series::gauge("load", "").with("cpu", "1"), Series::gauge("load", "percent").with("cpu", "0")]
        {
            assert_eq!(*names.of(&other), other);
        }
        assert!(names.bytes() > 3 * size_of::<Series>());
    }

    #[test]
    fn those_in_use_stay_and_the_others_go() {
        let mut names = Names::default();
        let used: Vec<_> =
            (0..LEAST / 2).map(|n| names.of(&Series::gauge(format!("used_{n}"), ""))).collect();
        for n in 0..10 * LEAST {
            names.of(&Series::gauge(format!("passing_{n}"), ""));
            assert!(names.known.len() <= (2 * used.len()).max(LEAST) + 1, "{}", names.known.len());
        }
        assert!(used.iter().all(|name| Arc::ptr_eq(name, &names.of(name))));
    }
}
