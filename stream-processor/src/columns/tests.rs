//! Columns against cells: whatever runs come, each slot is the cell of its samples, to the bit.

use proptest::prelude::*;

use super::*;

/// A step of a window's life: slots from `start` on get values at a time; or some slots are missing.
#[derive(Debug, Clone)]
struct Step {
    start: usize,
    at: i32,
    values: Vec<f64>,
    one_by_one: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let value = prop_oneof![(-1_000_i32..1_000).prop_map(f64::from), -1e9..1e9_f64];
    let start = prop_oneof![3 => Just(0_usize), 1 => 0_usize..12];
    (start, 0_i32..60, prop::collection::vec(value, 1..40), prop::bool::weighted(0.2))
        .prop_map(|(start, at, values, one_by_one)| Step { start, at, values, one_by_one })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever runs come in whatever order: each slot is the cell that its samples make, to the bit.
    #[test]
    fn a_slot_is_the_cell_of_its_samples(
        mut steps in prop::collection::vec(step(), 1..12),
        same_width in any::<bool>(),
        in_order in any::<bool>(),
        counters in any::<bool>(),
    ) {
        let mut columns = Columns::default();
        let mut cells: Vec<Cell> = Vec::new();
        if same_width {
            let width = steps[0].values.len();
            for step in &mut steps {
                step.start = 0;
                step.values.resize(width, 7.5);
            }
        }
        if in_order {
            steps.sort_by_key(|step| step.at);
        }
        for Step { start, at, values, one_by_one } in &steps {
            let end = start + values.len();
            columns.grow(end, counters);
            if cells.len() < end {
                cells.resize(end, Cell::default());
            }
            if *one_by_one {
                values.iter().enumerate().for_each(|(i, value)| columns.add(start + i, *at, *value));
            } else {
                columns.add_run(*start, *at, values);
            }
            values.iter().enumerate().for_each(|(i, value)| cells[start + i].add(*at, *value));
        }
        prop_assert_eq!(columns.filled(), cells.iter().filter(|cell| cell.count > 0).count());
        for (slot, cell) in cells.iter().enumerate() {
            let mut cell = *cell;
            if !counters {
                (cell.increase, cell.resets) = (0.0, 0);
            }
            let got = columns.cell(slot);
            if cell.count > 0 {
                prop_assert_eq!(got, cell, "slot {}", slot);
            } else {
                prop_assert_eq!(got.count, 0);
            }
        }
    }
}
