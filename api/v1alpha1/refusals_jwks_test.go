package v1alpha1_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

const (
	jwksPath = "spec.jwks.keys"
	ecKey    = "spec.jwks.keys.0" // of the fixture
	rsaKey   = "spec.jwks.keys.1"
)

// p384Key is on the curve that no key of the fixture is on.
func p384Key() map[string]any {
	return map[string]any{"kty": "EC", "crv": "P-384", "alg": "ES384",
		"x": "JwBJSS8dznzV2t6ZaEbV9CbWObLe1Uja20Cv0Jno2NF9udIgWYDfLqmgcwpHEV4q",
		"y": "JPy0wENnNfPh3sdzqjq4-wRJuXRECmjyMWOuoDDUe398NDhf8_ngbKhktvQ6dlMu"}
}

// publishedEd25519 is the key of RFC 8037 appendix A.2.
func publishedEd25519() map[string]any {
	return map[string]any{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
}

func manyKeys(n int) []any {
	keys := make([]any, n)
	for i := range keys {
		key := publishedEd25519()
		key["kid"] = fmt.Sprint(i)
		keys[i] = key
	}
	return keys
}

func authenticationRefusals() []refusal {
	const (
		path  = "spec.authentication"
		jwks  = "spec.jwks cel: must be given if authentication lists PrivateKeyJWT, and only then"
		named = "spec.serviceAccountName cel: must be given if authentication lists ServiceAccount, and only then"
	)
	methods := func(names ...any) edit { return set(path, append([]any{}, names...)) }
	return concat(
		[]refusal{
			{rule: path + " minItems", example: "none at all", change: methods()},
			{rule: path + " maxItems", example: "four", change: methods("ClientSecret", "PrivateKeyJWT", "ServiceAccount", "ClientSecret")},
			{rule: path + " duplicate", example: "twice", change: methods("ClientSecret", "ClientSecret")},
			{rule: path + "[] enum", example: "registered name", change: methods("private_key_jwt")},
			{rule: path + "[] enum", example: "None", change: methods("None")},
			{rule: jwks, example: "absent", change: unset("spec.jwks")},
			{rule: jwks, example: "not listed", change: methods("ClientSecret", "ServiceAccount")},
			{rule: jwks, example: "not listed by default", change: unset(path)},
			{rule: named, example: "absent", change: unset("spec.serviceAccountName")},
			{rule: named, example: "not listed", change: methods("ClientSecret", "PrivateKeyJWT")},
		},
		jwksRefusals(),
		privateKeyRefusals(),
		jwkRefusals(),
		jwkMemberRefusals(),
	)
}

func jwksRefusals() []refusal {
	const rule = jwksPath + " cel: must have a kid each that no other key has; one key may have none"
	without := publishedEd25519()
	return []refusal{
		missing(jwksPath)[0],
		{rule: jwksPath + " minItems", example: "empty", change: set(jwksPath, []any{})},
		{rule: jwksPath + " maxItems", example: "nine", change: set(jwksPath, manyKeys(9))},
		{rule: rule, example: "the same", change: set(rsaKey+".kid", "2026")},
		{rule: rule, example: "two without", change: unset(ecKey + ".kid")},
		{rule: rule, example: "three, two without", change: set(jwksPath, []any{without, manyKeys(1)[0], without})},
	}
}

func privateKeyRefusals() []refusal {
	const rule = jwksPath + "[] cel: must be a public key: take the private members out, and make a new key pair, " +
		"for this one is no secret any more"
	table := []refusal{
		{rule: rule, example: "oth", change: set(rsaKey+".oth", []any{"a"})},
		{rule: jwksPath + "[].oth maxItems", example: "nine", change: set(rsaKey+".oth", slices.Repeat([]any{"a"}, 9))},
		{rule: jwksPath + "[].oth[] maxLength", example: "2049", change: set(rsaKey+".oth", []any{strings.Repeat("a", 2049)})},
	}
	for _, member := range []string{"d", "p", "q", "dp", "dq", "qi", "k"} {
		table = append(table,
			refusal{rule: rule, example: member, change: set(ecKey+"."+member, "c2VjcmV0")},
			refusal{rule: rule, example: member + ", empty", change: set(rsaKey+"."+member, "")})
		table = append(table, tooLong(jwksPath+"[]."+member, 2048)...)
	}
	return table
}

// jwkRefusals are of rules that look at a key as a whole.
func jwkRefusals() []refusal {
	const (
		whole    = jwksPath + "[] cel: must be whole: n and e for RSA; crv, x and y for EC; crv and x for OKP. YAML takes y and n for true and false: quote them"
		curve    = jwksPath + "[] cel: must be on P-256 or P-384 (EC), or Ed25519 (OKP)"
		alg      = jwksPath + "[] cel: must have the alg of its type: RS256 or PS256 for RSA, ES256 for P-256, ES384 for P-384, EdDSA for Ed25519"
		exponent = jwksPath + "[] cel: must have the public exponent 65537 (AQAB)"
		bits     = jwksPath + "[] cel: must be an RSA key of 2048 to 4096 bits"
	)
	with := func(key map[string]any, member string, value any) edit {
		key = maps.Clone(key)
		key[member] = value
		return set(jwksPath, []any{key})
	}
	okp, p384 := publishedEd25519(), p384Key()
	var table []refusal
	for _, member := range []string{"crv", "x", "y"} {
		table = append(table, refusal{rule: whole, example: "EC without " + member, change: unset(ecKey + "." + member)})
	}
	for _, member := range []string{"n", "e"} {
		table = append(table, refusal{rule: whole, example: "RSA without " + member, change: unset(rsaKey + "." + member)})
	}
	return append(table,
		refusal{rule: whole, example: "OKP without x", change: set(jwksPath, []any{map[string]any{"kty": "OKP", "crv": "Ed25519"}})},
		refusal{rule: whole, example: "OKP without crv", change: set(jwksPath, []any{map[string]any{"kty": "OKP", "x": okp["x"]}})},
		refusal{rule: curve, example: "P-521", change: set(ecKey+".crv", "P-521")},
		refusal{rule: curve, example: "secp256k1", change: set(ecKey+".crv", "secp256k1")},
		refusal{rule: curve, example: "Ed25519 as EC", change: set(ecKey+".crv", "Ed25519")},
		refusal{rule: curve, example: "P-256 as OKP", change: with(okp, "crv", "P-256")},
		refusal{rule: curve, example: "X25519", change: with(okp, "crv", "X25519")},
		refusal{rule: curve, example: "RSA on a curve", change: set(rsaKey+".crv", "P-256")},
		refusal{rule: alg, example: "RS256 for P-256", change: set(ecKey+".alg", "RS256")},
		refusal{rule: alg, example: "ES384 for P-256", change: set(ecKey+".alg", "ES384")},
		refusal{rule: alg, example: "ES256 for P-384", change: with(p384, "alg", "ES256")},
		refusal{rule: alg, example: "ES256 for RSA", change: set(rsaKey+".alg", "ES256")},
		refusal{rule: alg, example: "EdDSA for RSA", change: set(rsaKey+".alg", "EdDSA")},
		refusal{rule: alg, example: "PS256 for Ed25519", change: with(okp, "alg", "PS256")},
		refusal{rule: exponent, example: "3", change: set(rsaKey+".e", "Aw")},
		refusal{rule: exponent, example: "with a zero", change: set(rsaKey+".e", "AAEAAQ")},
		refusal{rule: bits, example: "1024", change: set(rsaKey+".n", strings.Repeat("A", 171))},
		refusal{rule: bits, example: "2040", change: set(rsaKey+".n", strings.Repeat("A", 340))},
		refusal{rule: bits, example: "4104", change: set(rsaKey+".n", strings.Repeat("A", 684))},
	)
}

// jwkMemberRefusals are of rules that look at one member.
func jwkMemberRefusals() []refusal {
	const key = jwksPath + "[]"
	table := concat(
		missing(key+".kty"),
		refuse(key+".kty enum", "oct", "ec", "AKP", ""),
		text(key+".kid", 256),
		refuse(key+".alg enum", "none", "HS256", "ES256K", "RS1", "es256", ""),
		refuse(key+".use enum", "enc", "SIG", ""),
		text(key+".crv", 16),
		text(key+".e", 16),
		[]refusal{
			{rule: key + ".key_ops maxItems", example: "two", change: set(ecKey+".key_ops", []any{"verify", "verify"})},
			{rule: key + ".key_ops[] enum", example: "sign", change: set(ecKey+".key_ops", []any{"sign"})},
			{rule: key + ".key_ops[] enum", example: "encrypt", change: set(ecKey+".key_ops", []any{"encrypt"})},
		},
	)
	for member, limit := range map[string]int{"x": 64, "y": 64, "n": 1024} {
		table = append(table, text(key+"."+member, limit)...)
		table = append(table, refuse(key+"."+member+" pattern", "AAAA=", "AA+A", "AA/A", "AA A", "AAAA\n", "é")...)
	}
	return table
}
