//! What a new hook is told first.

use storage::testing::Scratch;

use super::*;
use crate::notify::confirmation::of_hook;
use crate::store::notifications::NewNotification;

storage::on_both!(
    a_new_hook_is_told_until_it_has_taken_it_and_an_old_one_is_not,
    a_hook_whose_server_says_that_it_is_gone_is_forgotten,
    a_hook_that_was_removed_or_replaced_is_told_nothing,
    a_client_that_sets_hooks_too_often_is_refused_and_keeps_what_it_has,
    a_hook_is_told_within_ten_minutes_or_never,
);

/// A company's server that remembers, and answers as it is told.
#[derive(Default)]
struct Desk {
    told: Mutex<Vec<(String, String)>>,
    answers: Mutex<Vec<Verdict>>,
}

impl PushGateway for Desk {
    fn kind(&self) -> GatewayKind {
        GatewayKind::Lsps5
    }

    fn check(&self, _: &PushTarget) -> Result<(), TargetError> {
        Ok(())
    }

    fn push<'a>(&'a self, device: &'a PushTarget, push: &'a Push) -> BoxFuture<'a, Verdict> {
        let (_, url) = name_and_url(device).unwrap();
        self.told.lock().unwrap().push((url.to_owned(), push.reason().to_owned()));
        let answer = self.answers.lock().unwrap().pop();
        async move { answer.unwrap_or(Verdict::Accepted) }.boxed()
    }
}

impl Desk {
    /// The URLs that were told, in this order, that they are hooks.
    fn told(&self) -> Vec<String> {
        let told = self.told.lock().unwrap();
        told.iter().for_each(|(_, reason)| assert_eq!(reason, "webhook_registered"));
        told.iter().map(|(url, _)| url.clone()).collect()
    }

    fn answers(&self, verdict: Verdict) {
        self.answers.lock().unwrap().push(verdict);
    }
}

fn lsp(scratch: TestDatabase) -> (Lsp, Arc<Desk>) {
    let desk = Arc::<Desk>::default();
    (Lsp::on(scratch, desk.clone()), desk)
}

impl Lsp {
    async fn pass(&self, seconds: u64) {
        self.clock.advance(seconds);
        self.notifications.dispatch().await.unwrap();
    }

    async fn count(&self, sql: &'static str) -> i64 {
        self.store.number(sql).await
    }
}

async fn a_new_hook_is_told_until_it_has_taken_it_and_an_old_one_is_not(scratch: Scratch) {
    let (lsp, desk) = lsp(TestDatabase::on(scratch).await);
    desk.answers(Verdict::RetryAfter(None, "down".into()));
    desk.answers(Verdict::RetryAfter(None, "down".into()));
    assert_eq!(lsp.set("app", URL).await["result"]["num_webhooks"], 1);
    assert_eq!(lsp.count("SELECT COUNT(*) AS n FROM notification WHERE state = 'open'").await, 1);
    assert!(desk.told().is_empty(), "it is on disk before it is sent");
    lsp.pass(0).await;
    assert_eq!(lsp.set("app", URL).await["result"]["no_change"], true);

    // The next process on this database has nothing but the rows.
    let lsp = Lsp::on(lsp.store, desk.clone());
    lsp.notifications.take_over().await.unwrap();
    lsp.pass(1).await;
    assert_eq!(lsp.count("SELECT COUNT(*) AS n FROM notification WHERE state = 'open'").await, 1);
    lsp.pass(2).await;
    lsp.pass(60).await;
    assert_eq!(desk.told(), [URL, URL, URL], "until it was taken, and no more");
    let accepted = "SELECT COUNT(*) AS n FROM notification WHERE state = 'accepted' AND attempts = 3 \
                    AND template = 'webhook_registered' AND platform = 'lsps5'";
    assert_eq!(lsp.count(accepted).await, 1, "and it is on record");
    assert_eq!(lsp.set("app", URL).await["result"]["no_change"], true);
    lsp.pass(60).await;
    assert_eq!(desk.told().len(), 3);
}

async fn a_hook_whose_server_says_that_it_is_gone_is_forgotten(scratch: Scratch) {
    let (lsp, desk) = lsp(TestDatabase::on(scratch).await);
    desk.answers(Verdict::TokenDead("HTTP 410".into()));
    lsp.set("app", URL).await;
    lsp.set("other", "https://push.wallet.com/2").await;
    lsp.pass(0).await;
    assert_eq!(desk.told().len(), 2);
    assert_eq!(lsp.list().await.as_array().map(Vec::len), Some(1));
    assert_eq!(lsp.count("SELECT COUNT(*) AS n FROM notification WHERE state = 'refused'").await, 1);
}

