//! State as bytes and back, exactly: every bit of every float, the order of every list.
//!
//! In: a value. Out: its bytes, little-endian, lengths in front. Invariant: what is read back is what was kept, and keeping it
//! again gives the same bytes. A field that is not named in [`keep_fields`] does not compile. There is no description of the
//! form in the bytes: [`super::VERSION`] stands for it, and changes when a kept type does.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use tidewatch_schemas::{Alert, AlertStatus, RelatedSeries, Series, SeriesKind, Severity};

/// A value that can be kept.
pub(crate) trait Keep: Sized {
    fn keep(&self, out: &mut Vec<u8>);

    /// Takes the value from the front; `None` when the bytes are none of it.
    fn recall(from: &mut &[u8]) -> Option<Self>;
}

/// A struct as its fields, one after the other.
macro_rules! keep_fields {
    ($name:ty { $($field:ident),+ $(,)? }) => {
        impl $crate::snapshot::Keep for $name {
            fn keep(&self, out: &mut Vec<u8>) {
                let Self { $($field),+ } = self;
                $($crate::snapshot::Keep::keep($field, out);)+
            }

            fn recall(from: &mut &[u8]) -> Option<Self> {
                Some(Self { $($field: $crate::snapshot::Keep::recall(from)?),+ })
            }
        }
    };
}

