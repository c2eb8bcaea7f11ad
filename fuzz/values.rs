//! Columns of any kind, for rows that no version of the program wrote. Compiled into each crate that has tables.

use storage::Value;

/// An input as a supply of columns. What is missing is zero.
pub(super) struct Columns<'a>(&'a [u8]);

/// The public key of the secret key 1: the generator.
const A_KEY: [u8; 33] = [
    0x02, 0x79, 0xbe, 0x66, 0x7e, 0xf9, 0xdc, 0xbb, 0xac, 0x55, 0xa0, 0x62, 0x95, 0xce, 0x87, 0x0b, 0x07,
    0x02, 0x9b, 0xfc, 0xdb, 0x2d, 0xce, 0x28, 0xd9, 0x59, 0xf2, 0x81, 0x5b, 0x16, 0xf8, 0x17, 0x98,
];

impl<'a> Columns<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A value of any type; texts are often one of `codes`.
    pub(super) fn any(&mut self, codes: &[&str]) -> Value {
        let (kind, size) = (self.byte(), self.byte());
        match kind % 12 {
            0 => Value::Integer(None),
            1 => Value::Integer(Some(i64::from_be_bytes(std::array::from_fn(|_| self.byte())))),
            2 => Value::from(-i64::from(size)),
            3 => Value::from(self.bytes(size.into())),
            4 => Value::from(self.bytes(32)),
            5 => Value::from(self.bytes(16)),
            6 => Value::from(A_KEY.to_vec()),
            7 => Value::from(String::from_utf8_lossy(&self.bytes(size.into())).into_owned()),
            8 | 9 => match codes.get(usize::from(size) % codes.len().max(1)) {
                Some(code) => Value::from((*code).to_owned()),
                None => Value::from(i64::from(size)),
            },
            _ => Value::from(i64::from(size)),
        }
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.byte()).collect()
    }
}
