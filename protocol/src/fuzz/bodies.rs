use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::Problem;
use crate::api::admin::{
    ChannelView, CloseChannelRequest, ConnectRequest, DeviceView, HoldDetail, HoldSummary, HoldsCheck,
    ListHoldsQuery, MailboxView, NewAddress, NodeInfo, NotificationView, OpenChannelRequest,
    OpenChannelResponse, ReleaseHoldRequest, WakeView,
};
use crate::api::ledger::WakeRecord;
use crate::api::owner::{OwnDevices, RefreshDeviceRequest, TestPushResponse};
use crate::api::public::{
    ChallengeRequest, ChallengeResponse, HealthResponse, LspInfo, RegisterDeviceRequest,
    RegisterDeviceResponse,
};

/// A JSON body of every type of both APIs: what is read is written to text that reads the same.
pub fn api_bodies(data: &[u8]) {
    read_back::<ChallengeRequest>(data);
    read_back::<ChallengeResponse>(data);
    read_back::<HealthResponse>(data);
    read_back::<LspInfo>(data);
    read_back::<RegisterDeviceRequest>(data);
    read_back::<RegisterDeviceResponse>(data);
    read_back::<OwnDevices>(data);
    read_back::<RefreshDeviceRequest>(data);
    read_back::<TestPushResponse>(data);
    read_back::<WakeRecord>(data);
    read_back::<Problem>(data);

    read_back::<ChannelView>(data);
    read_back::<CloseChannelRequest>(data);
    read_back::<ConnectRequest>(data);
    read_back::<DeviceView>(data);
    read_back::<HoldDetail>(data);
    read_back::<HoldSummary>(data);
    read_back::<HoldsCheck>(data);
    read_back::<ListHoldsQuery>(data);
    read_back::<MailboxView>(data);
    read_back::<NewAddress>(data);
    read_back::<NodeInfo>(data);
    read_back::<NotificationView>(data);
    read_back::<OpenChannelRequest>(data);
    read_back::<OpenChannelResponse>(data);
    read_back::<ReleaseHoldRequest>(data);
    read_back::<WakeView>(data);
}

fn read_back<T: DeserializeOwned + Serialize + PartialEq + Debug>(data: &[u8]) {
    let Ok(body) = serde_json::from_slice::<T>(data) else { return };
    let written = serde_json::to_vec(&body).unwrap();
    assert_eq!(serde_json::from_slice::<T>(&written).unwrap(), body);
}
