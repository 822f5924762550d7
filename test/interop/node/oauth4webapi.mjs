// oauth4webapi: what openid-client is made of, each step by itself; and RFC 9068 validation for an API.
import * as oauth from 'oauth4webapi'

const input = JSON.parse(process.env.INPUT)
const issuer = new URL(input.issuer)
const client = { client_id: input.clientId }
const key = await crypto.subtle.importKey('jwk', input.key, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign'])

const as = await oauth
  .discoveryRequest(issuer, { algorithm: input.algorithm })
  .then((response) => oauth.processDiscoveryResponse(issuer, response))

async function clientCredentials(authentication) {
  const parameters = new URLSearchParams({ resource: input.audience, scope: input.scope })
  const response = await oauth.clientCredentialsGrantRequest(as, client, authentication, parameters)
  return oauth.processClientCredentialsResponse(as, client, response)
}

const outcomes = {}
for (const [name, authentication] of Object.entries({
  client_secret_basic: oauth.ClientSecretBasic(input.clientSecret),
  client_secret_post: oauth.ClientSecretPost(input.clientSecret),
  private_key_jwt: oauth.PrivateKeyJwt({ key, kid: input.key.kid }),
  'a wrong secret': oauth.ClientSecretPost('wrong'),
})) {
  try {
    outcomes[name] = await clientCredentials(authentication)
  } catch (err) {
    outcomes[name] = { failure: err.name, code: err.code, ...(await err.response?.json()) }
  }
}

outcomes.verdicts = {}
for (const [name, token] of Object.entries(input.tokens)) {
  const request = new Request(input.audience, { headers: { authorization: `Bearer ${token}` } })
  outcomes.verdicts[name] = await oauth
    .validateJwtAccessToken(as, request, input.audience)
    .then(() => 'accepted', (err) => `${err.name}: ${err.message}`)
}
console.log(JSON.stringify(outcomes))