async fn a_hook_that_was_removed_or_replaced_is_told_nothing(scratch: Scratch) {
    let (lsp, desk) = lsp(TestDatabase::on(scratch).await);
    lsp.set("app", URL).await;
    lsp.set("app", "https://push.wallet.com/2").await;
    lsp.set("gone", "https://push.wallet.com/3").await;
    lsp.ask(1, "lsps5.remove_webhook", json!({ "app_name": "gone" })).await;
    lsp.pass(0).await;
    assert_eq!(desk.told(), ["https://push.wallet.com/2"]);
    assert_eq!(lsp.count("SELECT COUNT(*) AS n FROM notification WHERE state = 'refused'").await, 2);
    lsp.pass(600).await;
    assert_eq!(desk.told().len(), 1);
}

async fn a_client_that_sets_hooks_too_often_is_refused_and_keeps_what_it_has(scratch: Scratch) {
    let (mut lsp, desk) = lsp(TestDatabase::on(scratch).await);
    let url = |number: u32| format!("https://push.wallet.com/{number}");
    let per_hour = HOOK_LIMITS.per_token_per_hour_max;
    for number in 1..=per_hour {
        assert_eq!(lsp.set("app", &url(number)).await["result"]["no_change"], false, "{number}");
    }
    let refused = lsp.set("app", &url(per_hour + 1)).await;
    assert_eq!(refused["error"]["code"], 1002);
    assert_eq!(lsp.set("app", &url(per_hour)).await["result"]["no_change"], true, "what it had stays");
    lsp.pass(0).await;
    assert_eq!(desk.told(), [url(per_hour)]);
    lsp.clock.advance(3_600);
    assert_eq!(lsp.set("app", &url(0)).await["result"]["no_change"], false, "an hour later");

    // What other services ask for has places of its own.
    lsp.pass(0).await;
    lsp.hooks.hook_limits = NotificationLimits { open_max: 1, ..HOOK_LIMITS };
    lsp.keep_of_another_service().await;
    assert_eq!(lsp.set("app", &url(1)).await["result"]["no_change"], false, "below the bound");
    assert_eq!(lsp.set("app", &url(2)).await["error"]["code"], 1000, "at it");
    lsp.pass(0).await;
    assert_eq!(lsp.set("app", &url(2)).await["result"]["no_change"], false, "it was told");
}

impl Lsp {
    /// What another service asked for, and what nobody here can push.
    async fn keep_of_another_service(&self) {
        let (id, now_unix) = ([0xff; 16], self.clock.now_unix());
        let phone = PushTarget::new(GatewayKind::Fcm, "t".repeat(64));
        let new = NewNotification {
            notification_id: id,
            template: "payment_received".to_owned(),
            kind: phone.kind,
            sealed: token_keys().seal_content(id, &phone, "text"),
            now_unix,
            expires_at: now_unix + 60,
        };
        self.keep(new).await;
    }

    async fn keep(&self, new: NewNotification) {
        let kept = self.store.database.submit("test", move |tx| {
            Box::pin(async move { notifications::keep(tx, &new, &HOOK_LIMITS).await })
        });
        assert_eq!(kept.await.unwrap(), Kept::New);
    }
}

async fn a_hook_is_told_within_ten_minutes_or_never(scratch: Scratch) {
    let (lsp, desk) = lsp(TestDatabase::on(scratch).await);
    lsp.set("app", URL).await;
    lsp.pass(600).await;
    assert!(desk.told().is_empty());
    assert_eq!(lsp.count("SELECT COUNT(*) AS n FROM notification WHERE state = 'expired'").await, 1);
    assert_eq!(lsp.list().await, json!(["app"]), "it is a hook all the same");
}

#[tokio::test]
async fn a_row_that_makes_no_sense_is_refused_and_stops_no_other() {
    let (lsp, desk) = lsp(TestDatabase::new().await);
    lsp.set("app", URL).await;
    let strange = of_hook(&token_keys(), [9; 16], public(1), DeviceId([9; 16]), lsp.clock.now_unix());
    // Sealed for a row of another name.
    lsp.keep(NewNotification { notification_id: [8; 16], ..strange }).await;
    lsp.pass(0).await;
    assert_eq!(desk.told(), [URL]);
    assert_eq!(lsp.count("SELECT COUNT(*) AS n FROM notification WHERE state = 'refused'").await, 1);
}
