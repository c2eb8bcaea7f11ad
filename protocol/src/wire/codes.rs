//! Reasons and states that travel as numbers. A number that this version does not know is kept, not refused.

use std::fmt;

use lightning::io;
use lightning::ln::msgs::DecodeError;
use lightning::util::ser::{Readable, Writeable, Writer};

macro_rules! codes {
    ($(#[$doc: meta])* $name: ident { $($(#[$variant_doc: meta])* $code: literal $variant: ident $text: literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
            /// A number that this version has no name for.
            Unknown(u16),
        }

        impl $name {
            /// Every value that has a name, in the order of the numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The number on the wire.
            pub fn code(self) -> u16 {
                match self {
                    $(Self::$variant => $code,)*
                    Self::Unknown(code) => code,
                }
            }

            /// The value of a number on the wire.
            pub fn from_code(code: u16) -> Self {
                match code {
                    $($code => Self::$variant,)*
                    code => Self::Unknown(code),
                }
            }

            /// The name, as in logs, metrics and the HTTP API: `unknown` for any number without a name.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Unknown(_) => "unknown",
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    Self::Unknown(code) => write!(f, "unknown ({code})"),
                    named => f.write_str(named.as_str()),
                }
            }
        }

        impl Writeable for $name {
            fn write<W: Writer>(&self, writer: &mut W) -> Result<(), io::Error> {
                self.code().write(writer)
            }
        }

        impl Readable for $name {
            fn read<R: io::Read>(reader: &mut R) -> Result<Self, DecodeError> {
                u16::read(reader).map(Self::from_code)
            }
        }
    };
}

codes! {
    /// Why an LSP refuses a `payment_block`.
    RefusalReason {
        /// The LSP cannot say right now. The same request may succeed later.
        0 Unavailable "unavailable",
        /// The signature is not the payer's, or not for this LSP.
        1 BadSignature "bad_signature",
        /// The payer has no channel here.
        2 NoChannel "no_channel",
        /// The payer has an announced channel here, whose HTLCs the LSP cannot hold.
        3 ChannelAnnounced "channel_announced",
        /// The deadline is further away than this LSP holds anything.
        4 DeadlineTooLate "deadline_too_late",
        /// The deadline has passed, or leaves no time to pay.
        5 DeadlineTooSoon "deadline_too_soon",
        /// More payment hashes than this LSP takes in one hold.
        6 TooManyHashes "too_many_hashes",
        /// The payer has as many live holds as this LSP allows, or as many that it remembers.
        7 TooManyHolds "too_many_holds",
        /// The pid was used before, for something else.
        8 PidReused "pid_reused",
        /// Another live hold of this payer has one of the payment hashes.
        9 HashAlreadyHeld "hash_already_held",
        /// The parts would be too small to claim on chain.
        10 PartTooSmall "part_too_small",
    }
}

codes! {
    /// Why a payee will not take a pending payment.
    PayeeRefusal {
        /// No invoice of the payee has this payment hash.
        1 UnknownHash "unknown_hash",
        /// The amount is not the invoice's.
        2 WrongAmount "wrong_amount",
        /// The invoice has been paid.
        3 AlreadyPaid "already_paid",
        /// The invoice has expired.
        4 InvoiceExpired "invoice_expired",
    }
}

codes! {
    /// What became of a hold, as its payer is told. A hold that is over may still have HTLCs on the payer's channel, which
    /// the payer must come online for: see [`HashStatus::held_parts`](super::HashStatus::held_parts).
    HoldStateCode {
        /// Granted; no HTLC has come.
        1 Waiting "waiting",
        /// At least one HTLC is held.
        2 Held "held",
        /// The payee has said that it is there; HTLCs that come are released at once, those held as soon as they can be carried.
        3 Unblocked "unblocked",
        /// Every HTLC that came has been forwarded.
        4 Released "released",
        /// The preimage is known; the payer must come online for it.
        5 Claimed "claimed",
        /// Paid, and off the payer's channel.
        6 Settled "settled",
        /// Cancelled by the payer.
        7 Cancelled "cancelled",
        /// The deadline passed.
        8 Expired "expired",
        /// Failed downstream, refused, or failed by the LSP.
        9 Failed "failed",
    }
}
