//! Where the next page of `/metrics/{server}` starts: an opaque text in the `Link` header.
//!
//! Keeps: a cursor fits only the question it was made for; any other text is a 400.

use std::hash::{DefaultHasher, Hash, Hasher};

/// The last row of the page before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) ts: i64,
    pub(crate) id: i64,
}

impl Cursor {
    /// `question` is what has to stay the same from page to page.
    pub(crate) fn encode(self, question: &impl Hash) -> String {
        format!("{:016x}{:016x}{:016x}", self.ts, self.id, self.check(question))
    }

    pub(crate) fn decode(text: &str, question: &impl Hash) -> Option<Self> {
        if text.len() != 48 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let part = |index: usize| u64::from_str_radix(&text[index * 16..(index + 1) * 16], 16).ok();
        let cursor = Self { ts: part(0)? as i64, id: part(1)? as i64 };
        (part(2)? == cursor.check(question)).then_some(cursor)
    }

    /// Keyed by nothing and the same in every process of a version: a load balancer may send the next page elsewhere.
    fn check(self, question: &impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.ts, self.id).hash(&mut hasher);
        question.hash(&mut hasher);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_reads_back_and_only_for_its_question(ts: i64, id: i64, question: String, other: String) {
            let cursor = Cursor { ts, id };
            let text = cursor.encode(&question);
            prop_assert_eq!(Cursor::decode(&text, &question), Some(cursor));
            if other != question {
                prop_assert_eq!(Cursor::decode(&text, &other), None);
            }
        }

        #[test]
        fn other_texts_are_no_cursors(text in "\\PC{0,60}|[0-9a-f]{48}") {
            prop_assert_eq!(Cursor::decode(&text, &"question"), None);
        }
    }
}
