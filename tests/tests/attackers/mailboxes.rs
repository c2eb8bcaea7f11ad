//! Messages to many phones: somebody who wants to fill the whole mailbox.

use std::time::{Duration, Instant};

use super::*;

/// What one client may have waiting here, and what all peers without a channel together may.
const CLIENT: usize = 15;
const STRANGERS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn messages_to_many_phones() -> TestResult {
    let mut town = Town::new(&[
        ("mailbox.sender_messages_max", "5"),
        ("mailbox.recipient_messages_max", "20"),
        ("mailbox.total_messages_max", "100"),
        ("mailbox.client_total_percent", "20"),
        ("mailbox.strangers_total_percent", "20"),
    ])
    .await?;
    // Phones that are registered, and off: what is sent to them is kept.
    let mut victims = Vec::new();
    for name in ["victim 1", "victim 2", "victim 3", "victim 4", "victim 5", "victim 6"] {
        let victim = stranger(&town, name).await?;
        let status = victim.register(town.lsp(), "http://127.0.0.1:9/victim").await?;
        assert_eq!(status, StatusCode::CREATED);
        victims.push(victim.node_id());
        victim.go_offline().await;
    }
    let attacker = town.stage.puppet("attacker").await?;
    let strangers = [stranger(&town, "stranger 1").await?, stranger(&town, "stranger 2").await?];
    town.stage.payee.leave_coverage();
    town.stage.payer.leave_coverage();
    let (payee_wakes, payer_wakes) = (town.stage.payee.wakes().len(), town.stage.payer.wakes().len());

    let flood = async |senders: &[&Puppet], kept: usize| {
        let refused_before = town.refusals("mailbox_sender_total").await?;
        wait_until("the senders' part of the whole to be full", SOON, async || {
            for victim in &victims {
                for sender in senders {
                    sender.pester(*victim)?;
                }
            }
            let refused = town.refusals("mailbox_sender_total").await? - refused_before;
            let of_them = kept_from(&town, senders).await?.len();
            let seen = format!("{refused} refused, {of_them} kept");
            Ok(if refused >= 10 && of_them >= kept { Seen::Done(()) } else { Seen::NotYet(seen) })
        })
        .await?;
        kept_from(&town, senders).await
    };
    let of_attacker = flood(&[&attacker], CLIENT).await?;
    assert_eq!(of_attacker.len(), CLIENT);
    assert!(victims.iter().all(|victim| of_attacker.iter().filter(|to| *to == victim).count() <= 5));
    let of_strangers = flood(&[&strangers[0], &strangers[1]], STRANGERS).await?;
    assert_eq!(of_strangers.len(), STRANGERS, "two keys, one room");

    // Beside them the payer's message is kept, for a payee that is off.
    let (invoice, _) = town.stage.invoice(AMOUNT_MSAT, &[]).await?;
    let payee = parse_invoice(&invoice)?.get_payee_pub_key();
    town.stage.pay(&invoice, &[]).await?;
    wait_until("the payer's message to be kept", SOON, async || {
        let to_payee =
            town.lsp().mailbox().await?.iter().filter(|message| message.recipient == payee).count();
        Ok(if to_payee > 0 { Seen::Done(()) } else { Seen::NotYet("nothing waits for the payee".to_owned()) })
    })
    .await?;
    assert_eq!(kept_from(&town, &[&attacker]).await?.len(), CLIENT, "what waits stays, and no more comes");
    for limit in ["mailbox_total", "mailbox_recipient"] {
        assert_eq!(town.refusals(limit).await?, 0, "{limit}");
    }

    town.stage.payee.enter_coverage();
    town.stage.payer.enter_coverage();
    town.stage.payee.wait_for_step_since(payee_wakes, "paid", PAYMENT_TIMEOUT).await?;
    town.stage.payer.wait_for_step_since(payer_wakes, "settled", PAYMENT_TIMEOUT).await?;
    town.paid_msat += AMOUNT_MSAT;
    attacker.go_offline().await;
    for stranger in strangers {
        stranger.go_offline().await;
    }
    town.finish(0).await?;
    Ok(())
}

/// More than the phone's LSP lets anybody else send at once: what a phone does not take then is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_phone_gets_all_that_waited_for_it() -> TestResult {
    const WAITING: usize = 400;
    let town = Town::new(&[
        ("peers.onion_messages_burst", "2000"),
        ("mailbox.sender_messages_max", "2000"),
        ("mailbox.sender_bytes_max", "10000000"),
        ("mailbox.recipient_messages_max", "2000"),
        ("mailbox.recipient_bytes_max", "10000000"),
    ])
    .await?;
    let phone = stranger(&town, "phone").await?;
    let status = phone.register(town.lsp(), "http://127.0.0.1:9/phone").await?;
    assert_eq!(status, StatusCode::CREATED);
    let phone_id = phone.node_id();
    phone.go_offline().await;
    let sender = town.stage.puppet("sender").await?;
    let waiting = async || Ok::<_, Failure>(kept_from(&town, &[&sender]).await?.len());
    wait_until("the mailbox to be full", SOON, async || {
        let kept = waiting().await?;
        for _ in kept..kept.saturating_add(20).min(WAITING) {
            sender.pester(phone_id)?;
        }
        Ok(if kept >= WAITING { Seen::Done(()) } else { Seen::NotYet(format!("{kept} kept")) })
    })
    .await?;
    // What was on its way is kept, too.
    let mut kept = (waiting().await?, Instant::now());
    wait_until("no more to come", SOON, async || {
        let now = waiting().await?;
        if now != kept.0 {
            kept = (now, Instant::now());
        }
        Ok(if kept.1.elapsed() > Duration::from_secs(1) {
            Seen::Done(())
        } else {
            Seen::NotYet(now.to_string())
        })
    })
    .await?;

    let phone = stranger(&town, "phone").await?;
    wait_until("the mailbox to be empty", SOON, async || {
        let left = waiting().await?;
        Ok(if left == 0 { Seen::Done(()) } else { Seen::NotYet(format!("{left} are left")) })
    })
    .await?;
    wait_until("the phone to hear them all", SOON, async || {
        let heard = phone.pending_heard();
        Ok(if heard == kept.0 { Seen::Done(()) } else { Seen::NotYet(format!("{heard} of {}", kept.0)) })
    })
    .await?;
    phone.go_offline().await;
    sender.go_offline().await;
    town.finish(0).await?;
    Ok(())
}

/// For whom messages of these peers wait.
async fn kept_from(town: &Town, senders: &[&Puppet]) -> Result<Vec<PublicKey>, Failure> {
    let mut kept = town.lsp().mailbox().await?;
    kept.retain(|message| senders.iter().any(|sender| message.previous_hop == Some(sender.node_id())));
    Ok(kept.into_iter().map(|message| message.recipient).collect())
}
