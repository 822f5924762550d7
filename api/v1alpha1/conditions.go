package v1alpha1

// Condition types. All but Stalled have positive polarity, are always present, and carry observedGeneration.
const (
	// ConditionAccepted says whether the object, as written, is one that the operator can act on.
	//
	// True: Accepted. False: Conflicted, UnsupportedAlgorithm, IdentifierInvalid, IdentifierReserved, InvalidExpression,
	// InvalidSelector, JWKSInvalid. Unknown: Pending.
	ConditionAccepted = "Accepted"

	// ConditionResolvedRefs says whether everything that the object names exists and can be used.
	//
	// True: ResolvedRefs. False: IssuerNotFound, ApiResourceNotFound, ApiResourceNotAccepted, UnknownScope, UnknownRole,
	// TLSSecretNotFound, TLSSecretInvalid. Unknown: Pending.
	ConditionResolvedRefs = "ResolvedRefs"

	// ConditionProgrammed says whether what the object asks for has been written: a credential Secret, a verifier
	// ConfigMap, signing keys, a serving certificate.
	//
	// True: Programmed. False: Waiting, SecretNotOwned, SecretRefused, ConfigMapNotOwned, PepperLost, IssuerNotReady,
	// KeyInvalid, WorkloadRefused. Unknown: Pending.
	ConditionProgrammed = "Programmed"

	// ConditionAvailable says whether a TokenIssuer has a pod that answers token requests. It is there only where the
	// manager deploys issuers.
	//
	// True: Available. False: NoReadyIssuer.
	ConditionAvailable = "Available"

	// ConditionKeysCurrent says whether a TokenIssuer's signing keys are those that its spec asks for at this moment. It
	// does not count towards Ready: until the next key may sign, the last one goes on.
	//
	// True: KeysCurrent. False: Rotating, KeyNotServed, NoReadyIssuer, TooManyKeys, SigningKeyLost, KeyInvalid, PepperLost.
	ConditionKeysCurrent = "KeysCurrent"

	// ConditionActive says whether a ScopeGrant gives anything at this moment.
	//
	// True: Active. False: NotYetActive, Expired, Suspended, or the reason of a False Accepted or ResolvedRefs.
	// Unknown: Pending.
	ConditionActive = "Active"

	// ConditionReady is the summary: True when all other positive conditions but Active and KeysCurrent are True.
	//
	// True: Ready, Suspended (a suspended M2MClient is exactly as asked). False: the reason of the first condition
	// that is False. Unknown: Pending.
	ConditionReady = "Ready"

	// ConditionStalled is abnormal-true (kstatus): a person's mistake that does not heal by waiting. A missing
	// reference stalls only after MissingReferenceGrace, so that one commit may bring both objects in any order.
	//
	// True: the reason of the condition that is False. False: Progressing.
	ConditionStalled = "Stalled"
)

