//! The gateways that the config asks for.

use std::sync::Arc;

use notifier::{
    Ambient, ApnsGateway, ClientError, FcmGateway, Lsps5Gateway, NotifyingNode, ProviderClient,
    ProviderClientConfig, PushGateway, UnifiedPushGateway, UrlClient, UrlClientConfig, WebhookGateway,
};

use crate::config::{PushConfig, PushCredentials};

/// Webhooks and UnifiedPush always, those of LSPS5 with a node that signs, APNs and FCM with credentials. Time and random bytes
/// come from `ambient`.
///
/// # Errors
/// When there is no TLS.
pub fn gateways(
    config: &PushConfig,
    credentials: PushCredentials,
    ambient: Ambient,
    node: Option<Arc<dyn NotifyingNode>>,
) -> Result<Vec<Arc<dyn PushGateway>>, ClientError> {
    let urls = UrlClient::new(&UrlClientConfig {
        allow_private_addresses: config.allow_private_addresses,
        extra_root_certificates: credentials.roots.clone(),
        ..UrlClientConfig::default()
    })?;
    let client = ProviderClient::new(&ProviderClientConfig {
        extra_root_certificates: credentials.roots,
        ..ProviderClientConfig::default()
    })?;
    let mut gateways: Vec<Arc<dyn PushGateway>> = vec![
        Arc::new(UnifiedPushGateway::new(urls.clone(), ambient.clone())),
        Arc::new(WebhookGateway::new(urls.clone(), ambient.clone())),
    ];
    if let Some(node) = node {
        gateways.push(Arc::new(Lsps5Gateway::new(urls, ambient.clone(), node)));
    }
    if let Some(apns) = config.apns.as_ref().filter(|_| !credentials.apps.is_empty()) {
        let (production, sandbox) = (apns.production_url.clone(), apns.sandbox_url.clone());
        let gateway =
            ApnsGateway::new(client.clone(), &credentials.apps, production, sandbox, ambient.clone());
        gateways.push(Arc::new(gateway));
    }
    if let (Some(fcm), Some(account)) = (&config.fcm, credentials.service_account) {
        let gateway = FcmGateway::new(client, account, &fcm.url, fcm.token_url.clone(), ambient);
        gateways.push(Arc::new(gateway));
    }
    Ok(gateways)
}
