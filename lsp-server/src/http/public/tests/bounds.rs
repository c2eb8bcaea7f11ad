//! How many devices, and how many signed requests.

use super::*;

#[tokio::test]
async fn devices_are_bounded_for_each_node_and_for_strangers() {
    let limits = DeviceLimits {
        per_node_max: 1,
        without_channel_max: 1,
        used_challenges_max: 2,
        used_challenges_without_channel_max: 2,
        used_challenges_per_node_max: 2,
    };
    let api = Api::with(limits, false).await;
    api.register(&api.registration(PHONE, URL).await).await.error_for_status().unwrap();
    let second = api.registration(PHONE, "https://push.wallet.com/2").await;
    refused(api.register(&second).await, StatusCode::CONFLICT, "too_many_devices").await;
    api.register(&api.registration(2, URL).await).await.error_for_status().unwrap();
    let stranger = api.registration(3, URL).await;
    refused(api.register(&stranger).await, StatusCode::CONFLICT, "too_many_devices").await;
    api.node.add_client(3);
    api.register(&stranger).await.error_for_status().unwrap();
    // Two challenges were answered by nodes with a channel: those of registrations that were refused do not count.
    let again = api.registration(PHONE, URL).await;
    refused(api.register(&again).await, StatusCode::SERVICE_UNAVAILABLE, "busy").await;
    // A stranger has room yet, up to its own bound.
    api.register(&api.registration(2, URL).await).await.error_for_status().unwrap();
    let again = api.registration(2, URL).await;
    refused(api.register(&again).await, StatusCode::TOO_MANY_REQUESTS, "too_many").await;
    // Another stranger may have no device more; but before that, strangers have no room left.
    let other = api.registration(4, URL).await;
    refused(api.register(&other).await, StatusCode::SERVICE_UNAVAILABLE, "busy").await;
    api.clock.advance(300);
    let again = api.registration(PHONE, URL).await;
    api.register(&again).await.error_for_status().unwrap();
}
