//! The pages of a list: whether there is another one, and whether all of them have been read.
//!
//! A vendor says twice that there is more: by a page that is full, and by a total. Either can be
//! wrong: rows that a policy hides are dropped from a page after it was cut, and a total may be
//! missing or count something else. So a list goes on while either says that there is more and the
//! last page brought something new. Where they disagree at the end, the list is incomplete.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

use crate::api::{Page, Query, Rows};
use crate::wire;

impl Page {
    /// Takes in the `rows` of a page that may have `limit` of them, and asks for the next if there
    /// may be one. `id` is the field that tells rows apart; `total` is the vendor's.
    pub(crate) fn read_list(
        &mut self,
        query: &Query,
        rows: &[Value],
        id: &str,
        limit: u32,
        total: Option<i64>,
    ) {
        let total = total.and_then(|total| u64::try_from(total).ok());
        let read = u64::from(query.page.saturating_sub(1)) * u64::from(limit) + rows.len() as u64;
        let is_full = rows.len() >= limit as usize;
        let more = is_full || total.is_some_and(|total| total > read);
        if more && !rows.is_empty() {
            self.next.push(query.next_page());
        }
        self.rows = Rows { keys: rows.iter().map(|row| key(row, id)).collect(), total };
    }
}

fn key(row: &Value, id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    match wire::text(row, id) {
        Some(id) => id.hash(&mut hasher),
        None => row.to_string().hash(&mut hasher),
    }
    hasher.finish()
}

/// The pages of one list after the other, as they are read.
#[derive(Debug, Default)]
pub struct Pages {
    seen: HashSet<u64>,
    rows: u64,
}

impl Pages {
    /// Takes in the answer to `query`, whose first page begins a list. Ends a list that repeats
    /// itself, and marks one whose end does not agree with its total.
    #[must_use]
    pub fn take(&mut self, query: &Query, mut page: Page) -> Page {
        if query.page == 1 {
            *self = Self::default();
        }
        let before = self.seen.len();
        self.seen.extend(&page.rows.keys);
        self.rows = self.rows.saturating_add(page.rows.keys.len() as u64);
        let is_new = self.seen.len() > before || page.rows.keys.is_empty();
        if is_new && !page.next.is_empty() {
            return page;
        }
        let total_is_more = page.rows.total.is_some_and(|total| total > self.rows);
        page.incomplete |= total_is_more || !page.next.is_empty();
        page.next.clear();
        page
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::catalog::APIS;

    /// The ids of a page, and the vendor's total.
    type Listed<'a> = (&'a [u64], Option<i64>);

    /// How many pages of three rows are read, and whether they are all there is.
    fn read(pages: &[Listed<'_>]) -> (usize, bool) {
        let operation = APIS[0].facts.operations[0];
        let mut query = Query::new(operation);
        let mut list = Pages::default();
        for count in 1..=100 {
            let none: Listed<'_> = (&[], pages.last().unwrap().1);
            let (ids, total) = pages.get(count - 1).unwrap_or(&none);
            let rows: Vec<Value> = ids.iter().map(|id| json!({ "Id": id })).collect();
            let mut page = Page::default();
            page.read_list(&query, &rows, "Id", 3, *total);
            let page = list.take(&query, page);
            match page.next.as_slice() {
                [] => return (count, !page.incomplete),
                [next] => query = next.clone(),
                more => panic!("{more:?}"),
            }
        }
        panic!("it never ends");
    }

    #[test]
    fn a_list_goes_on_while_page_or_total_say_so_and_is_whole_if_they_agree() {
        let (full, other, short): (&[u64], &[u64], &[u64]) = (&[1, 2, 3], &[4, 5, 6], &[7]);
        let cases: &[(&[Listed<'_>], (usize, bool))] = &[
            // No total, and totals that say nothing: the size of the page decides.
            (&[(short, None)], (1, true)),
            (&[(full, None), (other, None), (short, None)], (3, true)),
            (&[(full, None), (other, None)], (3, true)),
            (&[(full, Some(0)), (other, Some(0)), (short, Some(0))], (3, true)),
            (&[(full, Some(-1)), (short, Some(-1))], (2, true)),
            (&[(full, Some(3)), (other, Some(3)), (short, Some(3))], (3, true)),
            // Both agree.
            (&[(full, Some(7)), (other, Some(7)), (short, Some(7))], (3, true)),
            (&[(full, Some(6)), (other, Some(6))], (3, true)),
            (&[(&[], Some(0))], (1, true)),
            // Rows come and go while the list is read.
            (&[(full, Some(4)), (&[3, 4], Some(5))], (2, true)),
            // Rows are missing from pages that a policy thins out.
            (&[(&[1, 2], Some(5)), (&[4, 5], Some(5))], (2, false)),
            (&[(&[1, 2], Some(9)), (&[4, 5], Some(9)), (&[7], Some(9))], (4, false)),
            (&[(short, Some(20))], (2, false)),
            (&[(&[], Some(20))], (1, false)),
            (&[(short, Some(i64::MAX))], (2, false)),
            // The same page again and again.
            (&[(full, Some(i64::MAX)), (full, Some(i64::MAX))], (2, false)),
            (&[(full, None), (full, None), (full, None)], (2, false)),
        ];
        for (pages, expected) in cases {
            assert_eq!(read(pages), *expected, "{pages:?}");
        }
    }
}
