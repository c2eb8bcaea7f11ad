//! How to talk to what is left running.

use std::env;
use std::fs;

use tests::bitcoind::{RPC_PASSWORD, RPC_USER};
use tests::failure::Failure;
use tests::stage::Stage;

/// Leaves everything running, and prints how to talk to it and how to end it.
pub(crate) async fn keep(stage: Stage) -> Result<(), Failure> {
    let program = env::current_exe()
        .map_err(|source| Failure::Start { name: "the demo's phones".to_owned(), source })?;
    let programs = program.parent().unwrap_or(&program).display().to_string();
    let lsps: Vec<String> = stage.lsps.iter().map(|lsp| lsp.name().to_owned()).collect();
    let rpc_url = stage.bitcoind.rpc_url();
    let kept = stage.keep(&program).await?;

    let folder = kept.folder.display();
    let stop = kept.folder.join("stop.sh");
    let mut script =
        "#!/bin/sh\n# Ends everything that the demo left running, and removes its folder.\n".to_owned();
    // bitcoind last: the others save what they know of the chain.
    for (name, group) in kept.groups.iter().rev() {
        script.push_str(&format!("kill -s TERM -- -{group} # {name}\n"));
    }
    script.push_str("sleep 3\n");
    for (_, group) in &kept.groups {
        script.push_str(&format!("kill -s KILL -- -{group} 2>/dev/null\n"));
    }
    script.push_str(&format!("rm -rf -- '{folder}'\n"));
    fs::write(&stop, script).map_err(|source| Failure::File { path: stop.clone(), source })?;

    println!("\nEverything is left running, with its data and logs in {folder}:\n");
    for (name, group) in &kept.groups {
        println!("  {name:<16} process {group}");
    }
    println!("\nTalk to it:\n\n  export PATH={programs}:$PATH");
    for name in &lsps {
        println!("  lsp-server --data-dir {folder}/{name} holds list --ended");
        println!("  lsp-server --data-dir {folder}/{name} node channels");
    }
    println!("  wallet --data-dir {folder}/payee invoice --amount-msat 5000000 --description coffee");
    println!("  wallet --data-dir {folder}/payer pay INVOICE");
    println!("  tail -f {folder}/payee.phone.log {folder}/payer.phone.log");
    println!(
        "  curl --user {RPC_USER}:{RPC_PASSWORD} --data '{{\"method\":\"getblockcount\",\"params\":[]}}' {rpc_url}"
    );
    println!("\nEnd it:\n\n  sh {}", stop.display());
    Ok(())
}
