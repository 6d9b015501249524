//! `registration`: who may register task ids at run time, and how many.

use std::path::Path;
use std::time::Duration;

use super::RegistrationConfig;
use super::report::Section;
use super::shape;
use super::timing::SPANS;

const KEYS: &[&str] = &["token_file", "max_tasks", "ttl"];

/// `None` if there is no token file, which has been reported.
pub(super) fn read(section: &Section<'_>, folder: &Path) -> Option<RegistrationConfig> {
    section.allow(KEYS);
    let token_file = section.required("token_file").and_then(|field| field.parse(shape::path));
    let max_tasks = section.get("max_tasks").and_then(|field| field.number(&(1..=100_000)));
    let ttl = section.get("ttl").and_then(|field| field.duration(&SPANS));
    Some(RegistrationConfig {
        token_file: folder.join(token_file?),
        max_tasks: max_tasks.unwrap_or(10_000),
        ttl: ttl.unwrap_or(Duration::from_hours(7 * 24)),
    })
}