// Reasons of conditions and events.
const (
	// ReasonPending is the reason of every condition before the operator has looked.
	ReasonPending = "Pending"
	// ReasonAccepted is the reason of a True Accepted.
	ReasonAccepted = "Accepted"
	// ReasonResolvedRefs is the reason of a True ResolvedRefs.
	ReasonResolvedRefs = "ResolvedRefs"
	// ReasonProgrammed is the reason of a True Programmed.
	ReasonProgrammed = "Programmed"
	// ReasonReady is the reason of a True Ready.
	ReasonReady = "Ready"
	// ReasonActive is the reason of a True Active.
	ReasonActive = "Active"
	// ReasonAvailable is the reason of a True Available.
	ReasonAvailable = "Available"
	// ReasonProgressing is the reason of a False Stalled.
	ReasonProgressing = "Progressing"

	// ReasonSuspended: spec.suspend is true.
	ReasonSuspended = "Suspended"
	// ReasonNotYetActive: spec.notBefore lies ahead.
	ReasonNotYetActive = "NotYetActive"
	// ReasonExpired: spec.expiresAt has passed.
	ReasonExpired = "Expired"

	// ReasonConflicted: an older ApiResource of the same TokenIssuer has the same identifier, or an older M2MClient the
	// same ServiceAccount.
	ReasonConflicted = "Conflicted"
	// ReasonUnsupportedAlgorithm: spec.token.signingAlgorithm is not among the TokenIssuer's algorithms.
	ReasonUnsupportedAlgorithm = "UnsupportedAlgorithm"
	// ReasonIdentifierInvalid: spec.identifier is the URL of the issuer itself or of its token endpoint, in some spelling.
	ReasonIdentifierInvalid = "IdentifierInvalid"
	// ReasonIdentifierReserved: the TokenIssuer reserves spec.identifier for other namespaces.
	ReasonIdentifierReserved = "IdentifierReserved"
	// ReasonInvalidExpression: an expression does not compile, or may cost too much.
	ReasonInvalidExpression = "InvalidExpression"
	// ReasonInvalidSelector: a subject's selector is not a valid label selector.
	ReasonInvalidSelector = "InvalidSelector"
	// ReasonJWKSInvalid: one of spec.jwks' keys is weak, broken, or not to be told from another.
	ReasonJWKSInvalid = "JWKSInvalid"
	// ReasonIssuerNotFound: spec.issuerRef names a TokenIssuer that does not exist.
	ReasonIssuerNotFound = "IssuerNotFound"
	// ReasonIssuerNotReady: the TokenIssuer exists but has no pepper, keys or certificate yet.
	ReasonIssuerNotReady = "IssuerNotReady"
	// ReasonApiResourceNotFound: spec.apiResourceRef names no ApiResource in the grant's namespace.
	ReasonApiResourceNotFound = "ApiResourceNotFound"
	// ReasonApiResourceNotAccepted: the ApiResource exists but is not accepted itself.
	ReasonApiResourceNotAccepted = "ApiResourceNotAccepted"
	// ReasonUnknownScope: a scope of a grant, or of a role, is not declared by the ApiResource.
	ReasonUnknownScope = "UnknownScope"
	// ReasonUnknownRole: the ApiResource has no role of the name.
	ReasonUnknownRole = "UnknownRole"
	// ReasonTLSSecretNotFound: spec.tls.secretName names no Secret in the install namespace.
	ReasonTLSSecretNotFound = "TLSSecretNotFound"
	// ReasonTLSSecretInvalid: the Secret of spec.tls.secretName holds no usable certificate and key.
	ReasonTLSSecretInvalid = "TLSSecretInvalid"
	// ReasonSecretRefused: the API server does not take the credential Secret: a quota, or an admission policy.
	ReasonSecretRefused = "SecretRefused"
	// ReasonRefused: the API server does not take something else that the operator writes for the object, or does not let it
	// look: a quota, an admission policy, missing rights.
	ReasonRefused = "Refused"
	// ReasonNamespaceTerminating: the object's namespace is being deleted, so that the object counts as gone.
	ReasonNamespaceTerminating = "NamespaceTerminating"
	// ReasonSecretNotOwned: a Secret of the name exists that this operator did not write for this object.
	ReasonSecretNotOwned = "SecretNotOwned"
	// ReasonConfigMapNotOwned: a ConfigMap of the name exists that this operator did not write for this object.
	ReasonConfigMapNotOwned = "ConfigMapNotOwned"
	// ReasonPepperLost: verifiers name a pepper that nobody has. It is never remade silently.
	ReasonPepperLost = "PepperLost"
	// ReasonNoReadyIssuer: no pod of the TokenIssuer is ready.
	ReasonNoReadyIssuer = "NoReadyIssuer"
	// ReasonWorkloadRefused: the API server does not take the Deployment that spec.deployment asks for.
	ReasonWorkloadRefused = "WorkloadRefused"
	// ReasonIssuerURLChanged is the event reason for a changed issuer identifier.
	ReasonIssuerURLChanged = "IssuerURLChanged"
	// ReasonKeysCurrent is the reason of a True KeysCurrent.
	ReasonKeysCurrent = "KeysCurrent"
	// ReasonRotating: a signing key is on its way. It signs once every verifier must know it.
	ReasonRotating = "Rotating"
	// ReasonKeyNotServed: a ready endpoint of the issuer's Service does not serve the next signing key, or cannot be asked.
	ReasonKeyNotServed = "KeyNotServed"
	// ReasonTooManyKeys: as many signing keys are published as a JWKS may hold.
	ReasonTooManyKeys = "TooManyKeys"
	// ReasonKeyInvalid: a signing key Secret, or the key ring, does not hold what it should.
	ReasonKeyInvalid = "KeyInvalid"
	// ReasonWaiting: the operator is at work.
	ReasonWaiting = "Waiting"

	// ReasonCredentialCreated is the event reason for a first credential.
	ReasonCredentialCreated = "CredentialCreated"
	// ReasonCredentialRotated is the event reason for a new credential as scheduled, or for a new revision.
	ReasonCredentialRotated = "CredentialRotated"
	// ReasonCredentialReplaced is the event reason for a new credential after the Secret was deleted or edited, or the
	// credential in it revoked.
	ReasonCredentialReplaced = "CredentialReplaced"
	// ReasonCredentialStatusEdited is the event reason for verifiers in status that the operator did not write, or that
	// somebody brought back.
	ReasonCredentialStatusEdited = "CredentialStatusEdited"
	// ReasonCredentialRemoved is the event reason for a Secret that was deleted when ClientSecret was taken out of
	// spec.authentication.
	ReasonCredentialRemoved = "CredentialRemoved"
	// ReasonSigningKeyCreated is the event reason for a new signing key.
	ReasonSigningKeyCreated = "SigningKeyCreated"
	// ReasonSigningKeyLost: the private half of the active signing key is gone. It is an event reason too.
	ReasonSigningKeyLost = "SigningKeyLost"
	// ReasonSigningKeyChanged is the event reason for a signing key that was announced, or signs, or signs no more, or was
	// removed.
	ReasonSigningKeyChanged = "SigningKeyChanged"
	// ReasonSigningKeyRevoked is the event reason for a signing key that was revoked.
	ReasonSigningKeyRevoked = "SigningKeyRevoked"
	// ReasonCertificateIssued is the event reason for a new serving certificate or authority.
	ReasonCertificateIssued = "CertificateIssued"
)
