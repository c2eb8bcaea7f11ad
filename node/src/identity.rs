//! Whose a database is. It knows its node and network from its first start on.

use bitcoin::Network;
use bitcoin::secp256k1::PublicKey;
use storage::Database;

use crate::error::NodeError;

/// Where it is kept.
const IDENTITY: (&str, &str) = ("node", "identity");

/// Whether the database is nobody's yet.
///
/// # Errors
/// [`NodeError::WrongNetwork`] or [`NodeError::WrongSeed`] when it is another node's.
pub(crate) async fn check(
    database: &Database,
    network: Network,
    node_id: PublicKey,
) -> Result<bool, NodeError> {
    let kv = database.kv();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if let Some(expected) = kv.read(IDENTITY.0, IDENTITY.1, "network").await?.map(text)
        && expected != network.to_core_arg()
    {
        return Err(NodeError::WrongNetwork { expected, actual: network });
    }
    if let Some(expected) = kv.read(IDENTITY.0, IDENTITY.1, "node_id").await?.map(text) {
        if expected != node_id.to_string() {
            return Err(NodeError::WrongSeed { expected, actual: node_id });
        }
        return Ok(false);
    }
    Ok(true)
}

/// Makes the database this node's.
pub(crate) async fn write(
    database: &Database,
    network: Network,
    node_id: PublicKey,
) -> Result<(), NodeError> {
    let kv = database.kv();
    drop(kv.write(IDENTITY.0, IDENTITY.1, "network", network.to_core_arg().as_bytes().to_vec()));
    kv.write(IDENTITY.0, IDENTITY.1, "node_id", node_id.to_string().into_bytes()).await?;
    Ok(())
}
