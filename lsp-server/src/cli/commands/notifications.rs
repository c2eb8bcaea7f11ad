//! `lsp-server notifications`.

use std::path::Path;

use protocol::api::admin::NotificationView;

use crate::cli::CliError;
use crate::cli::amounts::when;
use crate::cli::client::AdminClient;
use crate::cli::output::Output;
use crate::cli::table::Table;

pub(in crate::cli) async fn run(data_dir: &Path, output: Output) -> Result<(), CliError> {
    let client = AdminClient::new(data_dir)?;
    output.print(&client.get::<Vec<NotificationView>>("/v1/notifications").await?, |views| list(views))
}

fn list(views: &[NotificationView]) -> Table {
    let header = ["notification", "template", "platform", "asked for", "state", "attempts", "verdict"];
    let mut table = Table::new("no notifications", &header);
    for view in views {
        let why = view.why.as_deref().map(|why| format!(" ({why})")).unwrap_or_default();
        table.row([
            view.notification_id.clone(),
            view.template.clone(),
            view.platform.clone(),
            when(view.opened_at),
            view.state.clone(),
            view.attempts.to_string(),
            format!("{}{why}", view.verdict.as_deref().unwrap_or("none yet")),
        ]);
    }
    table
}
