//! Filter: arithmetic over a frame's values. In: steps in postfix order. Out: a number, or NaN = absent.
//!
//! Invariant: an `Expr` that exists leaves exactly one value, never needs more than [`MOST_STACK`] places and never more
//! than [`MOST_STEPS`] steps, so a sample costs a bounded time and no allocation.

use super::plan::Source;

/// Steps of one expression, with those of the derived series it uses.
pub(super) const MOST_STEPS: usize = 256;

/// Intermediate values of one expression.
pub(super) const MOST_STACK: usize = 32;

/// An expression over values, by their index. A step whose result is not finite makes the whole absent: a missing
/// operand, a division by zero, an overflow.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    steps: Box<[Step]>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Step {
    Load(u32),
    Const(f64),
    Negate,
    Add,
    Subtract,
    Multiply,
    Divide,
}

impl Step {
    /// How many values it takes; it leaves one.
    fn takes(self) -> usize {
        match self {
            Self::Load(_) | Self::Const(_) => 0,
            Self::Negate => 1,
            Self::Add | Self::Subtract | Self::Multiply | Self::Divide => 2,
        }
    }
}

/// What is known of a value without knowing the operands'.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    Const(f64),
    /// A sum of operands, each times something positive.
    Growing,
    Other,
}

impl Expr {
    /// `None`: too long, too deep, or no expression.
    pub(super) fn new(steps: Vec<Step>) -> Option<Self> {
        let mut height = 0_usize;
        for step in &steps {
            height = height.checked_sub(step.takes())? + 1;
            if height > MOST_STACK {
                return None;
            }
        }
        (height == 1 && steps.len() <= MOST_STEPS).then(|| Self { steps: steps.into() })
    }

    pub fn value(&self, values: &[f64]) -> f64 {
        let mut stack = [0.0; MOST_STACK];
        let mut top = 0;
        for step in &self.steps {
            top -= step.takes();
            let (a, b) = (stack[top], stack[(top + 1) % MOST_STACK]);
            let value = match *step {
                Step::Load(index) => values.get(index as usize).copied().unwrap_or(f64::NAN),
                Step::Const(value) => value,
                Step::Negate => -a,
                Step::Add => a + b,
                Step::Subtract => a - b,
                Step::Multiply => a * b,
                Step::Divide => a / b,
            };
            // at every step: one over an overflow would be zero, a value out of nothing
            stack[top] = if value.is_finite() { value } else { f64::NAN };
            top += 1;
        }
        stack[0]
    }

    /// The operands' own sources in the places of the operands. `None`: it would be too long or too deep.
    pub(super) fn substitute(&self, operands: &[&Source]) -> Option<Self> {
        let mut steps = Vec::new();
        for &step in &self.steps {
            match step {
                Step::Load(operand) => operands.get(operand as usize)?.push_steps(&mut steps),
                other => steps.push(other),
            }
            if steps.len() > MOST_STEPS {
                return None;
            }
        }
        Self::new(steps)
    }

    /// The same times a factor plus an offset.
    pub(super) fn linear(&self, factor: f64, offset: f64) -> Option<Self> {
        let mut steps = self.steps.to_vec();
        push_linear(&mut steps, factor, offset);
        Self::new(steps)
    }

    /// Whether it uses the value of this index.
    pub(super) fn loads(&self, index: u32) -> bool {
        self.steps.contains(&Step::Load(index))
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether it only grows when every operand only grows: sums of operands, times and over positive constants.
    pub(super) fn is_growing(&self) -> bool {
        let mut stack = [Shape::Other; MOST_STACK];
        let mut top = 0;
        for step in &self.steps {
            top -= step.takes();
            let shapes = (stack[top], stack[(top + 1) % MOST_STACK]);
            stack[top] = match (step, shapes) {
                (Step::Const(value), _) => Shape::Const(*value),
                (Step::Negate, (Shape::Const(a), _)) => Shape::Const(-a),
                (Step::Add, (Shape::Const(a), Shape::Const(b))) => Shape::Const(a + b),
                (Step::Subtract, (Shape::Const(a), Shape::Const(b))) => Shape::Const(a - b),
                (Step::Multiply, (Shape::Const(a), Shape::Const(b))) => Shape::Const(a * b),
                (Step::Divide, (Shape::Const(a), Shape::Const(b))) => Shape::Const(a / b),
                (Step::Load(_), _) | (Step::Add, (Shape::Growing, Shape::Growing)) => Shape::Growing,
                (Step::Multiply, (Shape::Growing, Shape::Const(c)) | (Shape::Const(c), Shape::Growing))
                | (Step::Divide, (Shape::Growing, Shape::Const(c)))
                    if c > 0.0 && c.is_finite() =>
                {
                    Shape::Growing
                }
                _ => Shape::Other,
            };
            top += 1;
        }
        stack[0] == Shape::Growing
    }
}

/// Steps that turn the topmost value into `factor * value + offset`.
pub(super) fn push_linear(steps: &mut Vec<Step>, factor: f64, offset: f64) {
    if factor != 1.0 {
        steps.extend([Step::Const(factor), Step::Multiply]);
    }
    if offset != 0.0 {
        steps.extend([Step::Const(offset), Step::Add]);
    }
}
