//! The file that Google Cloud gives out for a service account.

use std::fmt;

use reqwest::Url;
use serde::Deserialize;

use crate::jwt::{SigningKey, SigningKeyError};

/// A service account: who pushes, and the key that proves it.
pub struct ServiceAccount {
    project_id: String,
    pub(super) client_email: String,
    pub(super) private_key_id: String,
    pub(super) token_url: Url,
    pub(super) signing: SigningKey,
}

/// Why a service account's file cannot be used. No text repeats what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceAccountError {
    /// Not JSON, or without one of its fields.
    #[error(
        "it is not a service account's key file; make one in the Firebase console: Project settings > Service accounts > \
         Generate new private key"
    )]
    Form,
    /// The project's id cannot be part of a URL.
    #[error("project_id is no id of a Google Cloud project")]
    Project,
    /// The token endpoint is no https URL.
    #[error("token_uri is no https URL")]
    TokenUri,
    /// The key in it is broken.
    #[error("the private_key in it cannot be used; make a new key file in the Firebase console")]
    Key(#[source] SigningKeyError),
}

#[derive(Deserialize)]
struct File {
    r#type: String,
    project_id: String,
    private_key_id: String,
    private_key: String,
    client_email: String,
    token_uri: String,
}

impl ServiceAccount {
    /// Reads the JSON of a key file.
    ///
    /// # Errors
    /// See [`ServiceAccountError`].
    pub fn from_json(json: &[u8]) -> Result<Self, ServiceAccountError> {
        let file: File = serde_json::from_slice(json).map_err(|_| ServiceAccountError::Form)?;
        if file.r#type != "service_account" {
            return Err(ServiceAccountError::Form);
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':');
        if file.project_id.is_empty() || !file.project_id.bytes().all(is_plain) {
            return Err(ServiceAccountError::Project);
        }
        let token_url = file
            .token_uri
            .parse::<Url>()
            .ok()
            .filter(|url| url.scheme() == "https")
            .ok_or(ServiceAccountError::TokenUri)?;
        let signing = SigningKey::rs256(file.private_key.as_bytes()).map_err(ServiceAccountError::Key)?;
        Ok(Self {
            project_id: file.project_id,
            client_email: file.client_email,
            private_key_id: file.private_key_id,
            token_url,
            signing,
        })
    }

    /// The Firebase project that is pushed for.
    pub fn project_id(&self) -> &str {
        &self.project_id
    }
}

impl fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceAccount").field("project_id", &self.project_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn file(change: impl FnOnce(&mut Value)) -> Result<ServiceAccount, ServiceAccountError> {
        let mut file = json!({
            "type": "service_account",
            "project_id": "wallet-1",
            "private_key_id": "0123",
            "private_key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "client_email": "push@wallet-1.iam.gserviceaccount.com",
            "token_uri": "https://oauth2.googleapis.com/token",
        });
        change(&mut file);
        ServiceAccount::from_json(file.to_string().as_bytes())
    }

    #[test]
    fn each_mistake_is_named() {
        assert_eq!(ServiceAccount::from_json(b"{\"type\":").unwrap_err(), ServiceAccountError::Form);
        for field in ["type", "project_id", "private_key_id", "private_key", "client_email", "token_uri"] {
            let without = file(|file| drop(file.as_object_mut().unwrap().remove(field)));
            assert_eq!(without.unwrap_err(), ServiceAccountError::Form, "{field}");
        }
        let user = file(|file| file["type"] = json!("authorized_user"));
        assert_eq!(user.unwrap_err(), ServiceAccountError::Form);
        for project in ["", "a/b", "a b", "a?"] {
            let error = file(|file| file["project_id"] = json!(project)).unwrap_err();
            assert_eq!(error, ServiceAccountError::Project, "{project}");
        }
        for url in ["", "oauth2.googleapis.com", "http://oauth2.googleapis.com/token"] {
            let error = file(|file| file["token_uri"] = json!(url)).unwrap_err();
            assert_eq!(error, ServiceAccountError::TokenUri, "{url}");
        }
        let error = file(|_| ()).unwrap_err();
        assert_eq!(error, ServiceAccountError::Key(SigningKeyError::OtherKey("RSA")));
    }
}
