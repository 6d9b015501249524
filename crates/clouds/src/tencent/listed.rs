//! Lists of a region, page by page: one family, whose products differ in the [`Listed`] that each file
//! holds.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use serde_json::Value;

use crate::api::{
    Client, Facts, Operation, Page, Query, Scope, Target, TaskApi, TaskRef, Unreadable,
};
use crate::document::DecodeError;
use crate::model::{Resource, Task, Timestamp};
use crate::{tencent, wire};

/// A list that covers a region, and finds one task by its id.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) facts: Facts,
    pub(super) operation: &'static Operation,
    /// Where the rows are: `/Response/TaskSet`.
    pub(super) rows: &'static str,
    /// The field of a row with the id.
    pub(super) id: &'static str,
    /// The most rows for one call.
    pub(super) limit: u32,
    /// Whether the list cannot be asked for some instances, so that tasks of others are left out here.
    pub(super) filters_here: bool,
    /// The queries of one poll. Tasks that ended before [`Query::since`] are left out of the answers.
    pub(super) list: fn(&Listed, &Scope<'_>) -> Vec<Query>,
    /// Those of the first poll besides.
    pub(super) first_look: fn(&Listed, &Scope<'_>) -> Vec<Query>,
    /// Narrows a list to one task.
    pub(super) by_id: fn(Query, &TaskRef) -> Option<Query>,
    /// A row as a task.
    pub(super) task: fn(&Facts, &Target, &Value, &mut Unreadable) -> Option<Task>,
}

impl Listed {
    pub(super) const fn api(&'static self) -> TaskApi {
        TaskApi { facts: self.facts, client: self }
    }

    /// The first page of everything.
    pub(super) fn paged(&self) -> Query {
        tencent::paged_by(self.operation, self.limit)
    }

    /// Whether a list was asked for this: what it leaves to us is left out here.
    fn is_asked_for(&self, query: &Query, task: &Task) -> bool {
        let is_here = |resource: &Arc<Resource>| resource.id == task.resource.id;
        let is_old = task.ended.zip(query.since).is_some_and(|(ended, since)| ended < since);
        let is_dropped = is_old || (query.drops_ended && task.state.is_final());
        let takes_any = !self.filters_here || query.resources.is_empty();
        !is_dropped && (takes_any || query.resources.iter().any(is_here))
    }
}

/// No query besides.
pub(super) fn nothing(_: &Listed, _: &Scope<'_>) -> Vec<Query> {
    Vec::new()
}

impl Client for Listed {
    fn list(&self, scope: &Scope<'_>) -> Vec<Query> {
        (self.list)(self, scope)
    }

    fn first_look(&self, scope: &Scope<'_>) -> Vec<Query> {
        (self.first_look)(self, scope)
    }

    fn by_id(&self, task: &TaskRef, _now: Timestamp) -> Option<Query> {
        let query = (self.by_id)(self.paged(), task)?;
        Some(Query { task: Some(task.clone()), ..query })
    }

    fn decode(
        &self,
        target: &Target,
        query: &Query,
        response: &Response<Bytes>,
    ) -> Result<Page, DecodeError> {
        let document = tencent::document(response)?;
        let total = tencent::total(&document);
        let rows = tencent::rows(&document, query, self.rows)?;
        let mut page = Page::default();
        let read = |row: &Value| (self.task)(&self.facts, target, row, &mut page.unreadable);
        if let Some(wanted) = &query.task {
            // Answers may hold other tasks than the one that was asked for.
            let is_wanted = |row: &&Value| wire::text(row, self.id).as_deref() == Some(&*wanted.id);
            let found = rows.iter().find(is_wanted).and_then(read);
            page.tasks.extend(found);
        } else {
            let tasks: Vec<Task> = rows.iter().filter_map(read).collect();
            page.tasks.extend(tasks.into_iter().filter(|task| self.is_asked_for(query, task)));
            page.read_list(query, rows, self.id, self.limit, total);
        }
        Ok(page)
    }
}