/// An enum without fields as a number.
macro_rules! keep_variants {
    ($name:ty { $($number:literal = $variant:ident),+ $(,)? }) => {
        impl $crate::snapshot::Keep for $name {
            fn keep(&self, out: &mut Vec<u8>) {
                out.push(match self {
                    $(Self::$variant => $number),+
                });
            }

            fn recall(from: &mut &[u8]) -> Option<Self> {
                match <u8 as $crate::snapshot::Keep>::recall(from)? {
                    $($number => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

macro_rules! keep_numbers {
    ($($name:ty),+) => {
        $(impl Keep for $name {
            fn keep(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn recall(from: &mut &[u8]) -> Option<Self> {
                let all = *from;
                let (bytes, rest) = all.split_first_chunk()?;
                *from = rest;
                Some(Self::from_le_bytes(*bytes))
            }
        })+
    };
}

pub(crate) use keep_fields;
pub(crate) use keep_variants;

keep_numbers!(u8, u16, u32, u64, i64, f32, f64);
keep_fields!(Series { metric, labels, kind, unit });
keep_variants!(SeriesKind { 0 = Gauge, 1 = Counter });
keep_variants!(AlertStatus { 0 = Firing, 1 = Resolved });
keep_variants!(Severity { 0 = Info, 1 = Warning, 2 = Critical });
keep_fields!(RelatedSeries { metric, labels, score });
keep_fields!(Alert {
    alert_id,
    fingerprint,
    incident_id,
    server,
    status,
    severity,
    rule,
    starts_at,
    ends_at,
    updated_at,
    title,
    explanation,
    metric,
    labels,
    unit,
    value,
    expected_low,
    expected_high,
    score,
    related,
    runbook_url,
});

/// Lengths fit: a state of four billion parts fits in no memory.
fn keep_length(length: usize, out: &mut Vec<u8>) {
    (length as u32).keep(out);
}

/// A length that the bytes left can hold.
fn recall_length(from: &mut &[u8]) -> Option<usize> {
    let length = u32::recall(from)? as usize;
    (length <= from.len()).then_some(length)
}

impl Keep for usize {
    fn keep(&self, out: &mut Vec<u8>) {
        (*self as u64).keep(out);
    }

    fn recall(from: &mut &[u8]) -> Option<Self> {
        usize::try_from(u64::recall(from)?).ok()
    }
}

impl Keep for bool {
    fn keep(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn recall(from: &mut &[u8]) -> Option<Self> {
        match u8::recall(from)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl Keep for String {
    fn keep(&self, out: &mut Vec<u8>) {
        keep_length(self.len(), out);
        out.extend_from_slice(self.as_bytes());
    }

    fn recall(from: &mut &[u8]) -> Option<Self> {
        let length = recall_length(from)?;
        let all = *from;
        let (text, rest) = all.split_at(length);
        *from = rest;
        String::from_utf8(text.to_vec()).ok()
    }
}

impl<T: Keep> Keep for Option<T> {
    fn keep(&self, out: &mut Vec<u8>) {
        self.is_some().keep(out);
        if let Some(value) = self {
            value.keep(out);
        }
    }

    fn recall(from: &mut &[u8]) -> Option<Self> {
        if bool::recall(from)? { Some(Some(T::recall(from)?)) } else { Some(None) }
    }
}

impl<T: Keep> Keep for Box<T> {
    fn keep(&self, out: &mut Vec<u8>) {
        (**self).keep(out);
    }

    fn recall(from: &mut &[u8]) -> Option<Self> {
        T::recall(from).map(Box::new)
    }
}

impl<T: Keep> Keep for Arc<T> {
    fn keep(&self, out: &mut Vec<u8>) {
        (**self).keep(out);
    }

    fn recall(from: &mut &[u8]) -> Option<Self> {
        T::recall(from).map(Self::new)
    }
}

impl<T: Keep> Keep for Box<[T]> {
    fn keep(&self, out: &mut Vec<u8>) {
        keep_length(self.len(), out);
        for value in self {
            value.keep(out);
        }
    }

    fn recall(from: &mut &[u8]) -> Option<Self> {
        Vec::<T>::recall(from).map(Vec::into_boxed_slice)
    }
}

impl<T: Keep> Keep for Vec<T> {
    fn keep(&self, out: &mut Vec<u8>) {
        keep_length(self.len(), out);
        for value in self {
            value.keep(out);
        }
    }

    fn recall(from: &mut &[u8]) -> Option<Self> {
        let length = recall_length(from)?;
        (0..length).map(|_| T::recall(from)).collect()
    }
}

impl<T: Keep> Keep for VecDeque<T> {
    fn keep(&self, out: &mut Vec<u8>) {
        keep_length(self.len(), out);
        for value in self {
            value.keep(out);
        }
    }

    fn recall(from: &mut &[u8]) -> Option<Self> {
        Vec::<T>::recall(from).map(Self::from)
    }
}

impl<T: Keep + Ord> Keep for BTreeSet<T> {
    fn keep(&self, out: &mut Vec<u8>) {
        keep_length(self.len(), out);
        for value in self {
            value.keep(out);
        }
    }

    fn recall(from: &mut &[u8]) -> Option<Self> {
        let all: Vec<T> = Vec::recall(from)?;
        Some(all.into_iter().collect())
    }
}

impl<K: Keep + Ord, V: Keep> Keep for BTreeMap<K, V> {
    fn keep(&self, out: &mut Vec<u8>) {
        keep_length(self.len(), out);
        for (key, value) in self {
            key.keep(out);
            value.keep(out);
        }
    }

    fn recall(from: &mut &[u8]) -> Option<Self> {
        let all: Vec<(K, V)> = Vec::recall(from)?;
        Some(all.into_iter().collect())
    }
}

impl<A: Keep, B: Keep> Keep for (A, B) {
    fn keep(&self, out: &mut Vec<u8>) {
        self.0.keep(out);
        self.1.keep(out);
    }

    fn recall(from: &mut &[u8]) -> Option<Self> {
        Some((A::recall(from)?, B::recall(from)?))
    }
}

impl<T: Keep, const N: usize> Keep for [T; N] {
    fn keep(&self, out: &mut Vec<u8>) {
        for value in self {
            value.keep(out);
        }
    }

    fn recall(from: &mut &[u8]) -> Option<Self> {
        let all: Option<Vec<T>> = (0..N).map(|_| T::recall(from)).collect();
        all?.try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kept<T: Keep>(value: &T) -> Vec<u8> {
        let mut bytes = Vec::new();
        value.keep(&mut bytes);
        bytes
    }

    type Mixed = (Vec<Option<f64>>, (BTreeMap<String, Box<[u16; 3]>>, VecDeque<bool>));

    #[test]
    fn bits_of_floats_are_kept() {
        for bits in [0x7ff8_0000_0000_0001_u64, 0xfff0_0000_0000_0000, 0x8000_0000_0000_0000, 1] {
            let bytes = kept(&f64::from_bits(bits));
            assert_eq!(f64::recall(&mut &bytes[..]).unwrap().to_bits(), bits);
        }
    }

    #[test]
    fn what_is_cut_off_or_foreign_is_refused() {
        let value: Mixed = (
            vec![Some(1.5), None],
            (BTreeMap::from([("a".into(), Box::new([1, 2, 3]))]), VecDeque::from([true])),
        );
        let bytes = kept(&value);
        for end in 0..bytes.len() {
            assert_eq!(Mixed::recall(&mut &bytes[..end]), None, "{end}");
        }
        assert_eq!(Vec::<u8>::recall(&mut &[255, 255, 255, 255, 1][..]), None, "a length that can't be");
        assert_eq!(SeriesKind::recall(&mut &[7][..]), None);
        assert_eq!(bool::recall(&mut &[2][..]), None);
    }

    proptest! {
        #[test]
        fn what_was_kept_comes_back(
            floats in proptest::collection::vec(proptest::option::of(any::<i32>()), 0..9),
            texts in proptest::collection::btree_map(".{0,9}", any::<[u16; 3]>(), 0..5),
            flags in proptest::collection::vec(any::<bool>(), 0..9),
        ) {
            let floats = floats.into_iter().map(|value| value.map(f64::from)).collect();
            let texts = texts.into_iter().map(|(text, all)| (text, Box::new(all))).collect();
            let value: Mixed = (floats, (texts, flags.into()));
            let bytes = kept(&value);
            let mut rest = &bytes[..];
            prop_assert_eq!(Mixed::recall(&mut rest), Some(value));
            prop_assert!(rest.is_empty());
        }
    }
}
