//! `lsp-server holds`.

use std::io::{IsTerminal, Read};
use std::path::Path;

use clap::Subcommand;
use hex::{DisplayHex, FromHex};
use protocol::api::admin::{HoldDetail, HoldSummary, HoldsCheck, ReleaseHoldRequest};
use protocol::ids::{Pid, PidHash};
use reqwest::Method;

use crate::cli::CliError;
use crate::cli::amounts::{sat, short, when, yes};
use crate::cli::client::AdminClient;
use crate::cli::output::Output;
use crate::cli::table::{Fields, Table};

/// More than this on stdin is no pid.
const PID_BYTES_MAX: u64 = 1_024;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum HoldsCommand {
    /// The live holds.
    List {
        /// The holds that are over, too; the newest first.
        #[arg(long)]
        ended: bool,
    },
    /// Compare the database with LDK, both ways, and say whether anything was odd since the server started.
    Check,
    /// One hold, with its parts.
    Show {
        /// SHA256 of the pid, as `holds list` shows it.
        #[arg(value_parser = pid_hash)]
        pid_hash: PidHash,
    },
    /// Release a hold as if its payee had unblocked it. Reads the pid from stdin, 64 hex digits: nobody releases without.
    Release,
    /// Fail a hold back to its payer.
    Cancel {
        /// SHA256 of the pid, as `holds list` shows it.
        #[arg(value_parser = pid_hash)]
        pid_hash: PidHash,
    },
}

pub(in crate::cli) async fn run(
    data_dir: &Path,
    command: HoldsCommand,
    output: Output,
) -> Result<(), CliError> {
    let client = AdminClient::new(data_dir)?;
    match command {
        HoldsCommand::List { ended } => {
            let path = format!("/v1/holds?ended={ended}");
            output.print(&client.get::<Vec<HoldSummary>>(&path).await?, |holds| list(holds))
        }
        HoldsCommand::Check => output.print(&client.get::<HoldsCheck>("/v1/holds/check").await?, check),
        HoldsCommand::Show { pid_hash } => {
            let path = format!("/v1/holds/{pid_hash}");
            output.print(&client.get::<Vec<HoldDetail>>(&path).await?, |holds| show(holds))
        }
        HoldsCommand::Release => {
            let pid = read_pid()?;
            let pid_hash = pid.hash();
            let request = ReleaseHoldRequest { pid };
            client.tell(Method::POST, "/v1/holds/release", Some(&request)).await?;
            output.done(&format!("unblocked {pid_hash}: it goes as soon as the next channel can carry it"))
        }
        HoldsCommand::Cancel { pid_hash } => {
            client.tell(Method::POST, &format!("/v1/holds/{pid_hash}/cancel"), None::<&()>).await?;
            output.done(&format!("cancelled {pid_hash}: its parts go back to the payer"))
        }
    }
}

fn pid_hash(text: &str) -> Result<PidHash, &'static str> {
    text.parse().map_err(|_| "a pid hash has 64 hex digits")
}

/// Not as an argument, where other users of the machine and the shell's history would see it.
fn read_pid() -> Result<Pid, CliError> {
    let mut stdin = std::io::stdin();
    if stdin.is_terminal() {
        eprintln!("pid (64 hex digits, then Enter and Ctrl-D):");
    }
    let mut text = String::new();
    Read::by_ref(&mut stdin).take(PID_BYTES_MAX).read_to_string(&mut text).map_err(|_| CliError::NoPid)?;
    <[u8; 32]>::from_hex(text.trim()).map(Pid).map_err(|_| CliError::NoPid)
}

fn list(holds: &[HoldSummary]) -> Table {
    let header = ["pid hash", "payer", "state", "held", "amount", "deadline", "granted"];
    let mut table = Table::new("no holds", &header);
    for hold in holds {
        table.row([
            hold.pid_hash.to_string(),
            short(hold.payer),
            state(hold),
            format!("{} of {}", hold.held_parts, hold.parts),
            sat(hold.held_msat),
            format!("block {}", hold.deadline),
            when(hold.created_at),
        ]);
    }
    table
}

fn check(check: &HoldsCheck) -> String {
    let HoldsCheck { live_holds, pending_htlcs, counts, newest, .. } = check;
    let mut text = format!("{live_holds} live holds against {pending_htlcs} unresolved HTLCs of phones\n");
    if newest.is_empty() {
        text.push_str("nothing odd since the server started\n");
        return text;
    }
    let odd = counts.iter().filter(|count| count.since_start > 0);
    text.extend(odd.map(|count| format!("{} {}\n", count.since_start, count.kind)));
    let mut table = Table::new("", &["difference", "seen", "about", "what"]);
    for one in newest {
        table.row([one.kind.clone(), when(one.seen_at), one.id.clone(), one.detail.clone()]);
    }
    format!("{text}\n{table}")
}

fn state(hold: &HoldSummary) -> String {
    match hold.cause {
        Some(cause) => format!("{}: {cause}", hold.state),
        None => hold.state.to_string(),
    }
}

fn show(holds: &[HoldDetail]) -> String {
    holds.iter().map(detail).collect::<Vec<_>>().join("\n")
}

fn detail(hold: &HoldDetail) -> String {
    let HoldDetail { summary, parts, .. } = hold;
    let hashes: Vec<_> = summary.payment_hashes.iter().map(ToString::to_string).collect();
    let mut fields = Fields::default()
        .field("pid hash", summary.pid_hash)
        .field("payer", summary.payer)
        .field("state", state(summary))
        .field("deadline", format!("block {}", summary.deadline))
        .field("granted", when(summary.created_at))
        .field("payment hashes", hashes.join(" "))
        .field("held", format!("{} in {} parts", sat(summary.held_msat), summary.held_parts))
        .field("payment_pending in care", yes(summary.pending_in_care));
    if let Some(micros) = hold.release_latency_micros {
        fields = fields.field("unblock to forward", format!("{}.{:03} ms", micros / 1_000, micros % 1_000));
    }
    let header = [
        "part",
        "payment hash",
        "state",
        "offered",
        "to forward",
        "payer's channel",
        "expires there",
        "next hop",
        "expires there",
    ];
    let mut table = Table::new("no part has come yet", &header);
    for part in parts {
        let state = match part.cause {
            Some(cause) => format!("{}: {cause}", part.state),
            None => part.state.to_string(),
        };
        table.row([
            short(part.intercept_id.0.as_hex()),
            short(part.payment_hash),
            state,
            sat(part.inbound_amount_msat),
            sat(part.outbound_amount_msat),
            short(part.inbound_channel_id),
            part.inbound_expiry.map_or("unknown".to_owned(), |height| format!("block {height}")),
            scid(part.next_hop_scid),
            format!("block {}", part.outgoing_expiry),
        ]);
    }
    format!("{fields}\n{table}")
}

/// `BLOCKxTXxOUTPUT`, the usual form of a short channel id (BOLT 7).
fn scid(scid: u64) -> String {
    format!("{}x{}x{}", scid >> 40, scid >> 16 & 0xff_ffff, scid & 0xffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_channel_ids_have_their_usual_form() {
        assert_eq!(scid((123 << 40) | (45 << 16) | 6), "123x45x6");
    }
}
