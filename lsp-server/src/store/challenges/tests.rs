use storage::testing::Scratch;

use super::*;
use crate::testing::{START, TestDatabase, public};

storage::on_both!(
    each_bound_is_kept_at_below_and_above_it,
    whose_challenges_are_over_makes_room_for_its_like,
    a_challenge_is_used_once_whatever_becomes_of_the_channel,
    a_node_that_floods_takes_no_room_from_others,
);

const LIMITS: DeviceLimits = DeviceLimits {
    per_node_max: 10,
    without_channel_max: 10,
    used_challenges_max: 5,
    used_challenges_without_channel_max: 4,
    used_challenges_per_node_max: 3,
};

/// A challenge of its own, good until five minutes after the start, or after it was answered if that is later.
fn answered(number: u32, now_unix: u64) -> Answered {
    let expires_at = if now_unix < START + 300 { START + 300 } else { now_unix + 300 };
    Answered { challenge: number.to_be_bytes().to_vec(), expires_at, now_unix }
}

async fn answer(
    db: &TestDatabase,
    answered: Answered,
    node: u8,
    has_channel: bool,
) -> Result<(), ChallengeRefused> {
    let answerer = Answerer { node_id: public(node), has_channel };
    // As a request does it: what is refused changes nothing.
    let outcome = db.database.submit("test", move |tx| {
        Box::pin(async move {
            match use_challenge(tx, &answered, answerer, &LIMITS).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(refused)) => Err(TestError::Refused(refused)),
                Err(error) => Err(TestError::Storage(error)),
            }
        })
    });
    match outcome.await {
        Ok(()) => Ok(()),
        Err(TestError::Refused(refused)) => Err(refused),
        Err(TestError::Storage(error)) => panic!("{error}"),
    }
}

#[derive(Debug, thiserror::Error)]
enum TestError {
    #[error(transparent)]
    Refused(ChallengeRefused),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

async fn each_bound_is_kept_at_below_and_above_it(scratch: Scratch) {
    let db = TestDatabase::on(scratch).await;
    // One node's: the third is the last, with a channel or without.
    for (node, has_channel) in [(1, true), (2, false)] {
        for number in 0..3 {
            let number = u32::from(node) * 10 + number;
            assert_eq!(
                answer(&db, answered(number, START), node, has_channel).await,
                Ok(()),
                "{node}: {number}"
            );
        }
        let fourth = answer(&db, answered(u32::from(node) * 10 + 3, START), node, has_channel).await;
        assert_eq!(fourth, Err(ChallengeRefused::TooManyOfNode(3)));
        let fourth = answer(&db, answered(u32::from(node) * 10 + 3, START), node, !has_channel).await;
        assert_eq!(fourth, Err(ChallengeRefused::TooManyOfNode(3)), "whatever becomes of its channel");
    }
    // All strangers': the fourth is the last, whoever they are.
    assert_eq!(answer(&db, answered(30, START), 3, false).await, Ok(()));
    for stranger in 4..10 {
        let refused = answer(&db, answered(40, START), stranger, false).await;
        assert_eq!(refused, Err(ChallengeRefused::TooManyWithoutChannel));
    }
    // All others': the fifth is the last.
    for client in [4, 5] {
        assert_eq!(
            answer(&db, answered(u32::from(client) * 10, START), client, true).await,
            Ok(()),
            "{client}"
        );
    }
    assert_eq!(answer(&db, answered(60, START), 6, true).await, Err(ChallengeRefused::TooMany));
    assert_eq!(
        db.number("SELECT COUNT(*) AS n FROM used_challenge").await,
        9,
        "what is refused leaves no row"
    );
}

async fn whose_challenges_are_over_makes_room_for_its_like(scratch: Scratch) {
    let db = TestDatabase::on(scratch).await;
    for (number, node, has_channel) in
        [(1, 1, true), (2, 2, true), (3, 3, true), (4, 4, true), (5, 5, true), (6, 6, false), (7, 7, false)]
    {
        assert_eq!(answer(&db, answered(number, START), node, has_channel).await, Ok(()));
    }
    for number in [8, 9] {
        assert_eq!(answer(&db, answered(number, START), 8, false).await, Ok(()));
    }
    let full = answer(&db, answered(10, START + 299), 9, false).await;
    assert_eq!(full, Err(ChallengeRefused::TooManyWithoutChannel), "they are good for a second yet");
    let full = answer(&db, answered(10, START + 299), 9, true).await;
    assert_eq!(full, Err(ChallengeRefused::TooMany), "they are good for a second yet");
    // Nobody with a channel comes: strangers find their room all the same.
    assert_eq!(answer(&db, answered(11, START + 300), 8, false).await, Ok(()));
    assert_eq!(db.number("SELECT COUNT(*) AS n FROM used_challenge WHERE has_channel = 0").await, 1);
    assert_eq!(answer(&db, answered(12, START + 300), 9, true).await, Ok(()));
    assert_eq!(db.number("SELECT COUNT(*) AS n FROM used_challenge").await, 2);
}

async fn a_challenge_is_used_once_whatever_becomes_of_the_channel(scratch: Scratch) {
    let db = TestDatabase::on(scratch).await;
    assert_eq!(answer(&db, answered(1, START), 1, false).await, Ok(()));
    for has_channel in [false, true, false] {
        assert_eq!(answer(&db, answered(1, START), 1, has_channel).await, Err(ChallengeRefused::Used));
    }
    assert_eq!(db.number("SELECT COUNT(*) AS n FROM used_challenge").await, 1);
}

async fn a_node_that_floods_takes_no_room_from_others(scratch: Scratch) {
    let db = TestDatabase::on(scratch).await;
    let mut refused = 0;
    for number in 0..20 {
        // Twenty keys of one stranger, three requests each.
        for request in 0..3 {
            let outcome = answer(&db, answered(number * 3 + request, START), 20 + number as u8, false).await;
            refused += u32::from(outcome == Err(ChallengeRefused::TooManyWithoutChannel));
        }
        // And a client's that floods.
        let _ = answer(&db, answered(1_000 + number, START), 1, true).await;
    }
    assert_eq!(refused, 60 - 4);
    for number in [100, 101] {
        assert_eq!(answer(&db, answered(number, START), 2, true).await, Ok(()), "an honest phone's");
    }
}
