//! Every kind of refusal that the API can answer with. docs/errors.md is made from this table.

use veriboot_wire::Fault;

/// One kind of refusal.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// Stable identifier, kebab case.
    pub code: &'static str,
    /// HTTP status.
    pub status: u16,
    /// Whose fault it is.
    pub fault: Fault,
    /// When it is answered.
    pub meaning: &'static str,
    /// What the caller does next; a message-specific hint can replace it.
    pub hint: &'static str,
    /// Seconds after which trying again makes sense.
    pub retry_after_s: Option<u32>,
}

macro_rules! kinds {
    ($($name:ident = $status:literal $code:literal $fault:ident $(retry $retry:literal)?, $meaning:literal, $hint:literal;)+) => {
        $(#[doc = $meaning] pub static $name: Kind = Kind {
            code: $code,
            status: $status,
            fault: Fault::$fault,
            meaning: $meaning,
            hint: $hint,
            retry_after_s: kinds!(@retry $($retry)?),
        };)+
        /// Every kind, in the order of this file.
        pub static ALL: &[&Kind] = &[$(&$name,)+];
    };
    (@retry) => { None };
    (@retry $retry:literal) => { Some($retry) };
}

kinds! {
    // Any route
    BAD_REQUEST = 400 "bad-request" Client,
        "The request is not valid HTTP for this path.", "see docs/api.md for what this path takes";
    INVALID_BODY = 400 "invalid-body" Client,
        "The body is not the JSON that this path takes.",
        "see openapi.json for the shape; unknown members are refused";
    INVALID_QUERY = 400 "invalid-query" Client,
        "A query parameter is unknown or has a value that it cannot have.", "see openapi.json for the parameters";
    INVALID_VALUE = 400 "invalid-value" Client,
        "A member of the body has a value outside of its limits.", "the message names the member and its limits";
    INVALID_CURSOR = 400 "invalid-cursor" Client,
        "The cursor was not made by this list.", "start again without a cursor";
    UNSUPPORTED_MEDIA_TYPE = 415 "unsupported-media-type" Client,
        "The body is not declared as application/json.", "send `Content-Type: application/json`";
    BODY_TOO_LARGE = 413 "body-too-large" Client,
        "The body is larger than this path takes (8 MiB for evidence, 256 KiB elsewhere).", "send less";
    NO_SUCH_ROUTE = 404 "no-such-route" Client,
        "There is no such path.", "openapi.json lists all paths";
    METHOD_NOT_ALLOWED = 405 "method-not-allowed" Client,
        "The path does not take that method.", "the Allow header names the methods";
    TIMEOUT = 408 "timeout" Client retry 5,
        "The request did not arrive or finish in time.", "try again";
    OVERLOADED = 503 "overloaded" Service retry 5,
        "More requests are in flight than the service takes.", "try again after Retry-After";
    STOPPING = 503 "stopping" Service retry 5,
        "The service is being stopped.", "try again after Retry-After";
    DATABASE_BUSY = 503 "database-busy" Service retry 2,
        "The database is locked or too busy to answer in time.", "try again after Retry-After";
    DATABASE_UNAVAILABLE = 503 "database-unavailable" Service retry 5,
        "The database cannot be reached or cannot be written.",
        "the operator finds the cause in the service's log under the request id";
    DATABASE_COMMIT_UNKNOWN = 503 "database-commit-unknown" Service,
        "The connection to the database broke while the change was on its way: it was done or it was not.",
        "look whether the change is there before it is made again";
    TOO_MANY = 429 "too-many" Client retry 60,
        "There are more things of this kind than the service keeps.", "try again after Retry-After";
    TOO_MANY_STREAMS = 429 "too-many-streams" Client retry 10,
        "The token has as many streams of events open as one token may have (limits.streams_per_token).",
        "close streams that nobody reads, or give every reader a token of its own";
    INTERNAL = 500 "internal" Service,
        "The service failed in a way that it should not.",
        "the operator finds the cause in the service's log under the request id";

    // Who asks
    UNAUTHENTICATED = 401 "unauthenticated" Client,
        "No valid credential was sent: absent, unknown, expired or revoked.",
        "send `Authorization: Bearer TOKEN` with a token that is neither expired nor revoked";
    FORBIDDEN = 403 "forbidden" Client,
        "The credential is valid, its scope is too small.", "use a token with the scope that the message names";

    // Things
    NOT_FOUND = 404 "not-found" Client,
        "The thing that the path names does not exist.", "list the things of this kind to see what there is";
    AMBIGUOUS_NAME = 409 "ambiguous-name" Client,
        "More than one VM has this name.", "name the group with `?group=`, or use the id";
    NAME_IN_USE = 409 "name-in-use" Client,
        "Another token has this name.", "choose another name";
    WRONG_STATE = 409 "wrong-state" Client,
        "The thing is in a state that does not allow this change.", "look at its present state first";
    LAST_ADMIN = 409 "last-admin" Client,
        "This is the last admin token that works.", "make another admin token first";
    VERSION_CONFLICT = 409 "version-conflict" Client,
        "What is to be changed is not what the caller looked at: somebody else was faster.",
        "look at the present version, then try again naming it in expected_version or If-Match";
    PRECONDITION_FAILED = 412 "precondition-failed" Client,
        "The thing is not in the state that `If-Match` names: somebody else changed or removed it.",
        "look at it again, then send the change with its present ETag";
    COUNT_DIFFERS = 409 "count-differs" Client,
        "A bulk action would change another number of things than the dry run found.",
        "make the dry run again, look at what it finds, and give its count as `expected`";
    SUPPRESSION_BROAD = 422 "suppression-broad" Client,
        "The suppression rule would hide everything, everything of a group, or one reason in the whole fleet.",
        "narrow it by VM, scale set or change class, by reason and group together, or say allow_broad";
    BUILT_IN = 409 "built-in" Client,
        "A profile that comes with Veriboot cannot be changed.",
        "store a profile under another name and assign that";
    PROFILE_INVALID = 422 "profile-invalid" Client,
        "The document is not a profile.", "docs/profiles.md describes profiles; unknown members are refused";
    BASELINE_MALFORMED = 422 "baseline-malformed" Client,
        "The document is not a baseline.", "docs/baseline.md describes the document";
    BASELINE_UNKNOWN_CLASS = 422 "baseline-unknown-class" Client,
        "A rule of the document is of a component class that does not exist.",
        "docs/baseline.md lists the classes; a rule that is not understood is never ignored";
    BASELINE_SCHEMA_UNKNOWN = 422 "baseline-schema-unknown" Client,
        "The document is of a newer or unknown schema.", "update this service, or write the document for its version";
    BASELINE_TOO_LARGE = 413 "baseline-too-large" Client,
        "The document is larger than a baseline may be.", "split it: one baseline per image or scale set";
    BASELINE_EMPTY = 422 "baseline-empty" Client,
        "The document has no boot and no rule.", "learn it from a boot, or write boots or rules";
    BASELINE_ACCEPTS_EVERYTHING = 422 "baseline-accepts-everything" Client,
        "The document would accept any boot.", "list digests or authorities for what may run";
    BASELINE_CONTRADICTORY = 422 "baseline-contradictory" Client,
        "The document contradicts itself.", "keep one of the two";
    BASELINE_REFUSED = 422 "baseline-refused" Client,
        "The document says something that no baseline may say; the message names it.", "correct what the message names";
    PROFILE_REFUSED = 422 "profile-refused" Client,
        "The profile says something that no profile may say; the message names it.", "correct what the message names";
    DOCUMENT_FLAWED = 422 "document-flawed" Client,
        "The document has a weakness that was not allowed on purpose; the message names it and its code.",
        "correct it, or put its code in allow_flaws";
    BASELINE_BROKEN = 500 "baseline-broken" Service,
        "A stored baseline was changed behind the service's back or cannot be read: it judges nothing.",
        "the operator finds the cause in the service's log; apply or accept another version";
    ENVELOPE_MALFORMED = 422 "envelope-malformed" Client,
        "The text is not a DSSE envelope with a baseline.", "give what `veriboot baseline export` wrote";
    UNSIGNED = 422 "unsigned" Client,
        "The envelope has no signature.", "export it again, or apply the bare document";
    SIGNED_BY_UNKNOWN_KEY = 422 "signed-by-unknown-key" Client,
        "The envelope is signed by a key that is not trusted here.",
        "put the signer's public key into a file of `baseline_trusted_keys`, when you trust it";
    SIGNATURE_INVALID = 422 "signature-invalid" Client,
        "The signature does not hold: the document was changed after it was signed.",
        "fetch it again from where it was exported";
    NO_LOG = 409 "no-log" Client,
        "There is no stored event log for this boot.", "wait for an attestation that brings its log";
    NO_BOOT = 409 "no-boot" Client,
        "The VM has no boot that could be learned from.", "wait until the VM has attested";
    BOOT_CHANGED = 409 "boot-changed" Client,
        "The VM's last boot is no longer the one that was named.", "look at the new boot, then accept again";
    NOT_LEARNABLE = 409 "not-learnable" Client,
        "The last attestation shows that its evidence cannot be believed, so that nothing can be learned from it.",
        "find out why quote or log are not believed; a baseline cannot cure this";

    PROPOSAL_CHANGED = 409 "proposal-changed" Client,
        "The proposal, its baseline or its profile is another one by now than the one that was looked at.",
        "look at it again, then decide with its new etag";
    PROPOSAL_NOT_PROVEN = 409 "proposal-not-proven" Client,
        "The evidence of the boot that stands for the proposal is gone, or cannot be shown to be true any more.",
        "wait for another attestation of a VM that shows the change";
    BASELINE_FULL = 409 "baseline-full" Client,
        "The baseline accepts as many different boots as a baseline can.",
        "approve with `replace`, so that what it accepted before is dropped";

    // Inventory
    INVENTORY_TOO_LARGE = 413 "inventory-too-large" Client,
        "The export is larger than one may be.",
        "give one document for each subscription, project or account, each as a source of its own";
    INVENTORY_NOT_UTF8 = 422 "inventory-not-utf8" Client,
        "The export is not UTF-8.", "write the export in UTF-8; PowerShell redirects in UTF-16 unless told otherwise";
    INVENTORY_FORMAT_UNKNOWN = 422 "inventory-format-unknown" Client,
        "The export has none of the shapes that are known.", "name the format; docs/inventory.md lists them";
    INVENTORY_MALFORMED = 422 "inventory-malformed" Client,
        "The export is not JSON, TOML or XML, or was cut off; the message names line and column.",
        "make the export again with the command in docs/inventory.md";
    INVENTORY_ELEMENT = 422 "inventory-element" Client,
        "An element of the export has a value that it cannot have; the message names the element, line and column.",
        "make the export with the command in docs/inventory.md, as JSON, without --query";
    INVENTORY_TOO_MANY = 422 "inventory-too-many" Client,
        "There are more VMs in the export than one may list.",
        "give one document for each subscription, project or account, each as a source of its own";
    INVENTORY_DUPLICATE = 422 "inventory-duplicate" Client,
        "Two VMs of one source have the same key.", "a key names one VM: leave one of the two out";
    INVENTORY_SHRINKS = 409 "inventory-shrinks" Client,
        "A complete export lacks more than half of the VMs that are known: an export without permissions looks like this.",
        "look at it with dry_run; send it with allow_shrink when the VMs are really gone, or as partial when it is one";
    INVENTORY_SOURCE_RETIRED = 409 "inventory-source-retired" Client,
        "The source is no longer used.", "use it again with PUT, or sync as another source";
    INVENTORY_LINK_REFUSED = 409 "inventory-link-refused" Client,
        "The item cannot be this VM: their endorsement keys differ, or another item of the source is it.",
        "look at both; an endorsement key is believed before a link";

    // Agents: enrolment
    NAME_INVALID = 400 "name-invalid" Client,
        "The name is not one that a VM can have.",
        "use 1 to 63 of A-Z a-z 0-9 . _ - and start with a letter, a digit or `_`";
    EK_UNSUPPORTED = 422 "ek-unsupported" Client,
        "The endorsement key is malformed, weak, or not a restricted decryption key of a TPM.",
        "use the TPM's own endorsement key: RSA-2048 or ECC P-256 from the default template";
    EK_CERTIFICATE_MALFORMED = 422 "ek-certificate-malformed" Client,
        "The endorsement certificate cannot be read.", "send it as the TPM's NV index holds it, or send none";
    EK_CERTIFICATE_MISMATCH = 422 "ek-certificate-mismatch" Client,
        "The endorsement certificate is for another key than the endorsement key.",
        "send the certificate that belongs to this key, or none";
    AK_UNSUPPORTED = 422 "ak-unsupported" Client,
        "The attestation key is malformed, weak, or has a scheme that is not accepted.",
        "use RSA-2048 or ECC P-256 with SHA-256";
    AK_ATTRIBUTES = 422 "ak-attributes" Client,
        "The attestation key does not have the attributes that it must have.",
        "make it in the TPM: restricted, sign, fixedTPM, fixedParent and sensitiveDataOrigin set, decrypt clear";
    JOIN_TOKEN_REQUIRED = 403 "join-token-required" Client,
        "This TPM is not enrolled and no join token was given.",
        "make one with `veriboot token create` and give it to the agent as --join-token";
    JOIN_TOKEN_UNKNOWN = 403 "join-token-unknown" Client,
        "There is no such join token.", "make one with `veriboot token create`";
    JOIN_TOKEN_EXPIRED = 403 "join-token-expired" Client,
        "The join token has expired.", "make a new one with `veriboot token create`";
    JOIN_TOKEN_USED_UP = 403 "join-token-used-up" Client,
        "As many VMs have joined with the join token as it admits.",
        "make a new one with `veriboot token create --uses N`";
    JOIN_TOKEN_REVOKED = 403 "join-token-revoked" Client,
        "An operator revoked the join token.", "ask the operator for another one";
    NAME_TAKEN = 409 "name-taken" Client,
        "Another TPM has enrolled under this name in this group.",
        "give this VM another name, or delete the old VM's record first";
    ENROLMENTS_BUSY = 429 "enrolments-busy" Client retry 30,
        "More enrolments wait for their activation than the service keeps.", "try again after Retry-After";
    ENROLMENT_TOO_OFTEN = 429 "enrolment-too-often" Client retry 720,
        "This TPM enrolled again five times in a row, faster than every 12 minutes.",
        "try again after Retry-After; find out why the agent loses its state or who else uses its TPM";
    ENROLMENT_UNKNOWN = 404 "enrolment-unknown" Client,
        "The enrolment does not exist, was used, or failed too often.", "start a new enrolment";
    ENROLMENT_EXPIRED = 404 "enrolment-expired" Client,
        "The enrolment is older than 5 minutes.", "start a new enrolment";
    CREDENTIAL_WRONG = 403 "credential-wrong" Client,
        "The secret is not the one in the credential.", "EK and AK must live in the same TPM; start a new enrolment";

    // Agents: evidence
    TOO_OFTEN = 429 "too-often" Client retry 10,
        "The VM reported so often that its burst is used up (`limits.evidence_burst`).",
        "wait for Retry-After; the agent does so by itself";
    EVIDENCE_IN_FLIGHT = 429 "evidence-in-flight" Client retry 1,
        "Other evidence of the VM is being appraised; nothing was written, and the challenge is not used.",
        "wait for Retry-After; see that only one agent runs on the VM";
    CHALLENGE_UNKNOWN = 409 "challenge-unknown" Client,
        "The challenge was not made by this service for this VM.", "ask for a new challenge and quote again";
    CHALLENGE_EXPIRED = 409 "challenge-expired" Client,
        "The challenge is too old.", "ask for a new challenge and quote again";
    CHALLENGE_USED = 409 "challenge-used" Client,
        "The challenge was answered before.", "ask for a new challenge and quote again";
    LOG_NEEDED = 409 "log-needed" Client,
        "The service does not have the event log with this digest.", "send the same evidence with the log's content";
    LOG_DIGEST_MISMATCH = 400 "log-digest-mismatch" Client,
        "The log's content does not have the digest that was sent with it.", "send the log as it was read once";
    LOG_TOO_LARGE = 413 "log-too-large" Client,
        "The event log is larger than 4 MiB.", "a log of this size is not from firmware; look at its source";
}
