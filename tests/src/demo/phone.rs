//! A phone as a process of its own.

use std::process::ExitCode;

use tests::failure::Failure;
use tests::phone::{Happening, Phone};
use tests::wallet::Wallet;

use crate::PhoneOptions;

/// Serves until it is killed, and prints what happens on the phone.
pub(crate) async fn run(options: &PhoneOptions) -> Result<ExitCode, Failure> {
    let wallet = Wallet::existing(&options.name, &options.data_dir, &options.log);
    let phone = Phone::listening_on(wallet, options.port).await?;
    println!("{}'s phone receives pushes at {}", options.name, phone.webhook_url());
    phone.witness(|happening| match happening {
        Happening::Pushed(push) => println!("push: {}", push.body.reason),
        Happening::Woken => println!("the wallet is started"),
        Happening::Said(line) => println!("the wallet says {}", line.value),
        Happening::Slept(run) => {
            println!("the wallet has ended, {}", if run.success { "well" } else { "badly" })
        }
    });
    std::future::pending().await
}
