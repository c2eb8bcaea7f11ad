use crate::push::{OpenKey, SealKey};

use super::bytes::Bytes;

/// What a phone opens: bytes that were sealed come back, and no others open. And keys that devices register.
pub fn sealed_push(data: &[u8]) {
    let key = OpenKey::derive(&[7; 32]);
    assert!(key.open(data).is_err());
    let mut bytes = Bytes::new(data);
    let (fresh, foreign) = (bytes.array(), SealKey(bytes.array()));
    let body = bytes.rest();
    let sealed = key.seal_key().seal(body, fresh).unwrap();
    assert_eq!(key.open(&sealed).as_deref(), Ok(body));
    if let Ok(sealed) = foreign.seal(body, fresh) {
        assert!(foreign == key.seal_key() || key.open(&sealed).is_err());
    }
}
