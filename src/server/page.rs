//! `/`: a page for people.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use crate::store::Snapshot;

/// The style sheet that the page asks for.
pub(super) const STYLE: &str = include_str!("style.css");

/// The page, with a link to the metrics at `metrics_path`.
pub(super) fn page(snapshots: &[Arc<Snapshot>], metrics_path: &str) -> String {
    let mut page = String::from(include_str!("page.html"));
    // Writing to a string cannot fail.
    let _ = writeln!(
        page,
        "<p><a href=\"{}\">Metrics</a> · <a href=\"/api/v1/tasks\">Tasks</a> · \
         <a href=\"/api/v1/sources\">Sources</a> · <a href=\"/-/ready\">Readiness</a></p>",
        Html(metrics_path)
    );
    page.push_str(
        "<table>\n<thead><tr><th>Source<th>API<th>Region<th>State<th>Tasks\
         <th>Last success<th>Last error</tr></thead>\n<tbody>\n",
    );
    for snapshot in snapshots {
        row(&mut page, snapshot);
    }
    page.push_str("</tbody>\n</table>\n</main>\n</body>\n</html>\n");
    page
}

fn row(page: &mut String, snapshot: &Snapshot) {
    let state = match (snapshot.tried, snapshot.up) {
        (false, _) => "waiting",
        (true, true) => "up",
        (true, false) => "down",
    };
    let last_success = snapshot.last_success.map(|time| time.to_string());
    let _ = writeln!(
        page,
        "<tr><td>{}<td>{}<td>{}<td class=\"{state}\">{state}<td>{}<td>{}<td>{}</tr>",
        Html(&snapshot.source.name),
        Html(snapshot.source.api),
        Html(&snapshot.source.region),
        snapshot.states.iter().sum::<u64>(),
        last_success.as_deref().unwrap_or("never"),
        Html(snapshot.last_error.as_deref().unwrap_or_default()),
    );
}

/// Text that cannot become markup.
struct Html<'a>(&'a str);

impl fmt::Display for Html<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;"),
                '<' => f.write_str("&lt;"),
                '>' => f.write_str("&gt;"),
                '"' => f.write_str("&quot;"),
                '\'' => f.write_str("&#39;"),
                c => f.write_char(c),
            }?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(Html("<a href='x'>\"&").to_string(), "&lt;a href=&#39;x&#39;&gt;&quot;&amp;");
    }
}
