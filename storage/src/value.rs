use crate::StorageError;

/// A parameter of a query, `$1` and up. A null keeps its type, which some databases ask for.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    Integer(Option<i64>),
    Bool(Option<bool>),
    Text(Option<String>),
    Blob(Option<Vec<u8>>),
}

macro_rules! value_from {
    ($($variant:ident: $($from:ty => $convert:expr),+;)+) => {$($(
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                let convert: fn($from) -> _ = $convert;
                Self::$variant(Some(convert(value)))
            }
        }

        impl From<Option<$from>> for Value {
            fn from(value: Option<$from>) -> Self {
                Self::$variant(value.map($convert))
            }
        }
    )+)+};
}

value_from! {
    Integer: i64 => |n| n, i32 => i64::from, u32 => i64::from, u16 => i64::from, u8 => i64::from;
    Bool: bool => |b| b;
    Text: &str => str::to_owned, &String => String::clone, String => |text| text;
    Blob: &[u8] => <[u8]>::to_vec, &Vec<u8> => Vec::clone, Vec<u8> => |bytes| bytes;
}

impl<const N: usize> From<[u8; N]> for Value {
    fn from(bytes: [u8; N]) -> Self {
        Self::Blob(Some(bytes.to_vec()))
    }
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(bytes: &[u8; N]) -> Self {
        Self::Blob(Some(bytes.to_vec()))
    }
}

impl<const N: usize> From<Option<[u8; N]>> for Value {
    fn from(bytes: Option<[u8; N]>) -> Self {
        Self::Blob(bytes.map(|bytes| bytes.to_vec()))
    }
}

/// Amounts, times and counts: the columns are signed, so what is above `i64::MAX` is refused, never wrapped.
impl TryFrom<u64> for Value {
    type Error = StorageError;

    fn try_from(n: u64) -> Result<Self, Self::Error> {
        i64::try_from(n).map(Self::from).map_err(|_| StorageError::ValueRange)
    }
}

impl TryFrom<Option<u64>> for Value {
    type Error = StorageError;

    fn try_from(n: Option<u64>) -> Result<Self, Self::Error> {
        n.map_or(Ok(Self::Integer(None)), Self::try_from)
    }
}

impl TryFrom<usize> for Value {
    type Error = StorageError;

    fn try_from(n: usize) -> Result<Self, Self::Error> {
        i64::try_from(n).map(Self::from).map_err(|_| StorageError::ValueRange)
    }
}

/// The parameters of a query, each by its `From`: `values![hash, height, note]` is a `[Value; 3]`.
///
/// A `u64` has only a `TryFrom`: write `Value::try_from(amount)?` in its place.
#[macro_export]
macro_rules! values {
    ($($value:expr),* $(,)?) => {
        [$($crate::Value::from($value)),*]
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_kind() {
        let values = values![7_u32, "text", [1_u8, 2], true, None::<i64>, Some("x"), Some([3_u8])];
        let expected = [
            Value::Integer(Some(7)),
            Value::Text(Some("text".into())),
            Value::Blob(Some(vec![1, 2])),
            Value::Bool(Some(true)),
            Value::Integer(None),
            Value::Text(Some("x".into())),
            Value::Blob(Some(vec![3])),
        ];
        assert!(values == expected);
    }

    #[test]
    fn an_amount_that_no_column_holds_is_refused() {
        assert!(Value::try_from(i64::MAX as u64).unwrap() == Value::Integer(Some(i64::MAX)));
        assert!(matches!(Value::try_from(i64::MAX as u64 + 1), Err(StorageError::ValueRange)));
        assert!(Value::try_from(None::<u64>).unwrap() == Value::Integer(None));
    }
}
