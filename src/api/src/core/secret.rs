//! The node's own secret, and the tokens it signs: a guest's, and the one that reads and pays a single order.
//!
//! ```text
//! gt_  base64url( guest id ‖ expires_at ms ‖ HMAC("guest" ‖ id ‖ expires_at) )
//! ot_  base64url( order id ‖ HMAC("order" ‖ id) )
//! ```
//!
//! Tokens are not stored: the signature proves them, and it is compared in constant time.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use doorbuster_domain::claims::ClaimKind;
use doorbuster_domain::ids::{CounterId, GuestId, OrderId};
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::private;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

/// Name of the file in the data folder.
pub const FILE: &str = "node.secret";
const GUEST_PREFIX: &str = "gt_";
const ORDER_PREFIX: &str = "ot_";

/// The secret that signs tokens. Its clones are the same secret; it is never shown.
#[derive(Clone)]
pub struct Secret {
    keyed: Hmac<Sha256>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret")
    }
}

impl Secret {
    /// A secret from its bytes.
    ///
    /// # Panics
    /// Never: HMAC takes keys of every length.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self { keyed: <Hmac<Sha256> as Mac>::new_from_slice(bytes).expect("HMAC takes keys of every length") }
    }

    /// The secret of a data folder; the first start makes it from `fresh`, readable by its owner only.
    ///
    /// # Errors
    /// When the file can be neither read nor made, or is not 64 hexadecimal digits.
    pub fn of_folder(folder: &Path, fresh: [u8; 32]) -> io::Result<Self> {
        kept_in_folder(folder, FILE, fresh).map(|bytes| Self::new(&bytes))
    }

    fn tag(&self, purpose: &[u8], parts: [&[u8]; 2]) -> Hmac<Sha256> {
        let mut mac = self.keyed.clone();
        mac.update(purpose);
        for part in parts {
            mac.update(part);
        }
        mac
    }

    /// A key for another purpose, from which this secret cannot be found.
    #[must_use]
    pub fn derived(&self, purpose: &str) -> [u8; 32] {
        self.tag(b"derived ", [purpose.as_bytes(), b""]).finalize().into_bytes().into()
    }

    /// A guest's token, valid until `expires_at`.
    #[must_use]
    pub fn guest_token(&self, guest: GuestId, expires_at: Timestamp) -> String {
        let (id, until) = (guest.0.to_be_bytes(), expires_at.0.to_be_bytes());
        let tag = self.tag(b"guest", [&id, &until]).finalize().into_bytes();
        let bytes = [id.as_slice(), until.as_slice(), tag.as_slice()].concat();
        format!("{GUEST_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The guest of a token, if this secret signed it and it has not expired.
    #[must_use]
    pub fn guest_of(&self, token: &str, now: Timestamp) -> Option<GuestId> {
        let bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix(GUEST_PREFIX)?).ok()?;
        let (id, rest) = bytes.split_first_chunk::<16>()?;
        let (until, tag) = rest.split_first_chunk::<8>()?;
        self.tag(b"guest", [id, until]).verify_slice(tag).ok()?;
        (u64::from_be_bytes(*until) > now.0).then(|| GuestId(u128::from_be_bytes(*id)))
    }

    /// The counter of what callers name, such as one external id of a seller: nobody can choose two names with one counter (rule W4).
    #[must_use]
    pub fn counter(&self, kind: ClaimKind, owner: &str, name: &str) -> CounterId {
        // No owner and no kind contains a zero byte, so no two names are the same bytes.
        let owner = [owner.as_bytes(), &[0]].concat();
        let purpose = [b"counter", kind.as_str().as_bytes(), &[0]].concat();
        let tag = self.tag(&purpose, [&owner, name.as_bytes()]).finalize().into_bytes();
        let mut first = [0_u8; 16];
        first.iter_mut().zip(tag).for_each(|(to, from)| *to = from);
        CounterId(u128::from_be_bytes(first))
    }

    /// The token whose holder may read and pay `order`.
    #[must_use]
    pub fn order_token(&self, order: OrderId) -> String {
        let id = order.0.to_be_bytes();
        let tag = self.tag(b"order", [&id, &[]]).finalize().into_bytes();
        let mut bytes = [0_u8; 48];
        bytes.iter_mut().zip(id.iter().chain(tag.iter())).for_each(|(to, from)| *to = *from);
        let mut token = String::with_capacity(ORDER_PREFIX.len() + 64);
        token.push_str(ORDER_PREFIX);
        URL_SAFE_NO_PAD.encode_string(bytes, &mut token);
        token
    }

    /// The order of a token, if this secret signed it.
    #[must_use]
    pub fn order_of(&self, token: &str) -> Option<OrderId> {
        let bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix(ORDER_PREFIX)?).ok()?;
        let (id, tag) = bytes.split_first_chunk::<16>()?;
        self.tag(b"order", [id, &[]]).verify_slice(tag).ok()?;
        Some(OrderId(u128::from_be_bytes(*id)))
    }
}

