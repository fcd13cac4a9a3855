//! Signatures of stored versions. The store keeps no key: whoever writes a version brings what signs it.

use veriboot_wire::Time;

use crate::StoreError;

/// A signature over what a version says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Id of the key.
    pub key_id: String,
    /// The signature.
    pub bytes: Vec<u8>,
}

/// Signs versions in the transaction that stores them, which decides their number.
pub trait Signs {
    /// Signs the statement of a version.
    ///
    /// # Errors
    /// [`StoreError::Failed`] when it cannot; the transaction is undone.
    fn sign(&self, statement: &Statement<'_>) -> Result<Signature, StoreError>;
}

/// What a signature of a stored version is over: a document under another name, another number or another scope has
/// another statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Statement<'a> {
    /// `baseline` or `profile`.
    pub kind: &'static str,
    /// UUIDv7 of the version.
    pub id: &'a str,
    /// Name.
    pub name: &'a str,
    /// Number.
    pub version: u32,
    /// Scope of a baseline; none of a profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<&'a veriboot_wire::Scope>,
    /// When it was made.
    pub created_at: Time,
    /// Who made it.
    pub created_by: &'a str,
    /// SHA-256 of the document, hex.
    pub document_sha256: &'a str,
}

impl Statement<'_> {
    /// The signed bytes: JSON without white space, members in the order of this type.
    ///
    /// # Errors
    /// [`StoreError::Failed`], which does not happen for texts and numbers.
    pub fn bytes(&self) -> Result<Vec<u8>, StoreError> {
        serde_json::to_vec(self).map_err(StoreError::failed)
    }
}
