//! The wire form of the crate's own value types: big-endian integers and plain bytes, as LDK writes them.

use lightning::io;
use lightning::ln::msgs::DecodeError;
use lightning::util::ser::{Readable, RequiredWrapper, Writeable, Writer};

use crate::ids::{Pid, PidHash};
use crate::units::{BlockHeight, Msat};

macro_rules! newtype {
    ($($newtype: ident),*) => { $(
        impl Writeable for $newtype {
            fn write<W: Writer>(&self, writer: &mut W) -> Result<(), io::Error> {
                self.0.write(writer)
            }
        }

        impl Readable for $newtype {
            fn read<R: io::Read>(reader: &mut R) -> Result<Self, DecodeError> {
                Readable::read(reader).map(Self)
            }
        }
    )* };
}
newtype!(Pid, PidHash, BlockHeight, Msat);

/// What a field that must be there held. LDK's decoder has already refused a stream without it.
pub(super) fn required<T>(field: RequiredWrapper<T>) -> Result<T, DecodeError> {
    field.0.ok_or(DecodeError::InvalidValue)
}
