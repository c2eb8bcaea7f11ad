use bitcoin::secp256k1::{Secp256k1, SecretKey};
use lightning::ln::channelmanager::InterceptId;
use lightning::ln::types::ChannelId;
use lightning_types::payment::PaymentHash;
use protocol::deadline::HoldLimits;
use protocol::hold::{HoldEvent, Part, PartState, step};
use protocol::units::Msat;
use storage::Database;
use storage::testing::Scratch;

use super::*;
use crate::store;

const NOW_UNIX: u64 = 1_700_000_000;
const HEIGHT: BlockHeight = BlockHeight(100);

fn limits() -> PaymentLimits {
    PaymentLimits {
        hold: HoldLimits { hold_blocks_min: 1, hold_blocks_max: 1_008 },
        holds_per_peer_max: 2,
        ..PaymentLimits::default()
    }
}

fn payer(key: u8) -> PublicKey {
    SecretKey::from_slice(&[key; 32]).unwrap().public_key(&Secp256k1::new())
}

fn terms(key: u8, pid: u8, hashes: &[u8]) -> HoldTerms {
    HoldTerms {
        payer: payer(key),
        pid_hash: PidHash([pid; 32]),
        payment_hashes: hashes.iter().map(|hash| PaymentHash([*hash; 32])).collect(),
        deadline: BlockHeight(200),
    }
}

async fn database() -> (Scratch, Database) {
    let scratch = Scratch::usual();
    let db = scratch.open(&[store::MIGRATIONS]).await;
    (scratch, db)
}

async fn grant(db: &Database, terms: HoldTerms, requested: u32) -> Result<BlockHeight, RefusalReason> {
    let granted: Grant = db
        .submit("grant", move |tx| {
            Box::pin(async move { grant_in(tx, &limits(), &terms, BlockHeight(requested), NOW_UNIX).await })
        })
        .await
        .unwrap();
    granted.map_err(|refusal| refusal.reason)
}

#[test]
fn hashes_are_bounded_at_below_and_above() {
    assert_eq!((bounded_hashes(1, 2), bounded_hashes(2, 2)), (Ok(()), Ok(())));
    let refused = bounded_hashes(3, 2).unwrap_err();
    assert_eq!(
        (refused.reason, refused.limit),
        (RefusalReason::TooManyHashes, Some(ServerLimit::HashesPerHold))
    );
}

#[tokio::test]
async fn the_same_request_gets_the_same_answer_and_another_is_refused() {
    let (_folder, db) = database().await;
    assert_eq!(grant(&db, terms(1, 7, &[1, 2]), 300).await, Ok(BlockHeight(200)));
    // Granted again as it was, even though a later height would grant something else now.
    let repeated = HoldTerms { deadline: BlockHeight(210), ..terms(1, 7, &[1, 2]) };
    assert_eq!(grant(&db, repeated, 300).await, Ok(BlockHeight(200)));
    assert_eq!(grant(&db, terms(1, 7, &[1]), 300).await, Err(RefusalReason::PidReused));
    assert_eq!(grant(&db, terms(1, 7, &[1, 2]), 299).await, Err(RefusalReason::PidReused));
}

#[tokio::test]
async fn a_hash_is_under_one_live_hold_of_a_payer_and_others_may_name_it_too() {
    let (_folder, db) = database().await;
    assert_eq!(grant(&db, terms(1, 7, &[1]), 200).await, Ok(BlockHeight(200)));
    assert_eq!(grant(&db, terms(1, 8, &[2, 1]), 200).await, Err(RefusalReason::HashAlreadyHeld));
    assert_eq!(grant(&db, terms(2, 7, &[1]), 200).await, Ok(BlockHeight(200)));
}

#[tokio::test]
async fn a_payer_has_only_so_many_live_holds() {
    let (_folder, db) = database().await;
    for pid in 1..=2 {
        assert_eq!(grant(&db, terms(1, pid, &[pid]), 200).await, Ok(BlockHeight(200)));
    }
    assert_eq!(grant(&db, terms(1, 3, &[3]), 200).await, Err(RefusalReason::TooManyHolds));
    assert_eq!(grant(&db, terms(2, 3, &[3]), 200).await, Ok(BlockHeight(200)));
}

fn part(id: u8) -> Part {
    Part {
        intercept_id: InterceptId([id; 32]),
        payment_hash: PaymentHash([1; 32]),
        inbound_channel_id: ChannelId([9; 32]),
        inbound_htlc_id: u64::from(id),
        inbound_amount: Msat(2_000),
        outbound_amount: Msat(1_000),
        inbound_expiry: Some(BlockHeight(600)),
        outgoing_expiry: BlockHeight(400),
        // Aliases use all 64 bits.
        next_hop_scid: u64::MAX,
        state: PartState::Held,
    }
}

#[tokio::test]
async fn a_stepped_hold_comes_back_as_it_was_and_counts_towards_the_limits() {
    let (_folder, db) = database().await;
    grant(&db, terms(1, 7, &[1]), 200).await.unwrap();
    let stored = db
        .submit("steps", |tx| {
            Box::pin(async move {
                for event in [HoldEvent::PartIntercepted(part(1)), HoldEvent::PartIntercepted(part(2))] {
                    let before = holds::find(tx, payer(1), PidHash([7; 32])).await?.unwrap();
                    let after = step(before.hold.clone(), event, HEIGHT).unwrap().hold;
                    holds::save(tx, &before, &after, NOW_UNIX + 1).await?;
                }
                let usage = holds::usage(tx, payer(1)).await?;
                assert_eq!((usage.holds, usage.held_htlcs, usage.held_msat), (1, 2, 4_000));
                Ok::<_, StoreError>(holds::find(tx, payer(1), PidHash([7; 32])).await?.unwrap())
            })
        })
        .await
        .unwrap();
    assert_eq!(stored.hold.group().parts, vec![part(1), part(2)]);
    assert_eq!(stored.hold.group().terms, terms(1, 7, &[1]));

    let hold_id = stored.hold_id;
    let unblocked = step(stored.hold.clone(), HoldEvent::Unblocked, HEIGHT).unwrap().hold;
    db.submit("unblock", move |tx| {
        Box::pin(async move { Ok::<_, StoreError>(holds::save(tx, &stored, &unblocked, NOW_UNIX).await?) })
    })
    .await
    .unwrap();
    let naming: Vec<_> =
        db.read("naming", |tx| Box::pin(holds::naming(tx, PaymentHash([1; 32])))).await.unwrap();
    assert_eq!(
        naming.iter().map(|row| (row.hold_id, row.hold.state_name())).collect::<Vec<_>>(),
        [(hold_id, "unblocked")]
    );
}
