//! Apple's and Google's services for a stage: fakes, and what the LSPs are told of them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::failure::Failure;
use crate::fakes::apns::{Apns, DeveloperKey, KEY_ID, TEAM_ID};
use crate::fakes::authority::Authority;
use crate::fakes::fcm::Fcm;
use crate::fakes::system_clock;
use crate::phone::Phone;

/// The wallet's bundle id.
const BUNDLE_ID: &str = "com.example.wallet";
/// As the payer's iPhone got it from Apple.
pub const APNS_TOKEN: &str = "5f0e1d2c3b4a59687786958473625140ff0e1d2c3b4a5968778695a4b3c2d1e0";
/// As the payee's phone got it from Google.
pub const FCM_TOKEN: &str =
    "dE9tYXRvLXBhc3RlLW5v:APA91bGx-payee_0123456789-abcdefghijklmnopqrstuvwxyz_ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// What key files call the token endpoint. It is reached at another address, which the LSPs are told, as if by a proxy.
const TOKEN_URI: &str = "https://localhost:9/token";

/// Apple's and Google's push services, running in this process.
pub struct Providers {
    /// For the payer's iPhone.
    pub apns: Apns,
    /// Apple's environment for development builds, which knows no device.
    pub sandbox: Apns,
    /// For the payee's Android phone.
    pub fcm: Fcm,
    settings: Vec<(&'static str, String)>,
    payees_token: Mutex<String>,
    /// How many tokens Google gave out after the first.
    tokens: AtomicU64,
}

impl Providers {
    /// Starts them, with their keys in `folder`, which has to outlive the LSPs that are told of them.
    ///
    /// # Errors
    ///
    /// When one does not come up.
    pub async fn start(folder: &Path) -> Result<Self, Failure> {
        let (authority, key) = (Authority::new()?, DeveloperKey::new()?);
        let apns = Apns::start(&authority, &key, &[BUNDLE_ID], system_clock()).await?;
        let sandbox = Apns::start(&authority, &key, &[BUNDLE_ID], system_clock()).await?;
        let fcm = Fcm::start(&authority, system_clock()).await?;
        fcm.set_token_uri(TOKEN_URI);
        let write = |name: &str, text: &str| -> Result<PathBuf, Failure> {
            let path = folder.join(name);
            std::fs::write(&path, text).map_err(|source| Failure::File { path: path.clone(), source })?;
            Ok(path)
        };
        let roots = write("push_authority.pem", authority.pem())?;
        let p8 = write("AuthKey.p8", apns.p8())?;
        let account = write("service_account.json", &fcm.service_account())?;
        let app =
            format!("bundle_id={BUNDLE_ID},key_file={},key_id={KEY_ID},team_id={TEAM_ID}", p8.display());
        let settings = vec![
            ("push.extra_root_certificates", roots.display().to_string()),
            ("push.apns.apps", app),
            ("push.apns.production_url", apns.server().url().to_owned()),
            ("push.apns.sandbox_url", sandbox.server().url().to_owned()),
            ("push.fcm.service_account_file", account.display().to_string()),
            ("push.fcm.url", fcm.server().url().to_owned()),
            ("push.fcm.token_url", fcm.token_url()),
        ];
        let (payees_token, tokens) = (Mutex::new(FCM_TOKEN.to_owned()), AtomicU64::new(0));
        Ok(Self { apns, sandbox, fcm, settings, payees_token, tokens })
    }

    /// What the LSPs are told.
    pub fn settings(&self) -> impl Iterator<Item = (&str, &str)> {
        self.settings.iter().map(|(key, value)| (*key, value.as_str()))
    }

    /// What Google knows the payee's phone by now.
    pub fn payees_token(&self) -> String {
        self.payees_token.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A token that Google never gave out before.
    pub fn fresh_token(&self) -> String {
        let serial = self.tokens.fetch_add(1, Ordering::Relaxed);
        format!("{FCM_TOKEN}_{serial}")
    }

    /// Google knows the payee's phone by another token from now on, which this answers, and by the last one until
    /// [`Self::retire`].
    pub fn renew_payees_token(&self, payee: &Phone) -> String {
        let (token, to_payee) = (self.fresh_token(), payee.receiver());
        self.fcm.add_phone(&token, move |taken| to_payee(taken));
        self.payees_token.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&token);
        token
    }

    /// Google does not know a phone by this token any more: whoever pushes to it is told that the app is gone.
    pub fn retire(&self, token: &str) {
        self.fcm.remove_device(token);
    }

    /// The pushes that came when their time was over.
    pub fn late(&self) -> Vec<String> {
        [self.apns.late(), self.fcm.late()].concat()
    }

    /// The payer's phone is an iPhone, the payee's an Android phone: from here on these services bring them their pushes,
    /// and their wallets know the tokens.
    pub(super) async fn hand_out(&self, payer: &Phone, payee: &Phone) -> Result<(), Failure> {
        let (to_payer, to_payee) = (payer.receiver(), payee.receiver());
        self.apns.add_phone(APNS_TOKEN, move |taken| to_payer(taken));
        self.fcm.add_phone(FCM_TOKEN, move |taken| to_payee(taken));
        payer.ask(&["register", "--platform", "apns", "--token", APNS_TOKEN]).await?;
        payee.ask(&["register", "--platform", "fcm", "--token", FCM_TOKEN, "--sealed"]).await?;
        Ok(())
    }
}
