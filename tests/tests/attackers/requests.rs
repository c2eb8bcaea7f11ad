//! Strangers with keys that cost nothing sign one request after the other.

use super::*;

/// What one node may sign in five minutes here, and what all strangers may.
const PER_NODE: usize = 20;
const STRANGERS: usize = 50;

/// Signs so many registrations of one device; answers how many got each status.
async fn sign(puppet: &Puppet, lsp: &Lsp, count: usize) -> Result<Vec<StatusCode>, Failure> {
    let mut answers = Vec::new();
    for _ in 0..count {
        answers.push(puppet.register(lsp, "http://127.0.0.1:9/again").await?);
    }
    Ok(answers)
}

fn count(answers: &[StatusCode], status: StatusCode) -> usize {
    answers.iter().filter(|answer| **answer == status).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_who_sign_requests() -> TestResult {
    let mut town = Town::new(&[
        ("push.used_challenges_per_node_max", "20"),
        ("push.used_challenges_without_channel_max", "50"),
    ])
    .await?;
    let client = town.stage.puppet("client").await?;
    let mut strangers = Vec::new();
    for name in ["stranger 1", "stranger 2", "stranger 3", "stranger 4"] {
        strangers.push(stranger(&town, name).await?);
    }

    // One of them alone meets its own bound: the others have room.
    let answers = sign(&strangers[0], town.lsp(), PER_NODE + 10).await?;
    assert_eq!(count(&answers, StatusCode::CREATED), 1);
    assert_eq!(count(&answers, StatusCode::OK), PER_NODE - 1);
    assert_eq!(count(&answers, StatusCode::TOO_MANY_REQUESTS), 10);
    assert_eq!(town.refusals("used_challenges_per_node").await?, 10);
    assert_eq!(town.refusals("used_challenges_without_channel").await?, 0);

    // All of them at once, while phones with a channel register, look at their devices and give them other tokens.
    let (payer, lsp) = (&town.stage.payer, town.lsp());
    let flood = async {
        let floods = strangers[1..].iter().map(|stranger| sign(stranger, lsp, 2 * PER_NODE));
        Ok::<_, Failure>(futures::future::try_join_all(floods).await?.concat())
    };
    let honest = async {
        let devices = payer.ask(&["devices", "list"]).await?;
        let id = devices[0]["device_id"].as_str().unwrap_or_default().to_owned();
        for _ in 0..3 {
            payer.ask(&["devices", "refresh", &id, "--webhook", payer.webhook_url()]).await?;
        }
        sign(&client, lsp, PER_NODE / 2).await
    };
    let (flood, honest) = tokio::try_join!(flood, honest)?;
    assert_eq!(count(&flood, StatusCode::CREATED) + count(&flood, StatusCode::OK), STRANGERS - PER_NODE);
    assert!(town.refusals("used_challenges_without_channel").await? > 0);
    assert_eq!(
        count(&honest, StatusCode::CREATED) + count(&honest, StatusCode::OK),
        PER_NODE / 2,
        "{honest:?}"
    );

    // The strangers' room is used up, and stays so; whoever has a channel does not notice, and is paid.
    let full = sign(&strangers[3], town.lsp(), 5).await?;
    assert_eq!(count(&full, StatusCode::OK) + count(&full, StatusCode::CREATED), 0, "{full:?}");
    let answers = sign(&client, town.lsp(), PER_NODE / 2 + 1).await?;
    assert_eq!(count(&answers, StatusCode::OK), PER_NODE / 2, "up to its own bound");
    assert_eq!(answers.last(), Some(&StatusCode::TOO_MANY_REQUESTS));
    assert_eq!(town.refusals("used_challenges").await?, 0);
    town.honest_payment().await?;

    client.go_offline().await;
    for stranger in strangers {
        stranger.go_offline().await;
    }
    town.finish(0).await?;
    Ok(())
}
