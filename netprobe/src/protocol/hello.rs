//! The first bytes of every TCP connection to a server: what the connection is for.

/// Length of a hello in bytes.
pub const LENGTH: usize = 32;

/// Version of the protocol; a server speaks exactly one.
pub const VERSION: u8 = 4;

const MAGIC: [u8; 4] = *b"NPRB";
const CONTROL: u8 = 1;
const DATA: u8 = 2;

/// Names a session to its data connections: 128 random bits that only its client was told.
pub type Cookie = [u8; 16];

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hello {
    /// Frames of messages follow.
    Control,
    /// It is a flow of an open session; what follows is payload.
    Data {
        /// The session.
        cookie: Cookie,
        /// Number of the flow within the session, from 0.
        flow: u32,
    },
}

/// Why the first bytes are not a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// They do not begin with the protocol's mark: some other program.
    NotNetprobe,
    /// Another version of the protocol.
    Version(u8),
    /// The mark and version are right, the rest is not.
    Field,
}

impl Hello {
    /// The hello as it goes over the wire: mark, version, kind, two zero bytes, cookie, flow
    /// (big-endian), four zero bytes.
    #[must_use]
    pub fn encode(self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = VERSION;
        match self {
            Self::Control => bytes[5] = CONTROL,
            Self::Data { cookie, flow } => {
                bytes[5] = DATA;
                bytes[8..24].copy_from_slice(&cookie);
                bytes[24..28].copy_from_slice(&flow.to_be_bytes());
            }
        }
        bytes
    }

    /// Reads what [`Hello::encode`] wrote; every byte counts.
    ///
    /// # Errors
    /// Says in what way the bytes are not a hello.
    pub fn decode(bytes: &[u8; LENGTH]) -> Result<Self, Malformed> {
        if bytes[..4] != MAGIC {
            return Err(Malformed::NotNetprobe);
        }
        if bytes[4] != VERSION {
            return Err(Malformed::Version(bytes[4]));
        }
        let mut cookie = Cookie::default();
        cookie.copy_from_slice(&bytes[8..24]);
        let flow = u32::from_be_bytes([bytes[24], bytes[25], bytes[26], bytes[27]]);
        let hello = if bytes[5] == CONTROL { Self::Control } else { Self::Data { cookie, flow } };
        // Unused bytes must be zero, so that a later version can give them a meaning.
        if hello.encode() == *bytes { Ok(hello) } else { Err(Malformed::Field) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_hello_survives_the_wire(cookie: Cookie, flow: u32) {
            let hello = Hello::Data { cookie, flow };
            prop_assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
        }

        #[test]
        fn only_what_was_encoded_is_decoded(bytes: [u8; LENGTH]) {
            if let Ok(hello) = Hello::decode(&bytes) {
                prop_assert_eq!(hello.encode(), bytes);
            }
        }
    }

    #[test]
    fn control_has_nothing_behind_its_kind() {
        let mut bytes = Hello::Control.encode();
        assert_eq!(Hello::decode(&bytes), Ok(Hello::Control));
        bytes[31] = 1;
        assert_eq!(Hello::decode(&bytes), Err(Malformed::Field));
        bytes[4] = 9;
        assert_eq!(Hello::decode(&bytes), Err(Malformed::Version(9)));
        bytes[0] = b'G';
        assert_eq!(Hello::decode(&bytes), Err(Malformed::NotNetprobe));
    }
}
