//! Schemas of the ids and units that stand in the bodies of the HTTP interfaces.

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Object, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::ids::PidHash;
use crate::units::{BlockHeight, Msat};

impl PartialSchema for Msat {
    fn schema() -> RefOr<Schema> {
        let object = Object::builder().schema_type(Type::Integer).minimum(Some(0));
        object.description(Some("Millisatoshi.")).into()
    }
}

impl ToSchema for Msat {}

impl PartialSchema for BlockHeight {
    fn schema() -> RefOr<Schema> {
        let object = Object::builder().schema_type(Type::Integer).minimum(Some(0));
        object.description(Some("The height of a block.")).into()
    }
}

impl ToSchema for BlockHeight {}

impl PartialSchema for PidHash {
    fn schema() -> RefOr<Schema> {
        let object = Object::builder().schema_type(Type::String).pattern(Some("^[0-9a-f]{64}$"));
        object.description(Some("SHA256 of a payment id.")).into()
    }
}

impl ToSchema for PidHash {}
