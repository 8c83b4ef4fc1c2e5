//! The shared token: both ends prove that they know it, and it never crosses the wire.
//!
//! Each end sends 256 random bits (its nonce) and answers the other's with HMAC-SHA-256 (RFC 2104,
//! FIPS 180-4) under the token, over a label, the server's nonce and the client's. The labels differ,
//! so neither end's answer can be played back to it. Whoever only listens learns nothing but pairs of
//! nonces and answers; a long random token (`openssl rand -hex 32`) can't be guessed from those.

use std::{fmt, fs, os::unix::fs::PermissionsExt, path::Path};

use hmac::{Hmac, KeyInit, Mac};
use meter::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// Random bytes that make each answer unlike every other.
pub type Nonce = Bits;

/// 256 bits: a nonce or a proof. Shown and sent as 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Bits(pub [u8; 32]);

impl From<Bits> for String {
    fn from(bits: Bits) -> Self {
        bits.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl TryFrom<String> for Bits {
    type Error = &'static str;

    fn try_from(text: String) -> std::result::Result<Self, &'static str> {
        let wrong = "not 64 hexadecimal digits";
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong);
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| wrong)?;
        }
        Ok(Self(bytes))
    }
}

/// Which end proves that it knows the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that connects.
    Client,
    /// The one that listens.
    Server,
}

/// Shortest token accepted, in bytes.
const SHORTEST: usize = 16;

/// A secret that both ends know.
#[derive(Clone)]
pub struct Token(Vec<u8>);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// The token in `path`: the file's content without the white space around it.
    ///
    /// # Errors
    /// When the file can't be read, or holds fewer than 16 bytes.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read(path)
            .map_err(|error| Error::system(format!("read the token file {}", path.display()), error))?;
        Self::new(text.trim_ascii()).ok_or_else(|| {
            let told = format!("the token in {} is shorter than {SHORTEST} bytes", path.display());
            Error::bad_arguments(format!("{told}; make one with `openssl rand -hex 32`"))
        })
    }

    /// A warning when others than its owner can read the token file `path`; `None` when all is well, or the file
    /// can't be looked at.
    #[must_use]
    pub fn exposure(path: &Path) -> Option<String> {
        let mode = fs::metadata(path).ok()?.permissions().mode();
        let told = || format!("others can read the token file {0}; `chmod 600 {0}`", path.display());
        (mode & 0o044 != 0).then(told)
    }

    /// `secret` as a token; `None` when it is shorter than 16 bytes.
    #[must_use]
    pub fn new(secret: &[u8]) -> Option<Self> {
        (secret.len() >= SHORTEST).then(|| Self(secret.to_vec()))
    }

    fn mac(&self, side: Side, server: &Nonce, client: &Nonce) -> Hmac<Sha256> {
        let label: &[u8] = match side {
            Side::Client => b"netprobe client",
            Side::Server => b"netprobe server",
        };
        // HMAC takes keys of every length.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC has no wrong key length");
        mac.update(label);
        mac.update(&server.0);
        mac.update(&client.0);
        mac
    }

    /// The proof of one side for this pair of nonces.
    #[must_use]
    pub fn prove(&self, side: Side, server: &Nonce, client: &Nonce) -> Bits {
        Bits(self.mac(side, server, client).finalize().into_bytes().into())
    }

    /// Whether `proof` is that side's, in a time that does not depend on where it differs.
    #[must_use]
    pub fn verify(&self, side: Side, server: &Nonce, client: &Nonce, proof: &Bits) -> bool {
        self.mac(side, server, client).verify_slice(&proof.0).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_its_token_side_and_nonces_only() {
        let token = Token::new(b"a token of some length").unwrap();
        let other = Token::new(b"a token of same length").unwrap();
        let (server, client) = (Bits([1; 32]), Bits([2; 32]));
        let proof = token.prove(Side::Client, &server, &client);
        assert!(token.verify(Side::Client, &server, &client, &proof));
        assert!(!token.verify(Side::Server, &server, &client, &proof));
        assert!(!token.verify(Side::Client, &client, &server, &proof));
        assert!(!other.verify(Side::Client, &server, &client, &proof));
    }

    #[test]
    fn bits_are_64_digits() {
        let bits = Bits(std::array::from_fn(|index| index as u8 * 7));
        assert_eq!(Bits::try_from(String::from(bits)), Ok(bits));
        for text in ["", "zz", &"g".repeat(64), &"é".repeat(32)] {
            assert!(Bits::try_from(text.to_owned()).is_err());
        }
    }

    #[test]
    fn a_short_token_is_refused() {
        assert!(Token::new(b"short").is_none());
    }
}
