package v1alpha1

// JSONWebKeySet is a JWK Set (RFC 7517 section 5) of public keys.
type JSONWebKeySet struct {
	// keys of the set.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:XValidation:rule="self.all(a, self.exists_one(b, has(a.kid) && has(b.kid) ? a.kid == b.kid : has(a.kid) == has(b.kid)))",message="must have a kid each that no other key has; one key may have none"
	Keys []JSONWebKey `json:"keys,omitempty"`
}

// JSONWebKey is a public key as a JWK (RFC 7517 section 4, RFC 7518 section 6, RFC 8037 section 2).
// +kubebuilder:validation:XValidation:rule="!has(self.d) && !has(self.p) && !has(self.q) && !has(self.dp) && !has(self.dq) && !has(self.qi) && !has(self.oth) && !has(self.k)",message="must be a public key: take the private members out, and make a new key pair, for this one is no secret any more"
// +kubebuilder:validation:XValidation:rule="self.kty == 'RSA' ? has(self.n) && has(self.e) : has(self.crv) && has(self.x) && (self.kty == 'OKP' || has(self.y))",message="must be whole: n and e for RSA; crv, x and y for EC; crv and x for OKP. YAML takes y and n for true and false: quote them"
// +kubebuilder:validation:XValidation:rule="!has(self.crv) || (self.kty == 'EC' && self.crv in ['P-256', 'P-384']) || (self.kty == 'OKP' && self.crv == 'Ed25519')",message="must be on P-256 or P-384 (EC), or Ed25519 (OKP)"
// +kubebuilder:validation:XValidation:rule="!has(self.alg) || (self.kty == 'RSA' && self.alg in ['RS256', 'PS256']) || (self.kty == 'OKP' && self.alg == 'EdDSA') || (has(self.crv) && self.crv == 'P-256' && self.alg == 'ES256') || (has(self.crv) && self.crv == 'P-384' && self.alg == 'ES384')",message="must have the alg of its type: RS256 or PS256 for RSA, ES256 for P-256, ES384 for P-384, EdDSA for Ed25519"
// +kubebuilder:validation:XValidation:rule="!has(self.e) || self.e == 'AQAB'",message="must have the public exponent 65537 (AQAB)"
// +kubebuilder:validation:XValidation:rule="!has(self.n) || (size(self.n) >= 342 && size(self.n) <= 683)",message="must be an RSA key of 2048 to 4096 bits"
type JSONWebKey struct {
	// kty is the type of the key.
	// +required
	// +kubebuilder:validation:Enum=EC;OKP;RSA
	Type string `json:"kty,omitempty"`

	// kid names the key; assertions name it in their header. Only a key that is alone with its alg may do without.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	KeyID string `json:"kid,omitempty"`

	// alg is the one algorithm that the key is used with. Default: what its type says, RS256 for RSA.
	// +optional
	// +kubebuilder:validation:Enum=ES256;ES384;EdDSA;PS256;RS256
	Algorithm string `json:"alg,omitempty"`

	// use of the key.
	// +optional
	// +kubebuilder:validation:Enum=sig
	Use string `json:"use,omitempty"`

	// key_ops that the key is meant for.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1
	// +kubebuilder:validation:items:Enum=verify
	Operations []string `json:"key_ops,omitempty"` //nolint:kubeapilinter // RFC 7517 section 4.3 spells it so

	// crv is the curve of an EC or OKP key.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16
	Curve string `json:"crv,omitempty"`

	// x coordinate of an EC key, or the OKP key.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_-]+$`
	X string `json:"x,omitempty"`

	// y coordinate of an EC key.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_-]+$`
	Y string `json:"y,omitempty"`

	// n is the modulus of an RSA key.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_-]+$`
	N string `json:"n,omitempty"`

	// e is the exponent of an RSA key.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16
	E string `json:"e,omitempty"`

	// The rest is here to be refused: what the schema does not know the API server drops without a word, and nobody
	// would learn that a private key has been handed out.
	ForbiddenJWKMembers `json:",inline"`
}

// ForbiddenJWKMembers are what makes a key private (RFC 7518 sections 6.2.2, 6.3.2 and 6.4). None may be given.
type ForbiddenJWKMembers struct {
	// d must not be given: it is private.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	D string `json:"d,omitempty"`

	// p must not be given: it is private.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	P string `json:"p,omitempty"`

	// q must not be given: it is private.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Q string `json:"q,omitempty"`

	// dp must not be given: it is private.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	DP string `json:"dp,omitempty"`

	// dq must not be given: it is private.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	DQ string `json:"dq,omitempty"`

	// qi must not be given: it is private.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	QI string `json:"qi,omitempty"`

	// oth must not be given: it is private.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=2048
	Oth []string `json:"oth,omitempty"`

	// k must not be given: it is a shared secret.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	K string `json:"k,omitempty"`
}