/// The 32 bytes that a file of a data folder keeps; the first call makes the file from `fresh`, readable by its owner only.
///
/// # Errors
/// When the file can be neither read nor made, or is not 64 hexadecimal digits.
pub fn kept_in_folder(folder: &Path, name: &str, fresh: [u8; 32]) -> io::Result<[u8; 32]> {
    let path = folder.join(name);
    let kept = match fs::read_to_string(&path) {
        Ok(text) => unhex(text.trim())
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is not 64 hexadecimal digits")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make_secret(folder, name, &fresh).map(|()| fresh),
        Err(error) => Err(error),
    };
    kept.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// Writes another file and renames it: a crash leaves no partial secret that the next start would refuse.
fn make_secret(folder: &Path, name: &str, fresh: &[u8; 32]) -> io::Result<()> {
    let temporary = folder.join(format!("{name}.new"));
    let mut file = create_private(&temporary)?;
    file.write_all(hex(fresh).as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, folder.join(name))?;
    File::open(folder)?.sync_all()
}

/// Creates a file that only its owner can read.
pub(super) fn create_private(path: &Path) -> io::Result<File> {
    private::options().write(true).create(true).truncate(true).open(path)
}

/// Bytes as lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}

/// 32 bytes from their hexadecimal digits.
pub(super) fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0_u8; 32];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(index * 2..index * 2 + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// Cryptographically secure random bytes from the operating system.
///
/// # Errors
/// When the operating system provides none.
pub fn fresh() -> io::Result<[u8; 32]> {
    let mut bytes = [0_u8; 32];
    #[cfg(unix)]
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    #[cfg(not(unix))]
    rand::RngCore::fill_bytes(&mut rand::rng(), &mut bytes);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_token_is_valid_until_it_expires_and_for_one_secret_only() {
        let secret = Secret::new(&[7; 32]);
        let token = secret.guest_token(GuestId(42), Timestamp(1_000));
        assert_eq!(secret.guest_of(&token, Timestamp(999)), Some(GuestId(42)));
        assert_eq!(secret.guest_of(&token, Timestamp(1_000)), None);
        assert_eq!(Secret::new(&[8; 32]).guest_of(&token, Timestamp(0)), None);
    }

    #[test]
    fn a_token_with_a_changed_letter_is_invalid() {
        let secret = Secret::new(&[7; 32]);
        let token = secret.order_token(OrderId(1 << 100));
        assert_eq!(secret.order_of(&token), Some(OrderId(1 << 100)));
        for place in 3..token.len() {
            let mut forged = token.clone().into_bytes();
            forged[place] = if forged[place] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            assert_eq!(secret.order_of(&forged).filter(|_| forged != token), None, "{forged}");
        }
    }

    #[test]
    fn the_secret_of_a_folder_stays_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let first = Secret::of_folder(folder.path(), [1; 32]).unwrap().order_token(OrderId(9 << 16));
        let second = Secret::of_folder(folder.path(), [2; 32]).unwrap().order_token(OrderId(9 << 16));
        assert_eq!(first, second);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }
}
