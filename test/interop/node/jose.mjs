// jose, as an API uses it.
import * as jose from 'jose'

const input = JSON.parse(process.env.INPUT)
const JWKS = jose.createRemoteJWKSet(new URL(input.jwksUri))

const verdicts = {}
for (const [name, token] of Object.entries(input.tokens)) {
  try {
    await jose.jwtVerify(token, JWKS, { issuer: input.issuer, audience: input.audience, typ: 'at+jwt' })
    verdicts[name] = 'accepted'
  } catch (err) {
    verdicts[name] = `${err.code}: ${err.message}`
  }
}
console.log(JSON.stringify({ verdicts }))
